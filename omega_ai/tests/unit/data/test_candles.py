"""Candles: the sums of the trades, late ones said."""

from __future__ import annotations

from decimal import Decimal

import pytest

from omega_ai.data_feed.candles import Candles
from omega_ai.data_feed.market import Candle, Trade

SECOND = 1_000_000_000
MINUTE_0 = 1_700_000_040 * SECOND  # a multiple of a minute


def trade(price: int, at_s: float, size: int = 1, symbol: str = "BTC-USD") -> Trade:
    at_ns = MINUTE_0 + round(at_s * SECOND)
    return Trade("v", symbol, "1", Decimal(price), Decimal(size), "buy", at_ns, at_ns)


def at(seconds: float) -> int:
    return MINUTE_0 + round(seconds * SECOND)


def feed(candles: Candles, *trades: Trade) -> None:
    for one in trades:
        assert candles.trade(one, one.timestamp_ns) == []


def test_a_second_is_summed_and_published_once_final():
    """Open, high, low, close in the order of the venues' times, not of arrival."""
    candles = Candles((1,))
    feed(candles, trade(10, 0.1, 2), trade(14, 0.9), trade(7, 0.5), trade(99, 1.0))
    assert candles.tick(at(2.9)) == []
    assert candles.tick(at(3.0)) == [
        Candle(1, "BTC-USD", MINUTE_0, *map(Decimal, (10, 14, 7, 14, 4)), trades=3, final=True)
    ]
    assert [candle.start_ns for candle in candles.tick(at(4.0))] == [at(1)]
    assert candles.tick(at(60)) == []


def test_a_minute_is_published_as_it_grows_and_when_it_is_final():
    """Only when it changed."""
    candles = Candles((60,))
    feed(candles, trade(10, 1))
    assert [(candle.trades, candle.final) for candle in candles.tick(at(2))] == [(1, False)]
    assert candles.tick(at(3)) == []
    feed(candles, trade(11, 30))
    assert [(candle.trades, candle.final) for candle in candles.tick(at(31))] == [(2, False)]
    assert [(candle.trades, candle.final) for candle in candles.tick(at(62))] == [(2, True)]


def test_a_late_trade_changes_the_final_candle_and_says_so():
    """It is published again at once, with the count of late ones."""
    candles = Candles((1,))
    feed(candles, trade(10, 0.5))
    candles.tick(at(3))
    (revised,) = candles.trade(trade(12, 0.2), at(10))
    assert revised == Candle(
        1, "BTC-USD", MINUTE_0, *map(Decimal, (12, 12, 10, 10, 2)), trades=2, final=True, late=1
    )
    assert candles.late == 1
    assert candles.tick(at(11)) == []


def test_trades_of_before_the_start_make_their_candles_at_the_next_tick():
    """A snapshot of recent trades: nothing was published before, so nothing is late."""
    candles = Candles((1,))
    assert candles.trade(trade(10, 0.5), at(100)) == []
    (candle,) = candles.tick(at(100.1))
    assert (candle.final, candle.late) == (True, 0)


@pytest.mark.parametrize("now_s", [-61.0, 601.0])
def test_what_is_too_old_or_too_far_ahead_is_refused_and_counted(now_s):
    """A venue's clock may be off; by minutes it is wrong, and candles of the year 2099 would pile up."""
    candles = Candles()
    assert candles.trade(trade(10, 0), at(now_s)) == []
    assert candles.refused == 1
    assert candles.tick(at(2000)) == []


def test_symbols_are_kept_apart_and_bounded():
    """64 of them."""
    candles = Candles((1,))
    feed(candles, *(trade(number + 1, 0, symbol=f"S{number}") for number in range(65)))
    made = candles.tick(at(3))
    assert len({candle.symbol for candle in made}) == 64
    assert candles.refused == 1


def test_old_candles_are_forgotten():
    """Memory does not grow with time."""
    candles = Candles((1,), keep_s=10)
    feed(candles, trade(10, 0))
    candles.tick(at(3))
    candles.tick(at(20))
    assert not candles._open


def test_intervals_are_whole_seconds():
    """None at all is a mistake as well."""
    for intervals in ((), (0,)):
        with pytest.raises(ValueError, match="whole seconds"):
            Candles(intervals)
