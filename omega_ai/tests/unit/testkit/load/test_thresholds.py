"""The language of thresholds: what can be said, and what is answered to what cannot."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega_ai.testkit.load.quantities import quantity, shown
from omega_ai.testkit.load.thresholds import COMPARE, ThresholdError, parse_threshold


@pytest.mark.parametrize(
    ("text", "metric", "statistic", "comparison", "bound"),
    [
        ("latency.p99 < 5ms", "latency", "p99", "<", 5e6),
        ("latency.p99.9<=1.5 s", "latency", "p99.9", "<=", 1.5e9),
        ("lost == 0", "lost", "count", "==", 0),
        ("lost.share < 0.1%", "lost", "share", "<", 0.001),
        ("connect.p95 < 50ms", "connect", "p95", "<", 50e6),
        ("rss.slope < 1MB/h", "rss", "slope", "<", 1e6 / 3600),
        ("rss.max < 200MiB", "rss", "max", "<", 200 * 2**20),
        ("errors == 0", "errors", "count", "==", 0),
        ("rate.achieved >= 0.99", "rate", "achieved", ">=", 0.99),
        ("rate.achieved >= 99%", "rate", "achieved", ">=", 0.99),
        ("rate.received > 5_000/s", "rate", "received", ">", 5000),
        ("descriptors.slope < 10/h", "descriptors", "slope", "<", 10 / 3600),
        ("cpu.max < 80%", "cpu", "max", "<", 0.8),
        ("latency.count != 1e3", "latency", "count", "!=", 1000),
    ],
)
def test_what_can_be_said(text: str, metric: str, statistic: str, comparison: str, bound: float) -> None:
    """Metric, statistic, comparison, and the bound in the metric's own unit."""
    threshold = parse_threshold(text)
    assert (threshold.metric, threshold.statistic, threshold.comparison) == (metric, statistic, comparison)
    assert threshold.bound == pytest.approx(bound)
    assert (threshold.window_s, threshold.phase, threshold.stop) == (None, None, False)


@pytest.mark.parametrize(
    ("text", "window_s", "phase", "stop"),
    [
        ("each 10s: latency.p99 < 20ms", 10.0, None, False),
        ("each 1.5min : lost == 0 or stop", 90.0, None, True),
        ("each phase: errors == 0", None, "*", False),
        ("phase slow-half: latency.p50 < 1s", None, "slow-half", False),
        ("lost == 0 or stop", None, None, True),
    ],
)
def test_for_which_stretches_it_holds(
    text: str, window_s: float | None, phase: str | None, stop: bool
) -> None:
    """Windows, phases, and whether the run ends."""
    threshold = parse_threshold(text)
    assert (threshold.window_s, threshold.phase, threshold.stop) == (window_s, phase, stop)


@pytest.mark.parametrize(
    ("text", "position", "says"),
    [
        ("", 0, "a metric"),
        ("latncy.p99 < 5ms", 0, "did you mean latency?"),
        ("speed < 5", 0, "there are latency"),
        ("latency < 5ms", 0, "latency.p99"),
        ("latency.p101 < 5ms", 8, "has no 'p101'"),
        ("latency.slope < 5ms", 8, "has no 'slope'"),
        ("cpu.slope < 5%", 4, "has no 'slope'"),
        ("latency.p99 5ms", 12, "a comparison"),
        ("latency.p99 < ", 14, "a number"),
        ("latency.p99 < 5", 14, "write ns us µs ms s"),
        ("latency.p99 < 5MB", 14, "a time, this is a size"),
        ("latency.p99 < 5parsec", 15, "no unit 'parsec'"),
        ("rss.slope < 1MB/fortnight", 13, "/s, /min, /h, /d"),
        ("rss.slope < 1MB", 12, "write MB/h"),
        ("lost < 3ms", 7, "no unit"),
        ("lost == 0 and errors == 0", 10, "or stop"),
        ("lost == 0 or go", 10, "or stop"),
        ("each 10: lost == 0", 5, "a length of time"),
        ("each 10ms: lost == 0", 5, "1s or longer"),
        ("each 10s lost == 0", 9, "a colon"),
        ("phase : lost == 0", 6, "the name of a phase"),
        ("fault : lost == 0", 6, "the name of a fault"),
        ("fault tunnel lost == 0", 13, "a colon"),
        ("lost = 0", 5, "'=' has no place"),
        ("lost == -1", 8, "'-' has no place"),
    ],
)
def test_what_cannot_be_said(text: str, position: int, says: str) -> None:
    """The error shows the place and what could stand there."""
    with pytest.raises(ThresholdError) as caught:
        parse_threshold(text)
    assert caught.value.position == position
    assert says in caught.value.problem
    assert str(caught.value).splitlines()[-1] == "  " + " " * position + "^"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("fault tunnel: errors == 0", "tunnel"),
        ("fault a  long line 2: latency.p99 < 1s", "a long line 2"),
        ("each fault: lost == 0 or stop", "*"),
    ],
)
def test_a_bound_may_be_on_a_fault(text: str, fault: str) -> None:
    """By its name, of one word or more; or on each."""
    threshold = parse_threshold(text)
    assert (threshold.fault, threshold.phase, threshold.window_s) == (fault, None, None)


def test_a_threshold_has_a_bounded_length() -> None:
    """Whatever is in the file."""
    with pytest.raises(ThresholdError, match="at most 200"):
        parse_threshold("lost == 0" + " " * 200)


METRICS = (
    *("latency.p99", "service.p50", "connect.max", "lag.mean", "lost.count", "errors.share", "sent.rate"),
    *("rate.achieved", "rate.sent", "rss.slope", "rss.max", "cpu.mean", "descriptors.slope", "threads.last"),
)
scopes = st.one_of(
    st.just(""),
    st.integers(1, 3600).map(lambda seconds: f"each {seconds}s: "),
    st.from_regex(r"[a-z][a-z0-9_-]{0,12}", fullmatch=True).map(lambda name: f"phase {name}: "),
    st.from_regex(r"[a-z][a-z0-9_-]{0,6}( [a-z0-9]{1,6}){0,2}", fullmatch=True).map(
        lambda name: f"fault {name}: "
    ),
)


UNITS = {
    "latency": "ns",
    "service": "us",
    "connect": "s",
    "lag": "ms",
    "sent": "/min",
    "rss": "KB",
    "cpu": "%",
}


@given(
    scopes,
    st.sampled_from(METRICS),
    st.sampled_from(list(COMPARE)),
    st.floats(0, 1e12, allow_nan=False).map(lambda number: float(f"{number:.6g}")),
    st.booleans(),
)
def test_what_is_read_is_what_was_written(
    scope: str, metric: str, comparison: str, number: float, stop: bool
) -> None:
    """Reading and writing in one form, again and again, changes nothing."""
    unit = UNITS.get(metric.partition(".")[0], "")
    if metric.endswith(".slope"):
        unit = "/h" if metric.startswith("descriptors") else f"{unit}/h"
    text = f"{scope}{metric} {comparison} {number:f}{unit}" + (" or stop" if stop else "")
    threshold = parse_threshold(text)
    again = parse_threshold(threshold.canonical)
    assert replace(again, text=threshold.text) == threshold
    assert threshold.stop is stop


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused_with_a_place_in_it(text: str) -> None:
    """Nothing else is raised, and the place lies in the text."""
    position = 0
    try:
        parse_threshold(text)
    except ThresholdError as error:
        position = error.position
    assert 0 <= position <= len(text)


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_comparisons_are_those_of_numbers(value: float, bound: float):
    """And of opposites exactly one holds."""
    lost = parse_threshold("lost < 1")
    holds = {name: replace(lost, comparison=cast(Any, name), bound=bound).holds(value) for name in COMPARE}
    assert holds["<"] is (value < bound)
    assert holds["<"] is not holds[">="]
    assert holds[">"] is not holds["<="]
    assert holds["=="] is not holds["!="]


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [
        (5, "ms", "5ms"),
        (0.25, "us", "250ns"),
        (90, "s", "90s"),
        (1.5, "MB", "1.5MB"),
        (512, "B", "512B"),
        (1, "MB/h", "1MB/h"),
        (99.5, "%", "99.5%"),
        (10, "/s", "10/s"),
        (12, "/h", "12/h"),
        (3, "", "3"),
    ],
)
def test_quantities_are_shown_in_a_unit_of_their_size(number: float, unit: str, text: str) -> None:
    """So that nobody counts zeros."""
    given_ = quantity(number, unit)
    assert shown(given_.value, given_.dimension) == text
