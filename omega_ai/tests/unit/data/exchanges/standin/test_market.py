"""What happens at a stand-in exchange."""

from __future__ import annotations

from omega_ai.data_feed.exchanges.detect import VENUES
from omega_ai.data_feed.exchanges.standin.market import GeneratedMarket, RecordedMarket
from omega_ai.data_feed.market import Quote, Trade
from omega_ai.tests.unit.data.sources.captures import capture

START = 1_700_000_000_000_000_000
SECOND = 1_000_000_000


def test_the_same_seed_is_the_same_market_however_often_one_looks():
    """In one look or in many."""
    once = GeneratedMarket(VENUES["kraken"], 1, START)
    often = GeneratedMarket(VENUES["kraken"], 1, START)
    for step in range(100):
        often.until(START + step * SECOND // 10)
    often.until(START + 10 * SECOND)
    once.until(START + 10 * SECOND)
    assert [trade.trade_id for trade in once.trades] == [trade.trade_id for trade in often.trades]
    assert 120 < len(once.trades) < 300


def test_ids_are_as_the_venue_counts():
    """One by one, or with holes."""
    for name, consecutive in (("binance", True), ("bitstamp", False)):
        market = GeneratedMarket(VENUES[name], 1, START)
        market.until(START + 10 * SECOND)
        numbers = [int(trade.trade_id) for trade in market.trades]
        assert numbers == sorted(set(numbers))
        assert (numbers[-1] - numbers[0] == len(numbers) - 1) is consecutive


def test_a_shifted_clock_shows_in_the_times_only():
    """An hour ahead."""
    market = GeneratedMarket(VENUES["okx"], 1, START)
    market.shift_ns = 3600 * SECOND
    events = market.until(START + SECOND)
    assert events
    assert all(
        event.timestamp_ns is not None and event.timestamp_ns - event.received_ns > 3590 * SECOND
        for event in events
    )


def test_a_recording_is_played_from_the_first_look_on():
    """Exactly its trades of BTC, whatever market it calls them, in the venue's own market."""
    market = RecordedMarket(
        VENUES["kraken"], capture("kraken_rest_trades_xbtusdt_20251110.json.gz"), speed=3600.0
    )
    events = market.until(START)
    assert len(events) == 1
    events += market.until(START + 8 * SECOND)
    assert market.finished
    assert sum(isinstance(event, Trade) for event in events) == 1000
    assert {event.symbol for event in events} == {"BTC-USD"}
    assert not any(isinstance(event, Quote) for event in events)
    assert min(trade.timestamp_ns for trade in market.trades) >= START
