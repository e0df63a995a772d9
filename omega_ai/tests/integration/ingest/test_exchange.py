"""Stand-in exchanges as a program runs them, and what they do not let pass."""

from __future__ import annotations

import asyncio
import random

import aiohttp
import pytest

from omega_ai.core.clock import SystemClock
from omega_ai.data_feed.exchanges.detect import VENUES
from omega_ai.data_feed.exchanges.standin.exchange import Pace, StandIn
from omega_ai.data_feed.exchanges.standin.market import GeneratedMarket
from omega_ai.data_feed.exchanges.standin.serve import ExchangeAddress, ExchangeOptions, serve_exchange
from omega_ai.data_feed.sources.base import SourceError
from omega_ai.data_feed.sources.live import LiveSource
from omega_ai.tests.unit.data.sources.captures import capture

CLOCK = SystemClock()


async def running(options: ExchangeOptions) -> tuple[asyncio.Task[None], list[ExchangeAddress]]:
    addresses: list[ExchangeAddress] = []
    ready = asyncio.Event()

    def note(found) -> None:
        addresses.extend(found)
        ready.set()

    task = asyncio.create_task(serve_exchange(options, note))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    return task, addresses


async def test_all_six_listen_and_their_environment_leads_a_feed_to_them():
    """What is printed can be exported."""
    task, addresses = await running(ExchangeOptions(rate=50.0, scale=0.1))
    assert [address.venue for address in addresses] == list(VENUES)
    environment = {name: value for address in addresses for name, value in address.environment.items()}
    events: list[object] = []
    live: set[str] = set()
    source = LiveSource(environment=environment, clock=CLOCK, seed=1)
    following = asyncio.create_task(
        source.run(events.append, lambda status: live.add(status.venue) if status.state == "live" else None)
    )
    async with asyncio.timeout(20):
        while live != set(VENUES):
            await asyncio.sleep(0.02)
    for one in (following, task):
        one.cancel()
    await asyncio.gather(following, task, return_exceptions=True)


async def test_a_capture_names_its_venue():
    """One exchange, the one it is of."""
    path = capture("kraken_v2_trade_btcusd_20260926.jsonl")
    task, addresses = await running(ExchangeOptions(capture=path, speed=10.0))
    assert [address.venue for address in addresses] == ["kraken"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    with pytest.raises(SourceError, match="is of kraken, not of okx"):
        await serve_exchange(ExchangeOptions(capture=path, venues=("okx",)))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (ExchangeOptions(venues=("mtgox",)), "unknown venue 'mtgox'"),
        (ExchangeOptions(scale=0), "scale is from"),
        (ExchangeOptions(rate=-1), "rate from"),
    ],
)
async def test_options_have_bounds(options, text):
    """Named in the error."""
    with pytest.raises(SourceError, match=text):
        await serve_exchange(options)


async def test_a_taken_port_is_an_error_and_leaves_nothing_behind():
    """The system's words."""
    task, addresses = await running(ExchangeOptions(venues=("okx",)))
    port = int(addresses[0].url.rpartition(":")[2].strip("/"))
    with pytest.raises(OSError, match="in use"):
        await serve_exchange(ExchangeOptions(venues=("kraken",), port=port))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    ("name", "send", "reason"),
    [
        ("binance", [b'{"method":"X","id":1}'] * 8, "messages in a second"),
        ("coinbase", [], "no subscription in time"),
        ("okx", [], "idle"),
    ],
)
async def test_what_the_venue_would_not_stand_closes_the_connection_and_is_noted(name, send, reason):
    """So that a test of a connector can fail for it."""
    venue = VENUES[name]
    exchange = StandIn(
        venue,
        GeneratedMarket(venue, 1, CLOCK.time_ns()),
        clock=CLOCK,
        rng=random.Random(1),
        pace=Pace(0.02),
    )
    await exchange.start()
    try:
        async with aiohttp.ClientSession() as session, session.ws_connect(exchange.url) as connection:
            for message in send:
                await connection.send_str(message.decode())
            async with asyncio.timeout(10):
                while (await connection.receive()).type is aiohttp.WSMsgType.TEXT:
                    pass
            assert connection.close_code == 1008
        assert any(reason in text for text in exchange.violations)
    finally:
        await exchange.close()


async def test_too_many_connections_are_refused_with_429():
    """Three a second for OKX."""
    venue = VENUES["okx"]
    exchange = StandIn(venue, GeneratedMarket(venue, 1, CLOCK.time_ns()), clock=CLOCK, rng=random.Random(1))
    await exchange.start()
    try:
        async with aiohttp.ClientSession() as session:
            statuses = []
            for _ in range(5):
                try:
                    async with session.ws_connect(exchange.url):
                        statuses.append(101)
                except aiohttp.WSServerHandshakeError as error:
                    statuses.append(error.status)
        assert statuses[:3] == [101] * 3
        assert 429 in statuses[3:]
        assert exchange.violations
    finally:
        await exchange.close()
