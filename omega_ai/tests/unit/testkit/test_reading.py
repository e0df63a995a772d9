"""What a message says of itself, by the profile."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega_ai.core.websocket.frames import BINARY, CLOSE, TEXT
from omega_ai.testkit.history import Happening, Received, excerpt
from omega_ai.testkit.reading import read_number, read_time, understand
from omega_ai.tests.unit.testkit.story import PROFILE, RUN, UTC, Story

SECOND = 10**9


@pytest.mark.parametrize(
    ("value", "form", "expected"),
    [
        ("2026-01-01T00:00:00Z", "iso8601", UTC),
        ("2026-01-01T01:00:00+01:00", "iso8601", UTC),
        ("2026-01-01T00:00:00", "iso8601", None),
        (5, "iso8601", None),
        (1.5, "s", 1_500_000_000),
        ("1500", "ms", 1_500_000_000),
        (7, "ns", 7),
        (True, "s", None),
        (float("inf"), "s", None),
        ("soon", "ms", None),
        (None, "us", None),
    ],
)
def test_times_as_they_are_written(value: object, form, expected: int | None) -> None:
    """In UTC; a time without a zone cannot be placed, so it is none."""
    assert read_time(value, form) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, 5.0),
        ("61800.01", 61800.01),
        ("x", None),
        (True, None),
        (None, None),
        ("nan", None),
        ("9" * 70, None),
    ],
)
def test_numbers_as_they_are_written(value: object, expected: float | None) -> None:
    """Prices are often texts."""
    assert read_number(value) == expected


@given(st.binary(max_size=300))
def test_no_message_whatever_breaks_the_reading(data: bytes) -> None:
    """What is no JSON is damaged; what is JSON of another kind is unknown."""
    for opcode in (TEXT, BINARY):
        seen = understand("a", 0, Received(0, 0, 0, opcode, data), RUN, PROFILE)
        assert seen is None or seen.raw.data == data
        assert len(excerpt(opcode, data)) < 1000


def test_a_number_may_be_a_text() -> None:
    """As with venues that fear for their digits."""
    seen = understand("a", 0, Received(0, 0, 0, TEXT, b'{"type":"news","seq":"17"}'), RUN, PROFILE)
    assert seen is not None
    assert seen.position is not None
    assert seen.position.sequence == 17


def test_lives_begin_and_end_as_the_events_say() -> None:
    """The first sign of the end counts, and whether we gave it."""
    story = Story("a")
    story.event("a", 100, Happening.CLOSE_SENT, by_us=True)
    story.ends("a", 120)
    story.joins("a", 200, 1, text="recovered")
    first, second = story.reading().lives["a"]
    assert (first.closing_ns, first.end_ns, first.by_us) == (100_000_000, 120_000_000, True)
    assert (second.listening_ns, second.closing_ns, second.by_us) == (200_000_000, None, False)
    assert second.recovered


def test_excerpts_are_readable_and_short() -> None:
    """Text as it is, a close with its code, bytes in hexadecimal, nothing that steers a terminal."""
    assert excerpt(TEXT, "₿".encode()) == "₿"
    assert excerpt(CLOSE, (1001).to_bytes(2, "big") + b"bye") == "1001 bye"
    assert excerpt(BINARY, b"\x00\xff") == "00 ff"
    assert "\x1b" not in excerpt(TEXT, b"\x1b[31m")
    assert excerpt(TEXT, b"x" * 10_000).endswith("…")


def test_a_long_wire_log_keeps_its_beginning_and_its_end() -> None:
    """And says how much it leaves out."""
    story = Story("a")
    for number in range(500):
        story.sees("a", number, story.news())
    lines = story.history.wire(limit=20)
    assert len(lines) == 21
    assert "482 lines are left out" in lines[10].data
