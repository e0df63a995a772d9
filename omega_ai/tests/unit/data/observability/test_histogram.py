"""Durations in buckets."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega_ai.data_feed.observability.histogram import (
    FINE_BOUNDS,
    LATENCY_BOUNDS,
    NATIVE_BOUNDS,
    SCHEMA,
    LatencyHistogram,
    native_buckets,
)

durations = st.lists(st.floats(0, 30), min_size=1, max_size=200)


def test_a_value_on_a_bound_belongs_below_it() -> None:
    """As ``le`` says."""
    histogram = LatencyHistogram((0.1, 0.2))
    for value in (0.05, 0.1, 0.1000001, 0.2, 0.3):
        histogram.record(value)
    assert histogram.read().counts == (2, 2, 1)


def test_a_negative_duration_counts_as_none() -> None:
    """Two machines' clocks may disagree."""
    histogram = LatencyHistogram((0.1,))
    histogram.record(-5.0)
    reading = histogram.read()
    assert (reading.counts, reading.total) == ((1, 0), 0.0)


def test_many_at_once_are_as_one_by_one() -> None:
    """One publication to a thousand clients is one record."""
    one, many = LatencyHistogram(), LatencyHistogram()
    many.record(0.003, 5)
    for _ in range(5):
        one.record(0.003)
    assert one.read().counts == many.read().counts
    assert one.read().total == pytest.approx(many.read().total)


def test_without_values_there_is_no_quantile() -> None:
    """None, not zero: nothing was measured."""
    assert LatencyHistogram().read().quantile(0.99) is None


@given(durations, st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_never_below_the_true_one_and_at_most_one_bucket_above(
    values: list[float], q: float
) -> None:
    """It errs to the bad side."""
    histogram = LatencyHistogram()
    for value in values:
        histogram.record(value)
    true = sorted(values)[max(1, math.ceil(q * len(values))) - 1]
    found = histogram.read().quantile(q)
    assert found is not None
    assert found >= true
    below = [bound for bound in FINE_BOUNDS if bound < found]
    assert not below or true > below[-1]


@given(durations, durations)
def test_since_is_what_came_after(first: list[float], second: list[float]) -> None:
    """Two readings and the values between them."""
    histogram, alone = LatencyHistogram(), LatencyHistogram()
    for value in first:
        histogram.record(value)
    earlier = histogram.read()
    for value in second:
        histogram.record(value)
        alone.record(value)
    later = histogram.read().since(earlier)
    assert later.counts == alone.read().counts
    assert later.total == pytest.approx(alone.read().total, abs=1e-6)


def test_since_a_reading_that_is_ahead_is_everything() -> None:
    """A replaced worker's counts are gone from the sum."""
    ahead, behind = LatencyHistogram(), LatencyHistogram()
    ahead.record(0.1, 10)
    behind.record(0.1, 4)
    assert behind.read().since(ahead.read()) == behind.read()


def test_bounds_must_rise() -> None:
    """Or the search would not find the bucket."""
    for bounds in ((), (1.0, 1.0), (2.0, 1.0)):
        with pytest.raises(ValueError, match="must rise"):
            LatencyHistogram(bounds)


@given(durations)
def test_the_classic_form_is_what_counting_in_its_bounds_would_have_given(values: list[float]) -> None:
    """Exactly: every classic bound is one of the fine ones."""
    fine, classic = LatencyHistogram(), LatencyHistogram(LATENCY_BOUNDS)
    for value in values:
        fine.record(value)
        classic.record(value)
    assert fine.read().coarse() == classic.read()
    assert classic.read().coarse() == classic.read()


@given(durations)
def test_the_native_form_has_each_value_in_the_bucket_of_its_index(values: list[float]) -> None:
    """Bucket i holds what is above base ** (i - 1), up to base ** i; what is next to nothing is apart."""
    histogram = LatencyHistogram()
    expected: dict[int, int] = {}
    zeros = 0
    for value in values:
        histogram.record(value)
        if value <= NATIVE_BOUNDS[0]:
            zeros += 1
            continue
        # Above 16 s there is one bucket more.
        index = next((i for i in range(-80, 17) if value <= 2.0 ** (i / 2**SCHEMA)), 17)
        expected[index] = expected.get(index, 0) + 1
    native = native_buckets(histogram.read())
    assert (native.counts, native.zero_count) == (expected, zeros)
    assert native.zero_threshold == 2.0**-20
