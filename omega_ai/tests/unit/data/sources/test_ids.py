"""A memory for ids: exact whatever the order, small when they are consecutive."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from omega_ai.data_feed.sources.ids import SeenIds


@given(st.lists(st.integers(0, 40)))
def test_it_agrees_with_a_set(numbers):
    """New exactly once, however the ranges grow together."""
    seen, expected = SeenIds(), set()
    for number in numbers:
        assert seen.add(str(number)) is (number not in expected)
        expected.add(number)
    holes = sum(1 for number in expected if number + 1 not in expected) - 1
    assert seen.holes == max(holes, 0)


def test_an_aggregate_covers_the_ids_before_it():
    """A trade of three matches with id 8 leaves no hole after 5."""
    seen = SeenIds()
    assert seen.add("5")
    assert seen.add("8", count=3)
    assert seen.holes == 0
    assert not seen.add("7")


def test_names_are_remembered_too():
    """Not every venue counts."""
    seen = SeenIds()
    assert [seen.add(name) for name in ("a", "b", "a", "9" * 30, "9" * 30)] == [
        True,
        True,
        False,
        True,
        False,
    ]
    assert seen.holes == 0
