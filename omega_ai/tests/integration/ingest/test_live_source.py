"""The live source against stand-ins: captures exactly, failures said, and back by itself."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from msgspec import structs

from omega_ai.core.clock import SystemClock
from omega_ai.data_feed.exchanges.base import Venue
from omega_ai.data_feed.exchanges.detect import VENUES
from omega_ai.data_feed.exchanges.standin.exchange import StandIn
from omega_ai.data_feed.exchanges.standin.market import GeneratedMarket, Market, RecordedMarket
from omega_ai.data_feed.market import MarketEvent, Quote, SourceStatus, Trade
from omega_ai.data_feed.sources.base import SourceError
from omega_ai.data_feed.sources.live import LiveSource
from omega_ai.tests.integration.ingest.trial import patience, quick
from omega_ai.tests.unit.data.sources.captures import capture

CLOCK = SystemClock()
WITHIN_S = 30.0


class Heard:
    """What a source said."""

    def __init__(self) -> None:
        self.events: list[MarketEvent] = []
        self.statuses: list[SourceStatus] = []

    def trades(self, symbol: str) -> list[Trade]:
        return [event for event in self.events if isinstance(event, Trade) and event.symbol == symbol]

    def state(self) -> str | None:
        return self.statuses[-1].state if self.statuses else None


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def exchange_of(venue: Venue, market: Market, port: int = 0) -> AsyncIterator[StandIn]:
    exchange = StandIn(venue, market, clock=CLOCK, rng=random.Random(1))
    await exchange.start(port=port)
    try:
        yield exchange
    finally:
        await exchange.close()


@asynccontextmanager
async def following(venue: Venue, url: str, rest_url: str, scale: float = 0.1) -> AsyncIterator[Heard]:
    heard = Heard()
    source = LiveSource(
        [venue],
        urls={venue.name: url},
        rest_urls={venue.name: rest_url},
        environment={},
        clock=CLOCK,
        seed=1,
        patience=patience(scale),
    )
    running = asyncio.create_task(source.run(heard.events.append, heard.statuses.append))
    try:
        yield heard
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert heard.state() == "stopped"


@pytest.mark.parametrize(
    ("name", "recording", "speed", "trades"),
    [
        ("coinbase", "coinbase_advanced_btcusd_ethusd_20260809.jsonl.gz", 20.0, 147),
        ("kraken", "kraken_v2_trade_btcusd_20260926.jsonl", 20.0, 52),
        ("kraken", "kraken_rest_trades_xbtusdt_20251110.json.gz", 8000.0, 1000),
        ("binance", "binance_spot_btcusdt_20240808.txt.gz", 200.0, 9757),
    ],
)
async def test_a_recording_played_by_an_exchange_comes_through_exactly(name, recording, speed, trades):
    """Over a real socket, in the venue's own words: every trade once, in order, with its price, size and
    side."""
    market = RecordedMarket(VENUES[name], capture(recording), speed=speed)
    venue = quick(VENUES[name], 1.0)
    async with (
        exchange_of(venue, market) as exchange,
        following(venue, exchange.url, exchange.rest_url, scale=1.0) as heard,
    ):
        await until(lambda: market.finished)
        await until(lambda: len(heard.trades(venue.symbol)) == trades)
        await asyncio.sleep(0.05)
        found = [(t.trade_id, t.price, t.size, t.side) for t in heard.trades(venue.symbol)]
        assert found == [(t.trade_id, t.price, t.size, t.side) for t in market.trades]
        assert len(found) == trades
        assert heard.statuses[-1].gaps == 0
        assert exchange.violations == []


async def test_an_unreachable_venue_is_said_at_once_and_live_when_it_comes():
    """The state says why; when somebody listens there at last, prices flow without anybody's help."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    venue = quick(VENUES["kraken"], 0.1)
    async with following(venue, f"ws://127.0.0.1:{port}/", "http://127.0.0.1:9") as heard:
        await until(
            lambda: (
                "cannot connect to 127.0.0.1" in (heard.statuses[-1].detail or "")
                if heard.statuses
                else False
            )
        )
        assert heard.state() == "connecting"
        assert heard.events == []
        market = GeneratedMarket(venue, 1, CLOCK.time_ns(), rate=50)
        async with exchange_of(venue, market, port):
            await until(lambda: heard.state() == "live")
            assert heard.events


async def test_a_name_that_does_not_resolve_and_a_server_that_is_none_are_said():
    """In words, with the place."""
    venue = quick(VENUES["kraken"], 0.1)
    async with following(venue, "ws://venue.invalid:80/", "http://127.0.0.1:9") as heard:
        await until(
            lambda: any("cannot connect to venue.invalid" in (s.detail or "") for s in heard.statuses)
        )

    async def http_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\n\r\nblocked")
        writer.close()

    server = await asyncio.start_server(http_only, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with following(venue, f"ws://127.0.0.1:{port}/", "http://127.0.0.1:9") as heard:
            await until(lambda: any("HTTP 403: blocked" in (s.detail or "") for s in heard.statuses))


async def test_a_five_megabyte_frame_is_taken_in_stride():
    """Coinbase's book snapshot is one; the connection stays."""
    venue = quick(VENUES["coinbase"], 1.0)
    market = GeneratedMarket(venue, 1, CLOCK.time_ns(), rate=50)
    async with (
        exchange_of(venue, market) as exchange,
        following(venue, exchange.url, exchange.rest_url) as heard,
    ):
        await until(lambda: heard.state() == "live")
        before = heard.statuses[-1].messages
        exchange.misbehave("large", 0.1)
        count = len(heard.events)
        await until(lambda: len(heard.events) > count + 50)
        assert heard.statuses[-1].reconnects == 0
        assert heard.statuses[-1].messages > before


async def test_without_rest_a_gap_is_reported_and_the_stream_goes_on():
    """What cannot be filled is said, and holds nobody up."""
    venue = structs.replace(quick(VENUES["binance"], 0.1), rest=None)
    market = GeneratedMarket(venue, 1, CLOCK.time_ns(), rate=100)
    async with (
        exchange_of(venue, market) as exchange,
        following(venue, exchange.url, exchange.rest_url) as heard,
    ):
        await until(lambda: heard.state() == "live")
        exchange.misbehave("jump", 0.2)
        await until(lambda: any(status.gaps for status in heard.statuses))
        numbers = [int(trade.trade_id) for trade in heard.trades("BTC-USDT")]
        assert numbers == sorted(set(numbers))
        assert any("trades lost" in (status.detail or "") for status in heard.statuses)


async def test_what_the_consumer_raises_ends_the_source():
    """It is no venue's fault, and must not be hidden as one."""
    venue = quick(VENUES["kraken"], 0.1)
    market = GeneratedMarket(venue, 1, CLOCK.time_ns(), rate=50)

    def broken(event: MarketEvent) -> None:
        if isinstance(event, Quote):
            raise RuntimeError("the consumer is broken")

    async with exchange_of(venue, market) as exchange:
        source = LiveSource([venue], urls={"kraken": exchange.url}, environment={}, clock=CLOCK, seed=1)
        with pytest.raises(RuntimeError, match="the consumer is broken"):
            await asyncio.wait_for(source.run(broken, lambda status: None), WITHIN_S)


async def test_nothing_is_left_behind():
    """No task, no connection."""
    venue = quick(VENUES["okx"], 0.1)
    before = asyncio.all_tasks()
    market = GeneratedMarket(venue, 1, CLOCK.time_ns(), rate=50)
    async with exchange_of(venue, market) as exchange:
        async with following(venue, exchange.url, exchange.rest_url) as heard:
            await until(lambda: heard.state() == "live")
        await until(lambda: not exchange._clients)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


def test_venues_and_addresses_are_checked_at_once():
    """Before anything is opened."""
    assert LiveSource(environment={}).venues == tuple(VENUES)
    assert LiveSource(["Kraken"], environment={}).venues == ("kraken",)
    assert not LiveSource(environment={}).simulated
    with pytest.raises(SourceError, match="unknown venue 'mtgox'; there are coinbase"):
        LiveSource(["mtgox"])
    with pytest.raises(SourceError, match="WSS_URL_KRAKEN must be ws://"):
        LiveSource(environment={"WSS_URL_KRAKEN": "kraken.com"})
    with pytest.raises(SourceError, match="REST_URL_KRAKEN must be http://"):
        LiveSource(environment={"REST_URL_KRAKEN": "ws://kraken.com"})
