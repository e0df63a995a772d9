"""How soon to try again, and how often at all."""

from __future__ import annotations

import random

import pytest

from omega_ai.data_feed.exchanges.backoff import Backoff, ConnectLimit


def test_the_bound_doubles_from_half_a_second_to_thirty():
    """Full jitter: each delay lies anywhere from zero to the bound."""
    for failures, bound in enumerate([0.5, 1, 2, 4, 8, 16, 30, 30, 30]):
        delays = []
        for seed in range(300):
            backoff = Backoff(random.Random(seed))
            for _ in range(failures):
                backoff.next()
            delays.append(backoff.next())
        assert 0 <= min(delays) < 0.05 * bound
        assert 0.95 * bound < max(delays) <= bound


def test_data_resets_it_and_a_thousand_failures_do_not_overflow_it():
    """It goes on for ever."""
    backoff = Backoff(random.Random(1))
    assert all(backoff.next() <= 30 for _ in range(1000))
    backoff.reset()
    assert backoff.next() <= 0.5


def test_attempts_are_limited_within_any_window():
    """Three in a second: the fourth waits until the first is a second old."""
    limit = ConnectLimit(3, 1.0)
    for now in (10.0, 10.1, 10.2):
        assert limit.delay(now) == 0
        limit.attempt(now)
    assert limit.delay(10.5) == pytest.approx(0.5)
    assert limit.delay(11.0) == 0
