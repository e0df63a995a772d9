"""When to come back, and after how long."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega_ai.client.retry import (
    MAX_RETRY_AFTER,
    Backoff,
    may_reconnect,
    may_retry_status,
    parse_retry_after,
)
from omega_ai.data_feed.websocket import close_codes

NOW = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z


def test_client_and_server_agree_on_every_close_code() -> None:
    """The table is kept on both sides of the wire; they must not drift apart."""
    codes = range(1000, 5000)
    assert [may_reconnect(code) for code in codes] == [close_codes.may_reconnect(code) for code in codes]


@pytest.mark.parametrize("code", [1000, 1001, 1005, 1006, 1011, 1012, 1013, 4000, 4008, 4012, 4499])
def test_it_comes_back_after(code: int) -> None:
    """The server left, restarts or is full; or the network failed."""
    assert may_reconnect(code)


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1008, 1009, 1010, 1015, 4500, 4503, 4999])
def test_it_stays_away_after(code: int) -> None:
    """It would send the same again."""
    assert not may_reconnect(code)


@pytest.mark.parametrize(
    ("status", "expected"), [(401, False), (403, False), (404, False), (426, False), (429, True), (503, True)]
)
def test_statuses_before_the_upgrade(status: int, expected: bool) -> None:
    """A refusal on purpose is final, an overload is not."""
    assert may_retry_status(status) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("0", 0.0),
        (" 7 ", 7.0),
        ("99999999999999999999", MAX_RETRY_AFTER),
        ("Thu, 01 Jan 2026 00:00:30 GMT", 30.0),
        ("Thu, 01 Jan 2026 00:00:30 -0000", 30.0),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER),
    ],
)
def test_retry_after(value: str | None, expected: float | None) -> None:
    """Seconds or a date, within bounds; nonsense is as if it were not there."""
    assert parse_retry_after(value, NOW) == expected


@given(st.text(max_size=60))
def test_retry_after_never_raises(value: str) -> None:
    """It comes from the network."""
    wait = parse_retry_after(value, NOW)
    assert wait is None or 0 <= wait <= MAX_RETRY_AFTER


def test_the_bound_of_the_delay_doubles_up_to_the_longest() -> None:
    """And the delay is anywhere below it: full jitter."""
    backoff = Backoff(_Ceiling(), 0.5, 30.0)
    assert [backoff.next_delay() for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    backoff.reset()
    assert backoff.next_delay() == 0.5


def test_delays_are_spread_over_the_whole_range() -> None:
    """Clients that lost one server together do not return together."""
    rng = random.Random(1)
    delays = sorted(Backoff(rng, 1.0, 30.0).next_delay() for _ in range(1000))
    assert delays[0] < 0.02
    assert delays[-1] > 0.98
    assert 0.45 < delays[500] < 0.55


def test_a_server_that_asks_for_time_gets_it_and_the_spread_comes_after() -> None:
    """Never before ``retry_after``."""
    backoff = Backoff(random.Random(2), 0.5, 30.0)
    delays = [backoff.next_delay(10.0) for _ in range(100)]
    assert min(delays) >= 10
    assert len(set(delays)) == 100


def test_it_waits_for_ever_without_overflowing() -> None:
    """A server that is away for a year."""
    backoff = Backoff(random.Random(3), 0.5, 30.0)
    assert max(backoff.next_delay() for _ in range(5000)) <= 30


@pytest.mark.parametrize(("first", "longest"), [(0, 1), (-1, 1), (2, 1)])
def test_bounds_that_make_no_sense_are_refused(first: float, longest: float) -> None:
    """By name."""
    with pytest.raises(ValueError, match="0 < first <= longest"):
        Backoff(random.Random(), first, longest)


class _Ceiling(random.Random):
    """Always the largest of the range."""

    def uniform(self, a: float, b: float) -> float:
        return b
