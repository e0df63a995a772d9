"""The event loop's lag, on a clock that the test moves."""

from __future__ import annotations

import pytest

from omega_ai.core.clock import ManualClock
from omega_ai.core.scheduler import ManualScheduler
from omega_ai.data_feed.observability.loop_lag import LoopLag


def make() -> tuple[ManualClock, ManualScheduler, LoopLag]:
    clock = ManualClock()
    scheduler = ManualScheduler(clock)
    return clock, scheduler, LoopLag(clock, scheduler, every=0.1)


def test_a_loop_that_keeps_up_has_no_lag() -> None:
    """Ten samples a second, all in the first bucket."""
    _, scheduler, lag = make()
    lag.start()
    scheduler.advance(1.05)
    reading = lag.read()
    assert reading.count == 10
    assert reading.counts[0] == 10


def test_a_pause_counts_as_all_the_samples_that_it_swallowed() -> None:
    """One second of standing still in ten is a tenth of the time, not one sample of a hundred."""
    clock, scheduler, lag = make()
    lag.start()
    scheduler.advance(9.0)
    clock.advance(1.0)  # the loop does something else
    scheduler.run()
    reading = lag.read()
    assert reading.count == pytest.approx(99, abs=1)
    p95 = reading.quantile(0.95)
    assert p95 is not None
    assert p95 >= 0.4


def test_stop_ends_it_and_start_begins_again() -> None:
    """Both may be called twice."""
    _, scheduler, lag = make()
    lag.start()
    lag.start()
    scheduler.advance(0.55)
    lag.stop()
    lag.stop()
    scheduler.advance(5.0)
    assert lag.read().count == 5
    lag.start()
    scheduler.advance(0.55)
    assert lag.read().count == 10
