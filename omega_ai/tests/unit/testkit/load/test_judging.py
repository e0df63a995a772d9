"""Thresholds held against stretches: pass, fail, and when neither can be said."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega_ai.testkit.load.judging import LISTED, judge, judge_all
from omega_ai.testkit.load.measured import merged, regrouped
from omega_ai.testkit.load.thresholds import parse_threshold
from omega_ai.testkit.load.tripwire import Tripwire
from omega_ai.testkit.verdict import Verdict
from omega_ai.tests.unit.testkit.load.stretches import MS, series, stretch

PASS, FAIL, UNKNOWN = Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("text", "verdict", "observed"),
    [
        ("latency.p99 < 100ms", PASS, "99ms"),
        ("latency.p99 < 98ms", FAIL, "99ms"),
        ("latency.max <= 100ms", PASS, "100ms"),
        ("latency.mean < 50ms", FAIL, "50.5ms"),
        ("latency.count == 100", PASS, "100"),
        ("service.p50 < 1s", UNKNOWN, "nothing was seen"),
        ("lost == 0", FAIL, "2"),
        ("lost.share < 3%", PASS, "2%"),
        ("lost.rate < 1/s", PASS, "720/h"),
        ("duplicated == 0", UNKNOWN, "not counted"),
        ("rate.achieved >= 0.99", FAIL, "98%"),
        ("rate.sent > 9/s", PASS, "9.8/s"),
        ("rate.requested == 10/s", PASS, "10/s"),
        ("rss.max < 1MB", UNKNOWN, "not measured: no process is known"),
        ("threads.max < 8", PASS, "3"),
        ("threads.last == 1", PASS, "1"),
        ("cpu.mean < 50%", UNKNOWN, "not measured"),
    ],
)
def test_a_run_is_judged(text: str, verdict: Verdict, observed: str) -> None:
    """What was not measured is unknown, never a pass."""
    run = stretch(
        0,
        10,
        range(1, 101),
        name="run",
        counts={"lost": 2, "expected": 100, "sent": 98, "requested": 100},
        series={"threads": series("threads", [2, 3, 1])},
        absent={"rss": "no process is known"},
    )
    assert judge(parse_threshold(text), run)[:2] == (verdict, observed)


def test_no_percentile_beyond_what_was_seen() -> None:
    """Of 50 values none says where 99 % lie; but if 98 % already lie above, 99 % do."""
    few = stretch(0, 10, range(1, 51))
    assert judge(parse_threshold("latency.p98 < 60ms"), few)[0] is PASS
    verdict, observed, value = judge(parse_threshold("latency.p99 < 60ms"), few)
    assert (verdict, value) == (UNKNOWN, None)
    assert observed == "only 50 values, and p99 shows from 100 on"
    verdict, observed, _ = judge(parse_threshold("latency.p99 < 40ms"), few)
    assert verdict is FAIL
    assert "already p98 is 49ms" in observed


def test_a_value_that_looks_like_its_bound_is_shown_exactly() -> None:
    """Or the reader would doubt the arithmetic."""
    seen = stretch(0, 1, [5.000001])
    assert judge(parse_threshold("latency.max < 5ms"), seen)[1] == "5ms, exactly 5000001 ns"


@given(st.lists(st.lists(st.integers(1, 10**6), min_size=1, max_size=20), min_size=1, max_size=8))
def test_the_run_is_what_its_windows_are_together(parts: list[list[int]]) -> None:
    """Merging loses nothing: the percentile of all is that of all values."""
    windows = [stretch(n, n + 1, [v / MS for v in part], counts={"lost": n}) for n, part in enumerate(parts)]
    whole = merged(windows, "run")
    everything = stretch(0, len(parts), [v / MS for part in parts for v in part])
    assert whole.times == everything.times
    assert whole.counts == {"lost": sum(range(len(parts)))}
    assert whole.seconds == len(parts)


def test_windows_are_joined_to_longer_ones_where_they_start() -> None:
    """Ten of one second are one of ten."""
    windows = [stretch(n, n + 1, [n + 1.0]) for n in range(25)]
    joined = regrouped(windows, 10)
    assert [(w.name, w.times["latency"].count) for w in joined] == [
        ("window 0-10 s", 10),
        ("window 10-20 s", 10),
        ("window 20-30 s", 5),
    ]


def test_each_window_must_hold() -> None:
    """One that does not is named; if all hold, the worst is told."""
    windows = [stretch(n, n + 1, [n + 1.0]) for n in range(30)]
    failed = judge_all([parse_threshold("each 10s: latency.max < 20ms")], windows[0], windows)
    assert [(r.verdict, r.where, r.observed) for r in failed] == [
        (FAIL, "window 10-20 s", "20ms"),
        (FAIL, "window 20-30 s", "30ms"),
    ]
    (held,) = judge_all([parse_threshold("each 10s: latency.max < 31ms")], windows[0], windows)
    assert (held.verdict, held.where) == (PASS, "3 windows")
    assert held.observed == "at worst 30ms in window 20-30 s"


def test_many_bad_windows_are_listed_up_to_a_bound() -> None:
    """A night's run has thousands."""
    windows = [stretch(n, n + 1, [5.0]) for n in range(100)]
    results = judge_all([parse_threshold("each 1s: latency.max < 5ms")], windows[0], windows)
    assert len(results) == LISTED + 1
    assert results[-1].observed == "and in 80 more of 100 windows"


def test_a_silent_window_is_not_passed_over() -> None:
    """Something was to come and nothing came: no proof. Where nothing was to come, nothing is asked."""
    windows = [stretch(0, 10, [1.0], counts={"expected": 1, "received": 1})]
    idle = stretch(10, 20, counts={"expected": 0, "received": 0})
    silent = stretch(10, 20, counts={"expected": 5, "received": 0})
    threshold = parse_threshold("each 10s: latency.max < 5ms")
    assert judge_all([threshold], idle, [*windows, idle])[0].verdict is PASS
    (result,) = judge_all([threshold], silent, [*windows, silent])
    assert (result.verdict, result.observed) == (
        UNKNOWN,
        "nothing came in 1 of 2 windows, the first window 10-20 s",
    )


def test_a_phase_that_is_not_there_is_unknown() -> None:
    """A misspelt name must not pass."""
    phases = [stretch(0, 5, [1.0], name="phase calm"), stretch(5, 9, [9.0], name="phase peak")]
    run = merged(phases, "run")

    def results(text: str) -> list:
        return [(r.verdict, r.where) for r in judge_all([parse_threshold(text)], run, (), phases)]

    assert results("phase peak: latency.max < 10ms") == [(PASS, "phase peak")]
    assert results("phase peek: latency.max < 10ms") == [(UNKNOWN, "all phases")]
    assert results("each phase: latency.max < 5ms") == [(FAIL, "phase peak")]


def test_a_slope_is_held_against_its_whole_interval() -> None:
    """Surely below: pass. Surely above: fail. Neither: unknown."""
    rng = random.Random(1)
    leak = [1e8 + 10_000 * n + rng.gauss(0, 1e5) for n in range(300)]  # 36 MB/h
    run = stretch(0, 300, name="run", series={"rss": series("rss", leak)})
    assert judge(parse_threshold("rss.slope < 10MB/h"), run)[0] is FAIL
    assert judge(parse_threshold("rss.slope < 100MB/h"), run)[0] is PASS
    assert judge(parse_threshold("rss.slope < 36MB/h"), run)[0] is UNKNOWN
    short = stretch(0, 5, name="run", series={"rss": series("rss", leak[:5])})
    assert judge(parse_threshold("rss.slope < 10MB/h"), short)[0] is UNKNOWN
    steps = [1e8 + 5e6 * (n > 150) for n in range(300)]
    stepped = stretch(0, 300, name="run", series={"rss": series("rss", steps)})
    assert judge(parse_threshold("rss.slope < 1MB/h"), stepped)[0] is not FAIL


def test_a_run_ends_where_it_was_told_to() -> None:
    """At the first loss; a bound without "or stop" ends nothing."""
    wire = Tripwire(map(parse_threshold, ["lost == 0 or stop", "errors == 0"]))
    assert wire.add(stretch(0, 1, [1.0], counts={"lost": 0, "errors": 3})) is None
    reason = wire.add(stretch(1, 2, [1.0], counts={"lost": 1, "errors": 3}))
    assert reason == "lost == 0 or stop: observed 1 in the run so far"


def test_a_percentile_ends_a_run_only_after_a_while() -> None:
    """The first second of a run is not the run."""
    wire = Tripwire([parse_threshold("latency.p50 < 5ms or stop")])
    ended = [wire.add(stretch(n, n + 1, [9.0] * 10)) is not None for n in range(6)]
    assert ended == [False] * 4 + [True] * 2


def test_half_a_window_ends_nothing() -> None:
    """Only a whole window of the length that was asked for does."""
    wire = Tripwire([parse_threshold("each 3s: latency.max < 5ms or stop")])
    ended = [wire.add(stretch(n, n + 1, [9.0 if n == 3 else 1.0])) for n in range(6)]
    assert ended[:5] == [None] * 5
    assert ended[5] is not None
    assert ended[5].endswith("observed 9ms in the window 3-6 s")


def test_a_phase_ends_a_run_by_what_was_seen_in_it() -> None:
    """What came before it counts for nothing."""
    wire = Tripwire([parse_threshold("phase peak: lost == 0 or stop")])
    assert wire.add(stretch(0, 1, counts={"lost": 4}), "calm") is None
    assert wire.add(stretch(1, 2, counts={"lost": 0}), "peak") is None
    assert wire.add(stretch(2, 3, counts={"lost": 1}), "peak") is not None


def test_a_fault_ends_a_run_by_what_was_seen_in_it() -> None:
    """Also of several at once; what is seen in another, or in a phase of that name, counts for nothing."""
    wire = Tripwire([parse_threshold("fault cut: lost == 0 or stop")])
    assert wire.add(stretch(0, 1, counts={"lost": 4}), "cut", ["slow"]) is None
    assert wire.add(stretch(1, 2, counts={"lost": 0}), None, ["slow", "cut"]) is None
    reason = wire.add(stretch(2, 3, counts={"lost": 1}), None, ["slow", "cut"])
    assert reason is not None
    assert reason.endswith("in the fault cut")
    each = Tripwire([parse_threshold("each fault: lost == 0 or stop")])
    assert each.add(stretch(0, 1, counts={"lost": 4}), "peak") is None
    assert each.add(stretch(0, 1, counts={"lost": 4}), "peak", ["slow"]) is not None


def test_what_can_be_made_good_ends_nothing() -> None:
    """That too little came so far is no reason to stop."""
    wire = Tripwire([parse_threshold("received >= 1000 or stop")])
    assert all(wire.add(stretch(n, n + 1, counts={"received": 10})) is None for n in range(20))
