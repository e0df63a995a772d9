"""Two runs of the same tests: what became worse, beyond noise."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

from omega_ai.testkit.load.record import LoadRecord, join, result_parts
from omega_ai.testkit.result import Distribution, RunResult, SuiteResult
from omega_ai.testkit.verdict import Verdict

PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9)
Z: Final = 2.58
"""Half-width of a percentile's interval, in standard deviations of its rank: 99 % of runs lie within."""
LEAST_CHANGE: Final = 0.1
"""A difference smaller than this share is of no account, however sure it is."""
LEAST_COUNT: Final = 30
"""Values that a distribution must have for its percentiles to be compared."""

_RANK: Final = {Verdict.PASS: 0, Verdict.UNKNOWN: 1, Verdict.FAIL: 2}


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. ``weight`` is +1 for worse, -1 for better, 0 for a remark."""

    what: str
    before: str
    after: str
    weight: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """All differences, and the verdict: fail if anything is worse, unknown if nothing could be compared."""

    changes: tuple[Change, ...]
    compared: int

    @property
    def verdict(self) -> Verdict:
        """See the class."""
        if any(change.weight > 0 for change in self.changes):
            return Verdict.FAIL
        return Verdict.PASS if self.compared else Verdict.UNKNOWN


def compare(before: RunResult, after: RunResult) -> Comparison:
    """What changed from one run to the other. Cases and histograms are compared by their names."""
    changes: list[Change] = []
    compared = 0
    old = {case.id: case for case in before.cases if case.skipped is None}
    new = {case.id: case for case in after.cases if case.skipped is None}
    for case_id in old | new:
        if case_id not in new:
            changes.append(Change(case_id, old[case_id].verdict, "not run", 0))
        elif case_id not in old:
            verdict = new[case_id].verdict
            changes.append(Change(case_id, "not run", verdict, int(verdict is Verdict.FAIL)))
        else:
            compared += 1
            a, b = old[case_id].verdict, new[case_id].verdict
            if a is not b:
                text = f"{b}: {new[case_id].finding}"
                changes.append(Change(case_id, a, text, 1 if _RANK[b] > _RANK[a] else -1))
    for name, histogram in before.histograms.items():
        other = after.histograms.get(name)
        if other is not None and other.unit == histogram.unit:
            found, judged = _percentiles(name, histogram, other)
            changes += found
            compared += judged
    if after.invalid and not before.invalid:
        changes.append(Change("run", "valid", f"invalid: {after.invalid[0]}", 1))
    order = sorted(changes, key=lambda change: -change.weight)
    return Comparison(tuple(order), compared)


def _percentiles(name: str, before: Distribution, after: Distribution) -> tuple[list[Change], int]:
    changes: list[Change] = []
    judged = 0
    for percent in PERCENTILES:
        a, b = interval(before, percent), interval(after, percent)
        if a is None or b is None:
            continue
        judged += 1
        old, new = before.percentile(percent), after.percentile(percent)
        if old and abs(new - old) / old < LEAST_CHANGE:
            continue
        if b[0] > a[1] or b[1] < a[0]:
            what = f"{name} p{percent:g}"
            weight = 1 if new > old else -1
            changes.append(Change(what, _shown(old, before.unit), _shown(new, after.unit), weight))
    return changes, judged


def interval(distribution: Distribution, percent: float) -> tuple[int, int] | None:
    """Between which values the true percentile lies, nearly for sure; None if too few values say.

    The rank of a percentile among n values is binomial; no shape of the distribution is assumed.
    """
    count, share = distribution.count, percent / 100
    spread = Z * math.sqrt(count * share * (1 - share))
    low, high = count * share - spread, count * share + spread
    if count < LEAST_COUNT or low < 1 or high > count:
        return None
    return distribution.percentile(100 * low / count), distribution.percentile(100 * high / count)


def _shown(value: int, unit: str) -> str:
    return f"{value / 1e6:.3f} ms" if unit == "ns" else f"{value} {unit}"


def merge(results: Iterable[RunResult]) -> RunResult:
    """Results of several machines that did the same to one target, as one; histograms are added exactly.

    Of cases of one name, the worst counts. Thresholds were judged on each machine; but the shards of a load
    run are joined and judged as one run.

    Raises:
        ValueError: nothing to merge, different targets, or shards that are not of one run.
    """
    given = list(results)
    if not given:
        raise ValueError("there is nothing to merge")
    if len(given) == 1:
        return given[0]
    if len({result.target.url for result in given}) > 1:
        raise ValueError("they are of different targets: " + ", ".join(sorted({r.target.url for r in given})))
    if any(result.load is not None for result in given):
        return _join_load(given)
    histograms: dict[str, Distribution] = {}
    for result in given:
        for name, histogram in result.histograms.items():
            known = histograms.get(name)
            histograms[name] = histogram if known is None else known.merge(histogram)
    suites: dict[str, SuiteResult] = {}
    for result in given:
        for suite in result.suites:
            known_suite = suites.get(suite.name)
            if known_suite is None:
                suites[suite.name] = suite
                continue
            cases = {case.id: case for case in known_suite.cases}
            for case in suite.cases:
                other = cases.get(case.id)
                worse = (
                    other is None
                    or other.skipped is not None
                    or (case.skipped is None and _RANK[case.verdict] > _RANK[other.verdict])
                )
                if worse:
                    cases[case.id] = case
            suites[suite.name] = msgspec.structs.replace(known_suite, cases=tuple(cases.values()))
    first = given[0]
    return msgspec.structs.replace(
        first,
        duration_s=max(result.duration_s for result in given),
        suites=tuple(suites.values()),
        histograms=histograms,
        series=tuple(
            msgspec.structs.replace(
                series, name=f"{series.name} ({number + 1})" if len(given) > 1 else series.name
            )
            for number, result in enumerate(given)
            for series in result.series
        ),
        fault_windows=tuple(window for result in given for window in result.fault_windows),
        thresholds=tuple(threshold for result in given for threshold in result.thresholds),
        invalid=tuple(dict.fromkeys(reason for result in given for reason in result.invalid)),
    )


def _join_load(given: list[RunResult]) -> RunResult:
    """The shards of one load run."""
    alone = [number for number, result in enumerate(given, 1) if result.load is None]
    if alone:
        raise ValueError(f"number {alone[0]} of them is no result of omega load, and others are")
    record = join([LoadRecord.from_builtins(result.load) for result in given])
    parts = result_parts(record, reproduce=given[0].command)
    return msgspec.structs.replace(
        given[0],
        duration_s=max(result.duration_s for result in given),
        suites=(parts.suite,),
        histograms=parts.histograms,
        series=parts.series,
        thresholds=parts.thresholds,
        fault_windows=parts.fault_windows,
        invalid=parts.invalid,
        load=record.to_builtins(),
    )
