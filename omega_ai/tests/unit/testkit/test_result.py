"""Results: what they say together, and JSON out and in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega_ai.testkit.result import Distribution, ResultError, RunResult, SuiteResult
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


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no result"),
        (b"{}", "format None"),
        (b'{"format":99}', "format 99"),
        (b'{"format":1}', "no result"),
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
