"""Finding the fields of an unknown feed."""

from __future__ import annotations

import pytest

from omega_ai.testkit.probe import numbering, time_field

NOW = 1_767_225_600 * 10**9


@pytest.mark.parametrize(
    ("messages", "found"),
    [
        ([{"n": 5}, {"n": 6}, {"n": 7}], ("n", 1)),
        ([{"a": {"seq": 5}}, {"a": {"seq": 6}}, {"a": {"seq": 7}}], ("a.seq", 1)),
        ([{"n": 5}, {"n": 9}, {"n": 12}], ("n", 0)),
        ([{"n": 5}, {"n": 5}, {"n": 6}], (None, 1)),
        ([{"n": 5}, {"n": 6}], (None, 1)),
        ([{"ms": 1_767_225_600_000}, {"ms": 1_767_225_600_100}, {"ms": 1_767_225_600_300}], (None, 1)),
        ([{"n": True}, {"n": True}, {"n": True}], (None, 1)),
        ([{"x": 1}, {"y": 2}, {"x": 3}], (None, 1)),
    ],
)
def test_numbering_is_a_field_that_grows_with_each_message(messages: list, found: tuple) -> None:
    """By one if there is such a field; a time that grows is none."""
    assert numbering(messages) == found


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("2026-01-01T00:00:01.5Z", "iso8601"),
        (1_767_225_601, "s"),
        (1_767_225_601_000, "ms"),
        ("1767225601000", "ms"),
        (1_767_225_601_000_000, "us"),
        (NOW, "ns"),
    ],
)
def test_times_are_known_by_being_near_now(value: object, form: str) -> None:
    """However they are written."""
    assert time_field([{"price": 61_000, "t": value}] * 3, NOW) == ("t", form)


def test_without_a_time_there_is_none() -> None:
    """A price is not taken for one."""
    assert time_field([{"price": 61_000.5}], NOW)[0] is None
