"""Lengths of time, written and read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega_ai.cli.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5s", 1.5), ("250ms", 0.25), ("15m", 900), ("12 h", 43_200), (" 30D ", 2_592_000)],
)
def test_units(text: str, seconds: float) -> None:
    """Seconds unless a unit is given; case and white space do not matter."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "-1s", "1y", "1h30m", "1e9", "٣s", "nan", "9" * 20])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    """The sentence says how to write it."""
    with pytest.raises(ValueError, match="write 90s, 15m, 12h or 30d"):
        parse_duration(text)


@given(st.text(max_size=60))
def test_any_text_is_a_length_or_refused(text: str) -> None:
    """No other exception, and never a negative or infinite length."""
    try:
        seconds = parse_duration(text)
    except ValueError:
        return
    assert 0 <= seconds < float("inf")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.35, "350 ms"),
        (1, "1 s"),
        (65, "1 min 5 s"),
        (3600, "1 h"),
        (7260, "2 h 1 min"),
        (183_600, "2 d 3 h"),
    ],
)
def test_two_largest_units_are_shown(seconds: float, text: str) -> None:
    """Enough to understand, no more."""
    assert format_duration(seconds) == text
