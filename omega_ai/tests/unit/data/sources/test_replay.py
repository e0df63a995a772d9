"""Replay: exactly the trades of the file, at the time asked for."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest

from omega_ai.core.clock import ManualClock
from omega_ai.data_feed.market import MarketEvent, Quote, SourceStatus, Trade
from omega_ai.data_feed.sources.base import SourceError
from omega_ai.data_feed.sources.replay import ReplaySource, Timeline
from omega_ai.tests.unit.data.sources.captures import capture

SECOND = 1_000_000_000
START = 1_800_000_000 * SECOND
RECORDED = 1_700_000_000 * SECOND


class Run:
    """Plays a file on a clock that only sleeping moves."""

    def __init__(self, path: Path, speed: float = math.inf) -> None:
        self.clock = ManualClock(START)
        self.source = ReplaySource(path, speed=speed, clock=self.clock, sleep=self.sleep)
        self.events: list[MarketEvent] = []
        self.at: list[int] = []
        self.statuses: list[SourceStatus] = []
        self.drained = 0

    async def sleep(self, seconds: float) -> None:
        self.clock.advance(seconds)

    async def drain(self) -> None:
        self.drained += 1

    def emit(self, event) -> None:
        self.events.append(event)
        self.at.append(self.clock.time_ns())

    async def __call__(self) -> Run:
        await self.source.run(self.emit, self.statuses.append, self.drain)
        return self

    def trades(self, symbol: str) -> list[Trade]:
        return [event for event in self.events if isinstance(event, Trade) and event.symbol == symbol]

    @property
    def count(self):
        (count,) = self.source.player.counts.values()
        return count


def binance_trade(number: int, received_ns: int) -> bytes:
    return (
        b'%d {"stream":"btcusdt@trade",'
        b'"data":{"e":"trade","s":"BTCUSDT","t":%d,"p":"1","q":"1","T":%d,"m":true}}\n'
        % (received_ns, number, received_ns // 1_000_000 - 5)
    )


def file_of(directory: Path, *lines: bytes) -> Path:
    path = directory / "recording"
    path.write_bytes(b"".join(lines))
    return path


def test_time_moves_to_now_and_is_divided_by_the_speed():
    """Distances between messages are kept, in proportion."""
    line = Timeline(START, 10)
    assert line.place(RECORDED) == START
    assert line.place(RECORDED + 5 * SECOND) == START + SECOND // 2


def test_a_recorded_clock_that_goes_back_does_not_take_the_replay_back():
    """It goes on from where it was."""
    line = Timeline(START, 1)
    line.place(RECORDED)
    line.place(RECORDED + SECOND)
    assert line.place(RECORDED - 999 * SECOND) == START + SECOND
    assert line.place(RECORDED - 998 * SECOND) == START + 2 * SECOND


@pytest.mark.parametrize("speed", [1, 4])
async def test_messages_are_played_when_they_are_due(tmp_path, speed):
    """And carry the times that they would have had, had it happened now."""
    path = file_of(tmp_path, binance_trade(1, RECORDED), binance_trade(2, RECORDED + 8 * SECOND))
    run = await Run(path, speed)()
    assert [event.received_ns for event in run.events] == [START, START + 8 * SECOND // speed]
    assert [event.received_ns - event.timestamp_ns for event in run.events] == [5_000_000 // speed] * 2
    assert run.at == pytest.approx([event.received_ns for event in run.events], abs=1_000_000)
    assert run.source.simulated


async def test_states_are_reported_while_nothing_is_due(tmp_path):
    """A silent recording is not a dead one: at least every five seconds someone hears of it."""
    path = file_of(tmp_path, binance_trade(1, RECORDED), binance_trade(2, RECORDED + 60 * SECOND))
    run = await Run(path, 1)()
    assert len(run.statuses) > 12
    assert {status.state for status in run.statuses[:-1]} == {"live"}
    assert max(status.age_ms for status in run.statuses[:-1]) >= 55_000
    assert run.statuses[-1].state == "stopped"


async def test_a_double_is_left_out_and_a_hole_reported(tmp_path):
    """Each trade once, whatever the order; the venue's ids tell what the recorder missed."""
    lines = [binance_trade(number, RECORDED + index) for index, number in enumerate([5, 6, 5, 9, 8, 6])]
    run = await Run(file_of(tmp_path, *lines))()
    assert [trade.trade_id for trade in run.trades("BTC-USDT")] == ["5", "6", "9", "8"]
    assert run.count.doubles == 2
    assert run.statuses[-1].gaps == 1


async def test_refused_lines_are_counted_with_their_number(tmp_path):
    """And what comes after them is played."""
    lines = [binance_trade(1, RECORDED), b"nonsense\n", binance_trade(2, RECORDED).replace(b'"1"', b'"NaN"')]
    run = await Run(file_of(tmp_path, *lines, binance_trade(3, RECORDED)))()
    assert [trade.trade_id for trade in run.trades("BTC-USDT")] == ["1", "3"]
    assert [bad.line for bad in run.source.player.bad_lines] == [2, 3]
    assert run.statuses[-1].refused == 2


async def test_at_full_speed_the_consumer_sets_the_pace(tmp_path):
    """Between batches it is asked whether it keeps up."""
    lines = [binance_trade(number, RECORDED + number * SECOND) for number in range(1000)]
    run = await Run(file_of(tmp_path, *lines))()
    assert len(run.trades("BTC-USDT")) == 1000
    assert run.drained >= 1000 / 200
    assert run.clock.time_ns() == START


async def test_a_recording_without_market_data_is_an_error(tmp_path):
    """Not an empty success."""
    with pytest.raises(SourceError, match="no trade and no quote"):
        await Run(file_of(tmp_path, b'{"channel":"heartbeat"}\n'))()


@pytest.mark.parametrize("speed", [0, -1, math.nan])
def test_a_speed_that_is_none_is_an_error(tmp_path, speed):
    """Before the file is opened."""
    with pytest.raises(SourceError, match="above 0"):
        ReplaySource(tmp_path / "nowhere", speed=speed)


async def test_the_binance_recording_replays_exactly():
    """9,757 trades with consecutive ids and 28,040 quotes; its recorder's clock ran 1.27 s behind the
    venue's."""
    run = await Run(capture("binance_spot_btcusdt_20240808.txt.gz"), 1000)()
    trades = run.trades("BTC-USDT")
    numbers = [int(trade.trade_id) for trade in trades]
    assert numbers == list(range(3_735_683_259, 3_735_683_259 + 9_757))
    assert sum(isinstance(event, Quote) for event in run.events) == 28_040
    assert (run.count.gaps, run.count.doubles, run.source.player.refused) == (0, 0, 0)
    ahead_ns = sorted((trade.timestamp_ns - trade.received_ns) * 1000 for trade in trades)
    assert ahead_ns[len(trades) // 2] == pytest.approx(1_270_000_000, abs=20_000_000)
    assert run.clock.time_ns() - START == pytest.approx(346 * SECOND / 1000, rel=0.01)


async def test_the_coinbase_recording_replays_exactly():
    """147 BTC and 132 ETH trades, snapshots included, none twice, in the order of their ids."""
    run = await Run(capture("coinbase_advanced_btcusd_ethusd_20260809.jsonl.gz"))()
    for symbol, expected in (("BTC-USD", 147), ("ETH-USD", 132)):
        numbers = [int(trade.trade_id) for trade in run.trades(symbol)]
        assert numbers == list(range(numbers[0], numbers[0] + expected))
    assert sum(isinstance(event, Quote) and event.symbol == "BTC-USD" for event in run.events) == 73
    assert run.source.player.refused == 0


async def test_coinbase_takers_buy_at_the_ask_and_sell_at_the_bid():
    """With the side turned: no trade of the recording that the quotes settle contradicts it."""
    run = await Run(capture("coinbase_advanced_btcusd_ethusd_20260809.jsonl.gz"))()
    quote: Quote | None = None
    agree = contradict = 0
    for event in run.events:
        if event.symbol != "BTC-USD":
            continue
        if isinstance(event, Quote):
            quote = event
        elif isinstance(event, Trade) and quote is not None and not quote.bid < event.price < quote.ask:
            side = "buy" if event.price >= quote.ask else "sell"
            agree += event.side == side
            contradict += event.side != side
    assert agree >= 25
    assert contradict <= agree // 10


async def test_the_kraken_recordings_replay_exactly():
    """A snapshot of 50 and two updates; a REST answer of 1,000; all ids consecutive."""
    live = await Run(capture("kraken_v2_trade_btcusd_20260926.jsonl"))()
    rest = await Run(capture("kraken_rest_trades_xbtusdt_20251110.json.gz"), 1000)()
    for run, symbol, expected in ((live, "BTC-USD", 52), (rest, "BTC-USDT", 1000)):
        numbers = [int(trade.trade_id) for trade in run.trades(symbol)]
        assert len(numbers) == expected
        assert all(after - before == 1 for before, after in itertools.pairwise(numbers))
    assert live.trades("BTC-USD")[0].price.as_tuple().exponent == -1
    assert rest.clock.time_ns() - START == pytest.approx(6.8 * 3600 * SECOND / 1000, rel=0.02)


async def test_the_bitstamp_and_kraken_book_recordings_replay():
    """Four trades with the taker's side, two books; and the top of a book of ten levels that comes as
    changes."""
    snippets = await Run(capture("bitstamp_btcusd_snippets_2026.jsonl"))()
    assert [trade.side for trade in snippets.trades("BTC-USD")] == ["sell", "buy", "buy", "buy"]
    assert sum(isinstance(event, Quote) for event in snippets.events) == 2
    assert snippets.source.player.refused == 0
    book = await Run(capture("kraken_v2_book10_btcusd_20260816.jsonl.gz"))()
    quotes = [event for event in book.events if isinstance(event, Quote)]
    assert len(quotes) == 8
    assert all(quote.bid < quote.ask for quote in quotes)
