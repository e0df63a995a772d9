"""Results: what they say together, and JSON out and in."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega_ai.testkit.result import Distribution, ResultError, RunResult, SuiteResult, TimeSeries
from omega_ai.testkit.verdict import Verdict
from omega_ai.tests.unit.testkit.results import case, run

values = st.lists(st.integers(0, 10**12), min_size=1, max_size=200)


@pytest.mark.parametrize(
    ("cases", "verdict"),
    [
        ([], Verdict.UNKNOWN),
        ([case("a.x", Verdict.PASS)], Verdict.PASS),
        ([case("a.x", Verdict.PASS), case("a.y", Verdict.UNKNOWN)], Verdict.UNKNOWN),
        ([case("a.x", Verdict.UNKNOWN), case("a.y", Verdict.FAIL)], Verdict.FAIL),
        ([case("a.x", Verdict.PASS), case("a.y", Verdict.UNKNOWN, skipped="no TLS")], Verdict.PASS),
        ([case("a.y", Verdict.UNKNOWN, skipped="no TLS")], Verdict.UNKNOWN),
    ],
)
def test_the_verdict_of_a_run(cases: list, verdict: Verdict) -> None:
    """What was skipped counts for nothing, not even for a pass."""
    assert run(*cases).verdict is verdict


def test_an_invalid_run_never_passes() -> None:
    """And a failure stays one."""
    assert run(case("a.x", Verdict.PASS), invalid=("too slow",)).verdict is Verdict.UNKNOWN
    assert run(case("a.x", Verdict.FAIL), invalid=("too slow",)).verdict is Verdict.FAIL


def test_a_suite_without_cases_that_ran_does_not_spoil_the_others() -> None:
    """As with a target that has no TLS."""
    empty = SuiteResult(name="tls", cases=(case("tls.x", Verdict.UNKNOWN, skipped="no wss"),))
    result = run(case("a.x", Verdict.PASS))
    assert (
        RunResult(target=result.target, seed=1, started="", suites=(*result.suites, empty)).verdict
        is Verdict.PASS
    )


def test_json_comes_back_equal() -> None:
    """Every field of it."""
    result = run(case("a.x", Verdict.FAIL), histograms={"latency": Distribution.of([1, 2, 2, 3])})
    assert RunResult.from_json(result.to_json()) == result


def test_a_file_of_the_format_before_is_read() -> None:
    """In it, buckets were written out."""
    result = run(case("a.x", Verdict.FAIL), histograms={"latency": Distribution.of([1, 2, 2, 3])})
    old = msgspec.json.encode(msgspec.structs.replace(result, format=1))
    assert b"[2,2]" in old
    assert RunResult.from_json(old) == result


def test_a_file_is_short_and_can_be_read_by_people() -> None:
    """Rows of numbers are on one line; percentiles stand beside what is packed."""
    series = TimeSeries(name="a", unit="s", points=tuple((n / 2, n * 1.5e-9) for n in range(100)))
    text = run(
        histograms={"latency": Distribution.of(range(10_000))},
        series=(series, TimeSeries(name="[ 1, 2 ]", unit="s", points=())),
    ).to_json()
    plain = json.loads(text)
    assert plain["histograms"]["latency"]["percentiles"] == {
        "50": 4999,
        "90": 8999,
        "99": 9899,
        "99.9": 9989,
        "100": 9999,
    }
    assert plain["series"][0]["points"] == [list(point) for point in series.points]
    assert plain["series"][1]["name"] == "[ 1, 2 ]"
    assert len(text) < 8000
    assert max(map(len, text.splitlines()[:20])) < 200


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no result"),
        (b"{}", "format None, and this version reads formats 1 and 2"),
        (b'{"format":99}', "format 99"),
        (b'{"format":1}', "no result"),
        (b'{"format":2}', "no result"),
        (b'{"format":2,"histograms":{"x":{"buckets":"!"}}}', "no base64"),
        (b'{"format":2,"histograms":[1]}', "no result"),
    ],
)
def test_what_is_no_result_is_refused(data: bytes, words: str) -> None:
    """In a sentence."""
    with pytest.raises(ResultError, match=words):
        RunResult.from_json(data)


@given(values, st.floats(0, 100))
def test_a_percentile_is_a_value_that_was_seen(seen: list[int], percent: float) -> None:
    """By the definition of nearest rank: enough values do not exceed it, and no smaller value will do."""
    value = Distribution.of(seen).percentile(percent)
    assert value in seen
    share = sum(item <= value for item in seen) / len(seen)
    below = sum(item < value for item in seen) / len(seen)
    assert share >= percent / 100 - 1e-9
    assert below < percent / 100 or value == min(seen)


@given(values, values)
def test_merging_loses_nothing(one: list[int], two: list[int]) -> None:
    """The same as if all had been seen by one."""
    merged, whole = Distribution.of(one).merge(Distribution.of(two)), Distribution.of(one + two)
    assert (merged.buckets, merged.count, merged.maximum) == (whole.buckets, whole.count, whole.maximum)
    assert merged.mean == pytest.approx(whole.mean)


def test_units_are_not_mixed() -> None:
    """Nanoseconds and bytes have no common percentile."""
    with pytest.raises(ValueError, match="cannot be merged"):
        Distribution.of([1]).merge(Distribution.of([1], unit="bytes"))
