"""Numbers that came: judged as a set of all of them would judge, in little memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega_ai.testkit.load import accounts
from omega_ai.testkit.load.accounts import Arrival, Stream


@given(st.lists(st.integers(0, 40), max_size=80))
def test_it_judges_as_whoever_remembers_everything(numbers):
    """A set of all numbers seen is the other way to know."""
    stream, seen, highest = Stream(), set(), -1
    for number in numbers:
        arrival = stream.see(number)
        if number in seen:
            assert arrival is Arrival.DUPLICATED
        elif number < highest:
            assert arrival is Arrival.REORDERED
        else:
            assert arrival is (Arrival.EXPECTED if number == highest + 1 else Arrival.GAP)
        seen.add(number)
        highest = max(highest, number)
        assert stream.next == highest + 1
        assert stream.missing == highest + 1 - len(seen)


@given(st.lists(st.integers(0, 30), max_size=30), st.integers(0, 40))
def test_what_was_on_its_way_at_a_close_is_what_had_not_come_after_the_last(numbers, sent):
    stream = Stream()
    for number in numbers:
        stream.see(number)
    missing, upto = stream.missing, stream.next
    assert stream.cut(sent) == max(0, sent - upto)
    assert stream.missing == missing
    assert stream.next == max(sent, upto)
    for number in range(stream.next):
        assert stream.see(number) is Arrival.TOO_LATE
    assert stream.see(stream.next) is Arrival.EXPECTED


def test_memory_is_bounded_and_the_count_stays_exact(monkeypatch):
    """Of very many holes the oldest are settled: what comes of them later is no more told from a copy."""
    monkeypatch.setattr(accounts, "MAX_HOLES", 10)
    stream = Stream()
    for number in range(0, 200, 2):
        stream.see(number)
    assert stream.missing == 99
    assert stream.see(1) is Arrival.TOO_LATE
    assert stream.see(197) is Arrival.REORDERED
    assert stream.missing == 98


@pytest.mark.parametrize(("number", "left"), [(1, {2, 3, 4, 5}), (5, {1, 2, 3, 4}), (3, {1, 2, 4, 5})])
def test_a_hole_is_filled_from_either_end_or_in_the_middle(number, left):
    stream = Stream()
    stream.see(0)
    stream.see(6)
    assert stream.see(number) is Arrival.REORDERED
    assert stream.see(number) is Arrival.DUPLICATED
    assert {n for n in range(7) if stream.see(n) is Arrival.REORDERED} == left
    assert stream.missing == 0
