"""More and more load until the server breaks: where, what broke first, and whether it recovers.

Levels rise by a factor. At each, bounds are held against every window of the level, so that what gave way
first can be told from what followed from it. After the break the first level is run again: a server may
break, but when the load goes it must be well again, and what it delivered must have been right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from omega_ai.testkit.load.judging import judge
from omega_ai.testkit.load.measured import Measured
from omega_ai.testkit.load.thresholds import Threshold, parse_threshold
from omega_ai.testkit.load.trial import Trialled, Trials
from omega_ai.testkit.verdict import Verdict

FACTOR: Final = 1.5
MAX_LEVELS: Final = 24
RECOVER_S: Final = 8.0
WELL_WINDOWS: Final = 3
"""So many windows at the end must be well, one after another, for a server to count as recovered."""
WELL_NS: Final = 20e6
SLOWER: Final = 10.0
"""Latency has broken when its 99th percentile is so many times that of the first level..."""
LEAST_BREAK_NS: Final = 100e6
"""... and at least this: ten times half a millisecond harms nobody."""
MOST_BREAK_NS: Final = 1e9
"""From here on it has, however slow the first level was."""

KINDS: Final = {
    "latency": "latency",
    "service": "latency",
    "age": "latency",
    "rate": "throughput",
    "unsent": "refusals",
    "refused": "refusals",
    "closed": "refusals",
    "errors": "refusals",
    "connect": "refusals",
    "rss": "memory",
    "pss": "memory",
    "descriptors": "memory",
    "threads": "memory",
}
"""What has broken when a bound on a metric does not hold; on all others: loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """One bound that did not hold at a level."""

    kind: str
    """``latency``, ``throughput``, ``loss``, ``refusals``, ``memory``, ``ended``, or ``generator``."""
    text: str
    at_s: float
    """Seconds after the level began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One level."""

    level: float
    breaches: tuple[Breach, ...]
    """In the order in which they showed; none: it held."""
    p99_ns: float | None
    received_rate: float | None
    """Messages that came, by the second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What became of the server when the load went."""

    recovered: bool
    after_s: float | None
    """Seconds from when the load went until it was well and stayed so."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stressed:
    """How a stress test ended."""

    rungs: tuple[Rung, ...]
    recovery: Recovery | None
    """None: it did not break."""

    @property
    def held(self) -> float | None:
        """The highest level that held."""
        return max((rung.level for rung in self.rungs if not rung.breaches), default=None)

    @property
    def broken(self) -> Rung | None:
        """The level at which it broke."""
        return next((rung for rung in self.rungs if rung.breaches), None)

    @property
    def verdict(self) -> Verdict:
        """A server may break; but it must not deliver wrongly, die, stay broken, or break at once."""
        broken = self.broken
        if broken is None:
            return Verdict.PASS if self.rungs else Verdict.UNKNOWN
        kinds = {breach.kind for breach in broken.breaches}
        if kinds & {"loss", "ended"}:
            return Verdict.FAIL
        if broken.breaches[0].kind == "generator":
            return Verdict.UNKNOWN if self.held is None else Verdict.PASS
        if self.held is None or self.recovery is None or not self.recovery.recovered:
            return Verdict.FAIL
        return Verdict.PASS

    @property
    def text(self) -> str:
        """The whole in one sentence."""
        broken, held = self.broken, self.held
        if broken is None:
            return "it did not break" if held is None else f"it held at every level, up to {held:g}"
        first = broken.breaches[0]
        if first.kind == "generator":
            base = f"the generator gave out at {broken.level:g}, before the server did: {first.text}"
        else:
            base = f"it broke at {broken.level:g}: first {first.kind} ({first.text})"
            others = list(dict.fromkeys(breach.kind for breach in broken.breaches[1:]))
            others = [kind for kind in others if kind != first.kind]
            if others:
                base += f", then {', '.join(others)}"
        base = f"{base}; it held at {held:g}" if held is not None else base
        return base if self.recovery is None else f"{base}; {self.recovery.text}"


def default_bounds(first: Measured | None) -> list[Threshold]:
    """What must hold at a level if nothing was asked for; ``first`` is what the first level was like."""
    p99 = None
    if first is not None and "latency" in first.times:
        p99 = first.times["latency"].percentile(99)
    limit = min(max(LEAST_BREAK_NS, SLOWER * (p99 or 0)), MOST_BREAK_NS)
    return [
        parse_threshold(text)
        for text in (
            f"latency.p99 < {limit / 1e6:.3f}ms",
            "rate.achieved >= 95%",
            "refused == 0",
            "closed == 0",
        )
    ]


DELIVERY: Final = tuple(
    parse_threshold(f"{name} == 0") for name in ("lost", "duplicated", "reordered", "corrupted", "unexpected")
)
"""What must hold at any level: what comes is right."""


def breaches(
    bounds: Sequence[Threshold], run: Measured, windows: Sequence[Measured], invalid: Sequence[str]
) -> tuple[Breach, ...]:
    """Which bounds a level did not meet, in the order in which that showed.

    When is told by the first window in which the bound did not hold; if that shows in none, by the end.
    """
    found = []
    for bound in (*bounds, *DELIVERY):
        verdict, observed, _ = judge(bound, run)
        if verdict is not Verdict.FAIL:
            continue
        at = next(
            (window.start_s for window in windows if judge(bound, window)[0] is Verdict.FAIL), run.end_s
        )
        kind = KINDS.get(bound.metric, "loss")
        found.append(Breach(kind=kind, text=f"{bound.text}: {observed}", at_s=at))
    found.sort(key=lambda breach: breach.at_s)
    if invalid and all(breach.kind in ("latency", "throughput") for breach in found):
        # It may have been the generator that made the server look slow.
        return (Breach(kind="generator", text=invalid[0], at_s=0.0), *found)
    return tuple(found)


def recovery(windows: Sequence[Measured], first: Measured, well_ns: float = WELL_NS) -> Recovery:
    """Whether the windows after the load went are, at their end, as the first level was.

    Its latency may be twice that of the first level, or ``well_ns`` above it.
    """
    before = first.times["latency"].percentile(99) if "latency" in first.times else None
    limit = max(2.0 * (before or 0), (before or 0) + well_ns)
    well = [_is_well(window, limit) for window in windows]
    lasting = 0
    while lasting < len(well) and well[-1 - lasting]:
        lasting += 1
    if not windows:
        return Recovery(recovered=False, after_s=None, text="nothing was seen of it after that")
    if lasting < min(WELL_WINDOWS, len(windows)):
        text = f"it did not recover within {windows[-1].end_s:.0f} s"
        return Recovery(recovered=False, after_s=None, text=text)
    after = windows[len(windows) - lasting].start_s
    text = f"it recovered within {after:.0f} s" if after else "it recovered at once"
    return Recovery(recovered=True, after_s=after, text=text)


def _is_well(window: Measured, limit_ns: float) -> bool:
    counts = window.counts
    if counts.get("refused") or counts.get("closed") or counts.get("lost"):
        return False
    latency = window.times.get("latency")
    if latency is None:
        return not counts.get("requested")
    return (latency.percentile(99) or 0) <= limit_ns and counts.get("received", 0) > 0


async def stress(
    trials: Trials,
    *,
    start: float,
    highest: float,
    factor: float = FACTOR,
    bounds: Sequence[Threshold] = (),
    recover_s: float = RECOVER_S,
    well_ns: float = WELL_NS,
    alive: Callable[[], bool] = lambda: True,
    on_rung: Callable[[Rung], None] = lambda _: None,
) -> Stressed:
    """Step up from ``start`` by ``factor`` until a level does not hold, at most to ``highest``; then recover.

    Args:
        trials: Runs a level.
        start: First level; it is also the one that is run again after the break.
        highest: Level that is not exceeded.
        factor: By how much each level exceeds the one before; more than 1.
        bounds: What must hold; by default ``default_bounds``.
        recover_s: Seconds that the server is given when the load has gone.
        well_ns: How far above the first level's its latency may then be.
        alive: Whether the server's process is still there.
        on_rung: Told of each level.
    """
    if not (0 < start <= highest and factor > 1):
        raise ValueError(f"levels from {start:g} by {factor:g} to {highest:g} do not rise")
    rungs: list[Rung] = []
    first: Trialled | None = None
    level = start
    while len(rungs) < MAX_LEVELS:
        trialled = await trials.at(level, trials.step_s)
        first = first or trialled
        held = tuple(bounds) or tuple(default_bounds(first.run))
        found = breaches(held, trialled.run, trialled.windows, trialled.invalid)
        if not alive():
            found = (Breach(kind="ended", text="the server's process ended", at_s=0.0), *found)
        latency = trialled.run.times.get("latency")
        rung = Rung(
            level=level,
            breaches=found,
            p99_ns=None if latency is None else latency.percentile(99),
            received_rate=trialled.run.rate("received"),
        )
        rungs.append(rung)
        on_rung(rung)
        if found:
            if found[0].kind == "ended":
                gone = Recovery(recovered=False, after_s=None, text="it was gone")
                return Stressed(rungs=tuple(rungs), recovery=gone)
            after = await trials.at(start, recover_s)
            return Stressed(rungs=tuple(rungs), recovery=recovery(after.windows, first.run, well_ns))
        if level >= highest:
            break
        level = min(highest, float(f"{level * factor:.4g}"))
    return Stressed(rungs=tuple(rungs), recovery=None)
