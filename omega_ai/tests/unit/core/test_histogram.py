"""Histograms: exact where they say so, within a thousandth everywhere, the same however they were joined."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega_ai.core.histogram import LARGEST, Histogram, cell_of, highest_of, lowest_of

values = st.one_of(st.integers(0, 5000), st.integers(0, 10**9), st.integers(0, LARGEST))
lists = st.lists(values, min_size=1, max_size=60)


@given(values)
def test_a_cell_holds_its_values_and_is_narrow(value):
    cell = cell_of(value)
    low, high = lowest_of(cell), highest_of(cell)
    assert low <= value <= high
    assert high - low <= value / 1000
    assert cell_of(low) == cell_of(high) == cell
    assert cell_of(high + 1) == cell + 1


@given(lists, st.floats(0, 100))
def test_a_percentile_is_that_of_the_sorted_values_within_a_thousandth(given_values, percent):
    """And never beyond what was seen."""
    ordered = sorted(given_values)
    exact = ordered[max(1, math.ceil(percent * len(ordered) / 100)) - 1]
    found = Histogram.of(given_values).percentile(percent)
    assert found is not None
    assert exact <= found <= exact + exact / 1000 + 1
    assert ordered[0] <= found <= ordered[-1]


@given(lists, lists)
def test_two_together_are_what_all_values_at_once_are(one, other):
    joined = Histogram.of(one)
    joined.add(Histogram.of(other))
    assert joined == Histogram.of(one + other)
    assert (joined.count, joined.total) == (len(one + other), sum(one + other))
    assert (joined.minimum, joined.maximum) == (min(one + other), max(one + other))


@given(lists)
def test_it_goes_to_another_machine_and_back(given_values):
    histogram = Histogram.of(given_values)
    assert msgspec.json.decode(msgspec.json.encode(histogram), type=Histogram) == histogram
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(histogram), type=Histogram) == histogram


@given(lists)
def test_its_buckets_rise_and_hold_everything(given_values):
    histogram = Histogram.of(given_values)
    buckets = list(histogram.buckets())
    assert [value for value, _ in buckets] == sorted({value for value, _ in buckets})
    assert sum(times for _, times in buckets) == len(given_values)
    assert buckets[-1][0] == max(given_values)


def test_memory_is_bounded_whatever_comes():
    histogram = Histogram()
    for exponent in range(200):
        for step in range(0, 1 << 11, 7):
            histogram.record((1 << exponent) + step)
    assert len(histogram.cells) <= cell_of(LARGEST) + 1 < 40_000
    assert histogram.maximum == LARGEST


def test_of_nothing_there_is_no_percentile():
    empty = Histogram()
    assert not empty
    assert empty.percentile(50) is None
    assert empty.mean == 0.0
    filled = Histogram.of([5])
    filled.add(empty)
    assert filled == Histogram.of([5])
    with pytest.raises(ValueError, match="0 to 100"):
        empty.percentile(101)


def test_what_is_above_a_value_and_what_is_negative():
    histogram = Histogram.of([-5, 10, 20, 30])
    assert histogram.minimum == 0
    assert histogram.above(10) == 2
    assert histogram.above(30) == 0
    copy = histogram.copy()
    copy.record(1, times=3)
    assert (histogram.count, copy.count) == (4, 7)
