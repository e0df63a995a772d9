"""Thresholds held against what was measured: over the run, in windows, phases and faults. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

from omega_ai.core.histogram import Histogram
from omega_ai.testkit.load.drift import judge_drift
from omega_ai.testkit.load.measured import COUNTS, SERIES, TIMES, Measured, regrouped
from omega_ai.testkit.load.quantities import Dimension, shown
from omega_ai.testkit.load.thresholds import Threshold
from omega_ai.testkit.result import ThresholdResult
from omega_ai.testkit.verdict import Verdict

LISTED: Final = 20
"""Windows in which a threshold did not hold that are listed one by one."""

Judged = tuple[Verdict, str, float | None]
"""Verdict, what was observed, and its value if it has one."""


def judge(threshold: Threshold, measured: Measured) -> Judged:
    """One threshold in one stretch."""
    reason = measured.absent.get(threshold.metric)
    if reason is not None:
        return Verdict.UNKNOWN, f"not measured: {reason}", None
    if threshold.statistic == "slope":
        return _slope(threshold, measured)
    if threshold.percentile is not None:
        histogram = measured.times.get(threshold.metric)
        return _UNSEEN if histogram is None else _percentile(threshold, histogram)
    value, reason = _value(threshold, measured)
    if value is None:
        return Verdict.UNKNOWN, reason, None
    holds = threshold.holds(value)
    return (Verdict.PASS if holds else Verdict.FAIL), _distinct(value, threshold), value


_UNSEEN: Final[Judged] = (Verdict.UNKNOWN, "nothing was seen", None)


def _percentile(threshold: Threshold, seen: Histogram) -> Judged:
    """No percentile is told that needs more values than there are.

    But percentiles only rise: if a lower one that can be told is above an upper bound, so is this one.
    """
    percent = threshold.percentile or 0.0
    needed = 1 if percent >= 100 else math.ceil(round(100 / (100 - percent), 6))
    if seen.count >= needed:
        value = float(seen.percentile(percent) or 0)
        return (
            Verdict.PASS if threshold.holds(value) else Verdict.FAIL,
            _distinct(value, threshold),
            value,
        )
    few = f"only {seen.count} values, and {threshold.statistic} shows from {needed} on"
    lower = 100 * (1 - 1 / seen.count)
    value = float(seen.percentile(lower) or 0)
    if threshold.comparison in ("<", "<=") and not threshold.holds(value):
        return Verdict.FAIL, f"already p{lower:g} is {_distinct(value, threshold)} ({few})", value
    return Verdict.UNKNOWN, few, None


def _value(threshold: Threshold, measured: Measured) -> tuple[float | None, str]:
    """The value, or None and why there is none."""
    name, statistic = threshold.metric, threshold.statistic
    if name in TIMES:
        seen = measured.times.get(name)
        if seen is None:
            return (0.0, "") if statistic == "count" else (None, "nothing was seen")
        values = {"min": seen.minimum, "mean": seen.mean, "max": seen.maximum, "count": seen.count}
        return float(values[statistic]), ""
    if name == "rate":
        return _rate(statistic, measured)
    if name in COUNTS:
        return _count(name, statistic, measured)
    assert name in SERIES  # noqa: S101 - the parser knows no others
    series = measured.series.get(name)
    if series is None or not series.points:
        return None, "not measured"
    points = [value for _, value in series.points]
    values = {"min": min(points), "max": max(points), "mean": sum(points) / len(points), "last": points[-1]}
    return values[statistic], ""


def _count(name: str, statistic: str, measured: Measured) -> tuple[float | None, str]:
    count = measured.counts.get(name)
    if count is None:
        return None, "not counted"
    if statistic == "count":
        return float(count), ""
    value = measured.share(name) if statistic == "share" else measured.rate(name)
    return value, "" if value is not None else "a share of nothing"


def _rate(statistic: str, measured: Measured) -> tuple[float | None, str]:
    if statistic == "achieved":
        value = measured.share("sent")
        return value, "" if value is not None else "nothing was to be sent"
    value = measured.rate(statistic)
    return value, "" if value is not None else "not counted"


def _slope(threshold: Threshold, measured: Measured) -> Judged:
    """An upper bound is held against the whole interval of the slope: what it leaves open is unknown."""
    series = measured.series.get(threshold.metric)
    if series is None or not series.points:
        return Verdict.UNKNOWN, "not measured", None
    drift = judge_drift(series, warm_up_s=measured.start_s)
    slope = drift.slope
    if slope is None:
        return Verdict.UNKNOWN, drift.why, None
    low, estimate, high = (
        shown(value, threshold.dimension) for value in (slope.low, slope.estimate, slope.high)
    )
    text = f"{estimate}, between {low} and {high}"
    if threshold.comparison not in ("<", "<="):
        holds = threshold.holds(slope.estimate)
        return (Verdict.PASS if holds else Verdict.FAIL), text, slope.estimate
    if threshold.holds(slope.high):
        return Verdict.PASS, text, slope.estimate
    if drift.trend == "grows":
        fails = not threshold.holds(slope.low)
        return (Verdict.FAIL if fails else Verdict.UNKNOWN), text, slope.estimate
    if slope.low > 0:
        return Verdict.PASS, f"no lasting growth, for {drift.why} ({text})", slope.estimate
    return Verdict.UNKNOWN, f"{text}: a longer run would tell", slope.estimate


def _distinct(value: float, threshold: Threshold) -> str:
    """The value, with more digits if it would look like a bound that it does not meet."""
    text = shown(value, threshold.dimension)
    if text == shown(threshold.bound, threshold.dimension) and value != threshold.bound:
        unit = {Dimension.TIME: " ns", Dimension.BYTES: " B"}.get(threshold.dimension, "")
        return f"{text}, exactly {value:.15g}{unit}"
    return text


def judge_all(
    thresholds: Iterable[Threshold],
    run: Measured,
    windows: Sequence[Measured] = (),
    phases: Sequence[Measured] = (),
    faults: Sequence[Measured] = (),
) -> list[ThresholdResult]:
    """Every threshold over what it is for. One that was held against several stretches makes one result if it
    held, and one for each stretch in which it did not.
    """
    results: list[ThresholdResult] = []
    for threshold in thresholds:
        if threshold.window_s is not None:
            results += _over(threshold, regrouped(windows, threshold.window_s), "windows")
        elif threshold.phase is not None:
            fitting = [part for part in phases if threshold.phase in ("*", part.name.removeprefix("phase "))]
            results += _over(threshold, fitting, "phases")
        elif threshold.fault is not None:
            fitting = [part for part in faults if threshold.fault in ("*", part.name.removeprefix("fault "))]
            results += _over(threshold, fitting, "faults")
        else:
            verdict, observed, _ = judge(threshold, run)
            results.append(ThresholdResult(expression=threshold.text, verdict=verdict, observed=observed))
    return results


def _over(threshold: Threshold, parts: Sequence[Measured], what: str) -> list[ThresholdResult]:
    judged = [(part, *judge(threshold, part)) for part in parts]
    failed = [item for item in judged if item[1] is Verdict.FAIL]
    passed = [item for item in judged if item[1] is Verdict.PASS]
    if failed:
        results = [
            ThresholdResult(expression=threshold.text, verdict=verdict, observed=observed, where=part.name)
            for part, verdict, observed, _ in failed[:LISTED]
        ]
        if len(failed) > LISTED:
            more = f"and in {len(failed) - LISTED} more of {len(judged)} {what}"
            results.append(
                ThresholdResult(
                    expression=threshold.text, verdict=Verdict.FAIL, observed=more, where=f"more {what}"
                )
            )
        return results
    # A silent stretch in which something was to come is no proof; a stretch with too few values says nothing.
    silent = [part for part, verdict, _, _ in judged if verdict is Verdict.UNKNOWN and _should_speak(part)]
    if not passed or silent:
        if not parts:
            observed = f"there were no such {what}"
        elif silent:
            observed = f"nothing came in {len(silent)} of {len(judged)} {what}, the first {silent[0].name}"
        else:
            observed = f"none of {len(judged)} {what} could be judged: {judged[0][2]}"
        return [
            ThresholdResult(
                expression=threshold.text, verdict=Verdict.UNKNOWN, observed=observed, where=f"all {what}"
            )
        ]
    upper = threshold.comparison in ("<", "<=", "==")
    values = [(value, part.name) for part, _, _, value in passed if value is not None]
    worst = max(values) if upper else min(values)
    observed = f"at worst {shown(worst[0], threshold.dimension)} in {worst[1]}"
    if len(passed) < len(judged):
        observed += f"; {len(judged) - len(passed)} of {len(judged)} {what} had too few values"
    return [
        ThresholdResult(
            expression=threshold.text,
            verdict=Verdict.PASS,
            observed=observed,
            where=f"{len(passed)} {what}" if len(passed) > 1 else passed[0][0].name,
        )
    ]


def _should_speak(part: Measured) -> bool:
    """Something was to come in this stretch, and nothing did."""
    return bool(part.counts.get("expected")) and not part.counts.get("received")
