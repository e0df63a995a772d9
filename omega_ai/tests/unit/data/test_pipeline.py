"""From events to published messages, on a manual clock."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from omega_ai.core.clock import ManualClock
from omega_ai.core.scheduler import ManualScheduler
from omega_ai.data_feed.broker.base import PublishBufferFull
from omega_ai.data_feed.market import Quote, SourceState, SourceStatus, Trade
from omega_ai.data_feed.pipeline import Pipeline
from omega_ai.data_feed.price_index import PriceIndex, PublishPolicy


class Line:
    """A pipeline whose output is kept."""

    def __init__(self, *, min_interval_ms: int = 0, simulated: bool = False) -> None:
        self.clock = ManualClock()
        self.scheduler = ManualScheduler(self.clock)
        self.out: list[dict[str, Any]] = []
        self.full = False
        self.pipeline = Pipeline(
            self._publish,
            PriceIndex(simulated=simulated),
            PublishPolicy(min_interval_ms=min_interval_ms),
            clock=self.clock,
            scheduler=self.scheduler,
        )

    def _publish(self, channel: str, body: bytes) -> None:
        if self.full:
            raise PublishBufferFull("full")
        message = json.loads(body)
        assert message["type"] == channel
        self.out.append(message)

    def take(self, kind: str) -> list[dict[str, Any]]:
        """What was published on ``kind`` since the last look."""
        found = [message for message in self.out if message["type"] == kind]
        self.out = [message for message in self.out if message["type"] != kind]
        return found

    def quote(self, venue: str, bid: int, ask: int) -> None:
        """A venue's quote, now."""
        now = self.clock.time_ns()
        self.pipeline.emit(Quote(venue, "BTC-USD", Decimal(bid), None, Decimal(ask), None, now, now))

    def trade(self, venue: str, price: int, number: int = 1) -> None:
        """A venue's trade, now."""
        now = self.clock.time_ns()
        event = Trade(venue, "BTC-USD", str(number), Decimal(price), Decimal(1), "buy", now, now)
        self.pipeline.emit(event)

    def status(self, venue: str, state: SourceState, messages: int = 0) -> None:
        """A venue's state."""
        self.pipeline.report(SourceStatus(venue, state, 0, messages, 0, 0))


def test_each_event_is_published_and_the_price_follows_at_once() -> None:
    """No timer lies between a quote and the price that it changes."""
    line = Line()
    line.quote("a", 60_000, 60_002)
    assert [m["bid"] for m in line.take("quotes")] == [60_000]
    (price,) = line.take("btc_price")
    assert (price["price"], price["state"]) == (60_001.0, "degraded")


def test_prices_are_spaced_by_the_interval_and_the_last_one_is_never_lost() -> None:
    """At most every N ms; what changed meanwhile goes out when the interval ends."""
    line = Line(min_interval_ms=100)
    line.pipeline.start()
    for step in range(10):
        line.quote("a", 60_000 + step, 60_002 + step)
        line.scheduler.advance(0.009)
    assert [m["price"] for m in line.take("btc_price")] == [60_001.0]
    line.scheduler.advance(0.02)
    assert [m["price"] for m in line.take("btc_price")] == [60_010.0]


def test_without_events_the_price_is_repeated_each_second_and_goes_stale() -> None:
    """Never a price that looks alive when it is not."""
    line = Line()
    line.pipeline.start()
    line.quote("a", 60_000, 60_002)
    line.take("btc_price")
    line.scheduler.advance(15)
    states = [m["state"] for m in line.take("btc_price")]
    assert len(states) >= 14
    assert states[0] == "degraded"
    assert states[-1] == "stale"


def test_a_venue_that_disconnects_changes_the_price_at_once() -> None:
    """The index hears of it, and so does everybody."""
    line = Line()
    for venue, bid in (("a", 60_000), ("b", 60_010)):
        line.status(venue, "live")
        line.quote(venue, bid, bid + 2)
    line.take("btc_price")
    line.status("b", "reconnecting")
    (price,) = line.take("btc_price")
    assert price["sources"]["b"]["reason"] == "disconnected"
    assert price["price"] == 60_001.0


def test_a_status_is_published_upon_change_and_every_five_seconds() -> None:
    """Not with every message that a venue counts."""
    line = Line()
    for step in range(120):
        line.status("a", "live", messages=step)
        line.clock.advance(0.1)
    assert len(line.take("status")) == 3
    line.status("a", "stale")
    assert [m["state"] for m in line.take("status")] == ["stale"]
    assert [s.state for s in line.pipeline.statuses()] == ["stale"]


def test_trades_become_candles() -> None:
    """A second's candle is final after its grace."""
    line = Line()
    line.pipeline.start()
    line.trade("a", 100)
    line.trade("a", 105, 2)
    line.scheduler.advance(4)
    finals = [m for m in line.take("candles") if m["interval"] == "1s" and m["final"]]
    assert [(c["open"], c["high"], c["trades"]) for c in finals] == [(100, 105, 2)]


def test_a_simulated_source_says_so_in_every_price() -> None:
    """Whatever else is true of it."""
    line = Line(simulated=True)
    line.quote("sim-1", 60_000, 60_002)
    assert [m["state"] for m in line.take("btc_price")] == ["simulated"]


def test_a_broker_that_takes_nothing_does_not_stop_the_pipeline() -> None:
    """It goes on as soon as there is room (what was refused is counted by ``Publishing``)."""
    line = Line()
    line.full = True
    line.quote("a", 60_000, 60_002)
    assert line.out == []
    line.full = False
    line.quote("a", 60_010, 60_012)
    assert line.take("quotes")


def test_a_price_puts_off_the_next_look_and_costs_no_timer_of_its_own() -> None:
    """A thousand prices a second leave one timer, and a second after the last one the price is repeated."""
    line = Line()
    line.pipeline.start()
    for number in range(500):
        line.quote("a", 61_000 + number % 7, 61_001 + number % 7)
        line.scheduler.advance(0.001)
    assert len([entry for _, _, entry in line.scheduler._heap if entry.callback is not None]) <= 2
    line.take("btc_price")
    line.scheduler.advance(0.9)
    assert line.take("btc_price") == []
    line.scheduler.advance(0.2)
    assert len(line.take("btc_price")) == 1


def test_after_the_stop_no_timer_runs() -> None:
    """Nothing is published by a feed that has ended."""
    line = Line()
    line.pipeline.start()
    line.quote("a", 60_000, 60_002)
    line.pipeline.stop()
    line.out.clear()
    line.scheduler.advance(10)
    assert line.out == []


@pytest.mark.parametrize("state", ["live", "connecting"])
def test_a_status_alone_makes_no_price(state: SourceState) -> None:
    """Before the first quote there is nothing to say."""
    line = Line()
    line.status("a", state)
    assert line.take("btc_price") == []
