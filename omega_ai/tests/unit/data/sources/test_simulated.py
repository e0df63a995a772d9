"""The simulated market: repeatable, plausible, and never to be taken for a real one."""

from __future__ import annotations

import asyncio

import pytest

from omega_ai.core.clock import ManualClock
from omega_ai.data_feed.market import Quote, Trade
from omega_ai.data_feed.sources.base import SourceError
from omega_ai.data_feed.sources.simulated import SimulatedMarket, SimulatedSource


def test_the_same_seed_gives_the_same_market():
    """Another seed gives another."""

    def walk(seed: int):
        market = SimulatedMarket(seed, 3, 10.0)
        return [event for step in range(200) for event in market.step(step)]

    assert walk(1) == walk(1)
    assert walk(1) != walk(2)


def test_trades_happen_at_the_quote_and_count_up_per_venue():
    """Buys at the ask, sells at the bid, books uncrossed, ids without holes."""
    market = SimulatedMarket(7, 4, 10.0)
    ids: dict[str, int] = {}
    for step in range(2000):
        quote, trade, _ = market.step(step)
        assert isinstance(quote, Quote)
        assert isinstance(trade, Trade)
        assert 0 < quote.bid < quote.ask
        assert trade.price == (quote.ask if trade.side == "buy" else quote.bid)
        assert trade.size > 0
        assert int(trade.trade_id) == ids.get(trade.venue, 0) + 1
        ids[trade.venue] = int(trade.trade_id)
    assert set(ids) == {"sim-1", "sim-2", "sim-3", "sim-4"}


async def test_it_keeps_the_rate_and_says_stopped_when_cancelled():
    """Ten trades a second for a minute, on a clock that only sleeping moves."""
    clock = ManualClock()
    events, statuses = [], []

    async def sleep(seconds: float) -> None:
        clock.advance(seconds)
        if clock.monotonic() >= 1060:
            raise asyncio.CancelledError

    source = SimulatedSource(seed=1, rate=10, venues=2, clock=clock, sleep=sleep)
    with pytest.raises(asyncio.CancelledError):
        await source.run(events.append, statuses.append)
    assert source.simulated
    assert sum(isinstance(event, Trade) for event in events) == pytest.approx(600, abs=2)
    assert [status.state for status in statuses[-2:]] == ["stopped", "stopped"]
    assert all(status.detail == "simulated" for status in statuses)


@pytest.mark.parametrize("settings", [{"rate": 0}, {"rate": 1e9}, {"venues": 0}, {"venues": 101}])
def test_settings_have_bounds(settings):
    """Named in the error."""
    with pytest.raises(SourceError, match="from"):
        SimulatedSource(**settings)
