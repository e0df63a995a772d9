"""What ingest costs: CPU from a venue's frame to its events, and from an event to the consolidated price.

    python benchmarks/ingest.py                       messages made here, as the venues document them
    python benchmarks/ingest.py --recording FILE      the messages of a recording

CPU time of this process (``time.process_time_ns``), the best of several rounds: what else runs on the machine
makes a round longer, never shorter. "a core" is how many a second one core could take if it did nothing else.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path

from omega_ai.data_feed.candles import Candles
from omega_ai.data_feed.exchanges import binance, coinbase, kraken
from omega_ai.data_feed.exchanges.detect import venue_of
from omega_ai.data_feed.exchanges.sequence import TradeSequence
from omega_ai.data_feed.market import Quote, Trade
from omega_ai.data_feed.price_index import PriceIndex
from omega_ai.data_feed.sources.recording import Message, Recording

NOW = 1_767_323_045_678_901_000


def binance_trades(count: int, rng: random.Random) -> list[bytes]:
    return [
        b'{"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"s":"BTCUSDT","t":%d,"p":"%.2f000000",'
        b'"q":"%.5f000","T":%d,"m":%b,"M":true}}'
        % (
            NOW // 1_000_000 + number,
            3_735_683_259 + number,
            rng.uniform(61_000, 62_000),
            rng.uniform(0.00001, 1),
            NOW // 1_000_000 + number,
            rng.choice((b"true", b"false")),
        )
        for number in range(count)
    ]


def binance_quotes(count: int, rng: random.Random) -> list[bytes]:
    return [
        b'{"stream":"btcusdt@bookTicker","data":{"u":%d,"s":"BTCUSDT","b":"%.2f000000","B":"3.78826000",'
        b'"a":"62000.01000000","A":"1.54698000"}}' % (50_093_239_212 + number, rng.uniform(61_000, 62_000))
        for number in range(count)
    ]


def coinbase_trades(count: int, rng: random.Random) -> list[bytes]:
    return [
        b'{"channel":"market_trades","client_id":"","timestamp":"2026-01-02T03:04:05.728568804Z","sequence_num":%d,'
        b'"events":[{"type":"update","trades":[{"product_id":"BTC-USD","trade_id":"%d","price":"%.2f",'
        b'"size":"0.002186","time":"2026-01-02T03:04:05.678901Z","side":"SELL"}]}]}'
        % (number, 1_068_572_090 + number, rng.uniform(61_000, 62_000))
        for number in range(count)
    ]


def kraken_trades(count: int, rng: random.Random) -> list[bytes]:
    return [
        b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"sell","price":%.1f,"qty":0.00275723,'
        b'"ord_type":"limit","trade_id":%d,"timestamp":"2026-01-02T03:04:05.678901Z"}]}'
        % (rng.uniform(61_000, 62_000), 109_183_886 + number)
        for number in range(count)
    ]


def best_us(work: Callable[[], int], rounds: int) -> tuple[float, int]:
    """CPU microseconds per item in the best round, and the items of a round."""
    best, items = float("inf"), 0
    for _ in range(rounds):
        began = time.process_time_ns()
        items = work()
        best = min(best, (time.process_time_ns() - began) / max(items, 1) / 1000)
    return best, items


def parsing(parse: Callable[[bytes, int], object], frames: list[bytes]) -> Callable[[], int]:
    def work() -> int:
        for frame in frames:
            parse(frame, NOW)
        return len(frames)

    return work


def show(name: str, work: Callable[[], int], rounds: int) -> None:
    best, items = best_us(work, rounds)
    print(f"{name:<44} {best:8.2f} µs {1e6 / best:12,.0f} /s a core   ({items:,} items)")


def sequencing(trades: list[Trade]) -> Callable[[], int]:
    def work() -> int:
        sequence = TradeSequence(consecutive=True)
        return sum(len(sequence.offer(trade)) for trade in trades)

    return work


def pricing(venues: int, quotes: Iterable[Quote]) -> Callable[[], int]:
    asked = [(f"venue-{number % venues}", quote) for number, quote in enumerate(quotes)]
    events = [
        Quote(venue, "BTC-USD", quote.bid, quote.bid_size, quote.ask, quote.ask_size, NOW, NOW)
        for venue, quote in asked
    ]

    def work() -> int:
        index = PriceIndex()
        for number, event in enumerate(events):
            index.update(event, NOW + number)
            index.compute(NOW + number)
        return len(events)

    return work


def candling(trades: list[Trade]) -> Callable[[], int]:
    def work() -> int:
        candles = Candles()
        for trade in trades:
            candles.trade(trade, trade.timestamp_ns)
        candles.tick(trades[-1].timestamp_ns)
        return len(trades)

    return work


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recording", type=Path, help="a file of recorded messages; see docs on replay")
    parser.add_argument("--count", type=int, default=20_000, help="messages of each kind (default 20000)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds, of which the best counts (default 7)")
    arguments = parser.parse_args()
    rounds = arguments.rounds
    if arguments.recording is not None:
        messages = [message for message in Recording(arguments.recording) if isinstance(message, Message)]
        by_venue: dict[str, list[bytes]] = {}
        for message in messages:
            venue = venue_of(message.raw)
            if venue is not None:
                by_venue.setdefault(venue.name, []).append(message.raw)
        for name, frames in by_venue.items():
            venue = venue_of(frames[0])
            if venue is not None:
                show(f"{name}: every recorded message, parsed", parsing(venue.parse, frames), rounds)
        trade_frames = [frame for frame in by_venue.get("binance", []) if b'@trade"' in frame[:64]]
        if trade_frames:
            show("binance: recorded trades, frame to event", parsing(binance.parse, trade_frames), rounds)
        return
    rng = random.Random(1)
    count = arguments.count
    frames = binance_trades(count, rng)
    quote_frames = binance_quotes(count, rng)
    show("binance trade, frame to event", parsing(binance.parse, frames), rounds)
    show("binance quote, frame to event", parsing(binance.parse, quote_frames), rounds)
    show("coinbase trade, frame to event", parsing(coinbase.parse, coinbase_trades(count, rng)), rounds)
    show("kraken trade, frame to event", parsing(kraken.parse, kraken_trades(count, rng)), rounds)
    trades = [event for frame in frames for event in binance.parse(frame, NOW) if isinstance(event, Trade)]
    quotes = [
        event for frame in quote_frames for event in binance.parse(frame, NOW) if isinstance(event, Quote)
    ]
    near = [
        Quote("", "", quote.ask - Decimal("0.10"), None, quote.ask, None, None, NOW)
        for quote in quotes[: count // 4]
    ]
    show("trade through the sequence check", sequencing(trades), rounds)
    show("trade into 1 s and 1 min candles", candling(trades), rounds)
    show("quote to consolidated price, 3 venues", pricing(3, near), rounds)
    show("quote to consolidated price, 6 venues", pricing(6, near), rounds)


if __name__ == "__main__":
    main()
