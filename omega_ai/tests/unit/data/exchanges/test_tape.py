"""One tape of a venue's trades, whoever brought them."""

from __future__ import annotations

from decimal import Decimal

from omega_ai.data_feed.exchanges.detect import VENUES
from omega_ai.data_feed.exchanges.events import AggregateTrade, TradeSnapshot
from omega_ai.data_feed.exchanges.tape import Tape
from omega_ai.data_feed.market import Trade, Volume


def trade(number: int, symbol: str = "BTC-USD") -> Trade:
    return Trade("kraken", symbol, str(number), Decimal(1), Decimal(1), "buy", number, number)


def test_snapshots_and_news_make_one_sequence():
    """What a snapshot repeats is dropped, what it has more is given out."""
    tape = Tape(VENUES["kraken"])
    out = [
        *tape.take(trade(1)),
        *tape.take(trade(2)),
        *tape.take(TradeSnapshot((trade(1), trade(2), trade(3)))),
    ]
    assert [one.trade_id for one in out] == ["1", "2", "3"]
    assert tape.doubles == 2


def test_a_gap_holds_back_the_market_that_can_be_asked_for():
    """And no other."""
    tape = Tape(VENUES["kraken"])
    other = "USDT-USD"
    assert len(list(tape.take(trade(1)))) == len(list(tape.take(trade(1, other)))) == 1
    assert list(tape.take(trade(5))) == []
    assert len(list(tape.take(trade(5, other)))) == 1
    assert tape.gap is not None
    assert [one.trade_id for one in tape.fill([trade(number) for number in (2, 3, 4)])] == [
        "2",
        "3",
        "4",
        "5",
    ]
    assert (tape.gaps, tape.lost) == (2, 0)


def test_an_aggregate_is_one_trade_of_many_ids():
    """OKX joins the matches of one order."""
    tape = Tape(VENUES["okx"])
    tape.take(trade(1, "BTC-USDT"))
    (out,) = tape.take(AggregateTrade(trade(4, "BTC-USDT"), 3))
    assert out == trade(4, "BTC-USDT")
    assert tape.gap is None


def test_everything_else_passes():
    """It has no order to keep."""
    volume = Volume("kraken", "BTC-USD", Decimal(1), None, 1)
    assert list(Tape(VENUES["kraken"]).take(volume)) == [volume]
