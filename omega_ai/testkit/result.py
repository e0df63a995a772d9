"""The one model of results: terminal, HTML, JUnit, JSON, Prometheus text and ``.hgrm`` are made from it.

Frozen, so that what was found is not touched up on its way to a report. Times named ``_ns`` are nanoseconds
of monotonic time since the start of the run, unless they say otherwise; those named ``_s`` are seconds of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import Struct

from omega_ai.core.packing import PackingError, pack_pairs, unpack_pairs
from omega_ai.testkit.verdict import Verdict, combine

FORMAT = 2
"""Number of this format. Since 2, the buckets of histograms are packed into texts."""
READABLE: Final = (1, 2)
"""Formats that are read; a result with another one is refused."""
SHOWN_PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9, 100.0)
"""Of each histogram that stand in a file, for those who read it without us."""


class ResultError(ValueError):
    """Text that is no result of ours; ``str(error)`` says what is wrong with it."""


class Severity(StrEnum):
    """What a finding means for the verdict."""

    FAILURE = "failure"
    """The target broke what it must hold."""
    UNKNOWN = "unknown"
    """Something that cannot be decided from what was seen."""
    WARNING = "warning"
    """Allowed, but better otherwise; the verdict stays."""
    NOTE = "note"


class WireLine(Struct, frozen=True, kw_only=True):
    """One line of a wire log: a frame, or something that happened to a connection."""

    at_ns: int
    client: str
    direction: str
    """``sent``, ``received`` or ``event``."""
    kind: str
    """``text``, ``binary``, ``ping``, ``pong``, ``close``, ``bytes``; or what happened: ``open``, ``end``."""
    size: int = 0
    """Bytes of the whole payload."""
    data: str = ""
    """The payload's beginning: text as it is, other bytes in hexadecimal."""


class Finding(Struct, frozen=True, kw_only=True):
    """One thing found: what, how often, the worst of it, and when."""

    kind: str
    """``lost``, ``duplicated``, ``reordered`` ...: a word that reports count by."""
    text: str
    """One sentence."""
    severity: Severity = Severity.FAILURE
    count: int = 1
    clients: tuple[str, ...] = ()
    at_ns: int | None = None
    """When the first of it happened."""
    fault: str | None = None
    """The fault window in which it fell; None: no fault explains it."""
    evidence: tuple[WireLine, ...] = ()
    """The worst offenders' frames."""
    by_silence: bool = False
    """It is that something did not come, and nothing after it either: a machine too slow looks the same."""


class CaseResult(Struct, frozen=True, kw_only=True):
    """What one case proved."""

    id: str
    """Unique in a run: ``security.oversized-message``."""
    suite: str
    title: str
    verdict: Verdict
    expectation: str
    """What a right server does."""
    spec: str = ""
    """Where that is written: ``RFC 6455 section 5.5.2``."""
    finding: str = ""
    """What was seen, in one sentence."""
    findings: tuple[Finding, ...] = ()
    evidence: tuple[WireLine, ...] = ()
    skipped: str | None = None
    """Why the case cannot be put to this target. Its verdict is then unknown, and counts for nothing."""
    start_ns: int = 0
    duration_s: float = 0.0
    reproduce: str = ""
    """The command that runs this case alone, with the same seed."""
    reproducer: tuple[str, str] | None = None
    """Name and text of a pytest file that shows the failure again."""
    figures: dict[str, float] = {}
    """Numbers worth comparing between runs: ``messages``, ``connect_ms`` ... Smaller is better where the name
    ends in ``_ms``, ``_bytes`` or ``_errors``."""

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What is allowed but better otherwise."""
        return tuple(item for item in self.findings if item.severity is Severity.WARNING)


class SuiteResult(Struct, frozen=True, kw_only=True):
    """The cases of one suite, in their order."""

    name: str
    title: str = ""
    cases: tuple[CaseResult, ...] = ()
    duration_s: float = 0.0
    skipped: str | None = None
    """Why no case of it was run."""

    @property
    def verdict(self) -> Verdict:
        """Over the cases that were put to the target."""
        return combine(case.verdict for case in self.cases if case.skipped is None)


class Distribution(Struct, frozen=True, kw_only=True):
    """A histogram: how often each value was seen. Merging two loses nothing."""

    unit: str
    """``ns`` for times."""
    count: int
    minimum: int
    maximum: int
    mean: float
    buckets: tuple[tuple[int, int], ...]
    """(value, how often), values rising. A recorder that rounds gives the highest value of each cell."""

    @classmethod
    def of(cls, values: Iterable[int], unit: str = "ns") -> Distribution:
        """Of exact values; at least one."""
        counts: dict[int, int] = {}
        for value in values:
            counts[value] = counts.get(value, 0) + 1
        if not counts:
            raise ValueError("a distribution of nothing")
        total = sum(counts.values())
        mean = sum(value * times for value, times in counts.items()) / total
        return cls(
            unit=unit,
            count=total,
            minimum=min(counts),
            maximum=max(counts),
            mean=mean,
            buckets=tuple(sorted(counts.items())),
        )

    def percentile(self, percent: float) -> int:
        """The smallest value that at least ``percent`` of all do not exceed; never beyond the maximum."""
        if not 0 <= percent <= 100:
            raise ValueError(f"a percentile is 0 to 100, not {percent}")
        wanted = max(1, -(-percent * self.count // 100))
        seen = 0
        for value, times in self.buckets:
            seen += times
            if seen >= wanted:
                return min(value, self.maximum)
        return self.maximum

    def merge(self, other: Distribution) -> Distribution:
        """Both together."""
        if self.unit != other.unit:
            raise ValueError(f"{self.unit} and {other.unit} cannot be merged")
        counts = dict(self.buckets)
        for value, times in other.buckets:
            counts[value] = counts.get(value, 0) + times
        total = self.count + other.count
        return Distribution(
            unit=self.unit,
            count=total,
            minimum=min(self.minimum, other.minimum),
            maximum=max(self.maximum, other.maximum),
            mean=(self.mean * self.count + other.mean * other.count) / total,
            buckets=tuple(sorted(counts.items())),
        )


class TimeSeries(Struct, frozen=True, kw_only=True):
    """A value over the run."""

    name: str
    unit: str
    points: tuple[tuple[float, float], ...]
    """(seconds since the start of the run, value), in order."""


class FaultWindow(Struct, frozen=True, kw_only=True):
    """When something was broken on purpose."""

    name: str
    start_s: float
    end_s: float
    description: str = ""


class ThresholdResult(Struct, frozen=True, kw_only=True):
    """A bound that was asked for, and what was measured."""

    expression: str
    verdict: Verdict
    observed: str
    where: str = "run"
    """The window or phase it was checked in."""


class TargetFacts(Struct, frozen=True, kw_only=True):
    """What was tested, as far as it let itself be seen."""

    url: str
    profile: str
    server: str | None = None
    """The ``Server`` header."""
    facts: tuple[str, ...] = ()
    """What probing found, one sentence each."""
    limits: tuple[str, ...] = ()
    """What cannot be checked on this target, and why, one sentence each."""


class RunResult(Struct, frozen=True, kw_only=True):
    """A whole run."""

    target: TargetFacts
    seed: int
    started: str
    """UTC, ISO 8601."""
    duration_s: float = 0.0
    suites: tuple[SuiteResult, ...] = ()
    histograms: dict[str, Distribution] = {}
    series: tuple[TimeSeries, ...] = ()
    fault_windows: tuple[FaultWindow, ...] = ()
    thresholds: tuple[ThresholdResult, ...] = ()
    invalid: tuple[str, ...] = ()
    """Why the run as a whole proves nothing, such as a load generator that could not keep the rate."""
    versions: dict[str, str] = {}
    command: str = ""
    """How to run it again."""
    load: dict[str, Any] | None = None
    """Of a load run: what joins it exactly with other machines' parts (``load.record.LoadRecord``)."""
    format: int = FORMAT

    @property
    def verdict(self) -> Verdict:
        """Fail if anything failed; unknown if anything is open, or nothing was put to the target."""
        parts = [suite.verdict for suite in self.suites if suite.skipped is None and _was_run(suite)]
        parts += [threshold.verdict for threshold in self.thresholds]
        verdict = combine(parts)
        return Verdict.UNKNOWN if self.invalid and verdict is Verdict.PASS else verdict

    @property
    def cases(self) -> tuple[CaseResult, ...]:
        """Of all suites."""
        return tuple(case for suite in self.suites for case in suite.cases)

    def to_json(self) -> bytes:
        """Indented JSON, rows of numbers on one line; ``from_json`` takes it back."""
        plain = msgspec.to_builtins(self)
        for name, histogram in self.histograms.items():
            plain["histograms"][name] |= {
                "buckets": pack_pairs(histogram.buckets),
                "percentiles": {f"{at:g}": histogram.percentile(at) for at in SHOWN_PERCENTILES},
            }
        text = msgspec.json.format(_encode(plain), indent=2)
        return _ROWS.sub(_joined, _ROW.sub(_joined, text)) + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> RunResult:
        """Read what ``to_json`` wrote.

        Raises:
            ResultError: not JSON, not a result, or of another format.
        """
        try:
            version = msgspec.json.decode(data, type=_Format).format
            if version not in READABLE:
                known = " and ".join(map(str, READABLE))
                raise ResultError(f"it has format {version!r}, and this version reads formats {known}")
            if version == FORMAT:
                return _unpacked(msgspec.json.decode(data))
            return msgspec.structs.replace(_decode(data), format=FORMAT)
        except (msgspec.DecodeError, PackingError) as error:
            raise ResultError(f"it is no result of omega test: {error}") from None


def _unpacked(plain: dict[str, Any]) -> RunResult:
    histograms = plain.get("histograms")
    for histogram in histograms.values() if isinstance(histograms, dict) else ():
        if isinstance(histogram, dict) and isinstance(packed := histogram.get("buckets"), str):
            histogram["buckets"] = unpack_pairs(packed)
    return msgspec.convert(plain, RunResult)


class _Format(Struct):
    format: int | None = None


_ROW: Final = re.compile(rb"\[\n([-+0-9.eE,\s]+?)\n *\]")
_ROWS: Final = re.compile(rb"\[\n((?: *\[[-+0-9.eE, ]*\],?\n)+) *\]")
"""Arrays of numbers, and of such arrays. A line break stands between values, and never in one."""


def _joined(match: re.Match[bytes]) -> bytes:
    return b"[" + b" ".join(match[1].split()) + b"]"


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(RunResult).decode


def _was_run(suite: SuiteResult) -> bool:
    return any(case.skipped is None for case in suite.cases)
