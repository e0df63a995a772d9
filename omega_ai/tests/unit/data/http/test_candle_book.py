"""A day of candles at hand."""

from __future__ import annotations

import asyncio

import pytest
import structlog
from structlog.testing import capture_logs

from omega_ai.core.timestamps import format_utc
from omega_ai.data_feed.broker.base import BrokerUnreachable, History, Position
from omega_ai.data_feed.http import candle_book
from omega_ai.data_feed.http.candle_book import FIRST_READ, MINUTES, SYMBOLS_AT_MOST, CandleBook
from omega_ai.tests.unit.data.http.fake_view import FakeView

DAY_NS = 1_767_225_600_000_000_000


def candle(minute: int, close: int = 1, symbol: str = "BTC-USD", interval: str = "1m") -> bytes:
    start = format_utc(DAY_NS + minute * 60_000_000_000)
    return (
        b'{"type":"candles","symbol":"%b","interval":"%b","start":"%b","open":1,"high":1,"low":1,'
        b'"close":%d,"volume":1,"trades":1,"final":true,"late":0}'
        % (symbol.encode(), interval.encode(), start.encode(), close)
    )


@pytest.fixture
def book(view: FakeView) -> CandleBook:
    return CandleBook(view.history)


def test_the_newest_of_a_minute_counts(book: CandleBook) -> None:
    """An open candle is replaced by its final form, and that by one with late trades."""
    for close in (1, 2, 3):
        book.add(candle(0, close))
    assert book.candles("BTC-USD") == [candle(0, 3)]


def test_they_come_oldest_first_whatever_the_order_of_arrival(book: CandleBook) -> None:
    """A late one falls into its place; ``minutes`` counts from the newest."""
    for minute in (5, 3, 4, 9):
        book.add(candle(minute))
    assert book.candles("BTC-USD") == [candle(minute) for minute in (3, 4, 5, 9)]
    assert book.candles("BTC-USD", 2) == [candle(5), candle(9)]


def test_symbols_are_apart_and_seconds_are_left_out(book: CandleBook) -> None:
    """Dollars and tethers never mix."""
    book.add(candle(0))
    book.add(candle(0, symbol="BTC-USDT", close=7))
    book.add(candle(1, interval="1s"))
    assert book.candles("BTC-USD") == [candle(0)]
    assert book.candles("BTC-USDT") == [candle(0, 7, "BTC-USDT")]
    assert book.candles("ETH-USD") == []


def test_a_day_is_kept_and_symbols_are_bounded(book: CandleBook) -> None:
    """The oldest minute goes; a symbol too many is not taken."""
    for minute in range(MINUTES + 10):
        book.add(candle(minute))
    assert len(book.candles("BTC-USD")) == MINUTES
    assert book.candles("BTC-USD")[0] == candle(10)
    for number in range(SYMBOLS_AT_MOST + 5):
        book.add(candle(0, symbol=f"A{number}-USD"))
    assert book.candles(f"A{SYMBOLS_AT_MOST - 2}-USD") != []
    assert book.candles(f"A{SYMBOLS_AT_MOST}-USD") == []


async def test_it_reads_the_history_once_and_then_only_what_is_new(book: CandleBook, view: FakeView) -> None:
    """The first read is bounded; later ones begin where the last ended."""
    view.publish("candles", candle(0))
    await book.catch_up()
    view.publish("candles", candle(1))
    await book.catch_up()
    assert view.asked == [("candles", None, FIRST_READ), ("candles", Position("k3zq7m2p", 1), None)]
    assert len(book.candles("BTC-USD")) == 2


async def test_after_a_break_in_the_history_it_reads_anew(view: FakeView) -> None:
    """What it has is kept; what the new history has is added."""
    book = CandleBook(view.history)
    view.publish("candles", candle(0))
    await book.catch_up()
    view.publish("candles", candle(1))
    view.whole = False
    await book.catch_up()
    assert [asked[1] for asked in view.asked] == [None, Position("k3zq7m2p", 1), None]
    assert len(book.candles("BTC-USD")) == 2


async def test_a_broker_that_is_away_is_tried_again(view: FakeView) -> None:
    """The failure reaches the caller; nothing is forgotten."""
    book = CandleBook(view.history)
    view.publish("candles", candle(0))
    view.broker_error = BrokerUnreachable("away")
    with pytest.raises(BrokerUnreachable):
        await book.catch_up()
    view.broker_error = None
    await book.catch_up()
    assert len(book.candles("BTC-USD")) == 1


async def test_an_empty_history_is_no_error() -> None:
    """A new feed."""

    async def empty(channel: str, since: Position | None, limit: int | None) -> History:
        return History(Position("e", 0), [], whole=True)

    book = CandleBook(empty)
    await book.catch_up()
    await book.catch_up()
    assert book.candles("BTC-USD") == []


async def test_running_it_survives_whatever_the_broker_does(
    view: FakeView, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Away, then broken in a way nobody thought of, then back."""
    monkeypatch.setattr(candle_book, "EVERY", 0.0)
    failures: list[Exception] = [BrokerUnreachable("away"), RuntimeError("surprise")]
    there = asyncio.Event()

    async def read(channel: str, since: Position | None, limit: int | None) -> History:
        if failures:
            raise failures.pop(0)
        there.set()
        return await view.history(channel, since, limit)

    view.publish("candles", candle(0))
    book = CandleBook(read)
    with capture_logs() as lines:
        task = asyncio.create_task(book.run())
        async with asyncio.timeout(5):
            await there.wait()
            while not book.candles("BTC-USD"):
                await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    structlog.reset_defaults()
    assert [line["event"] for line in lines] == ["candles_not_read"]
