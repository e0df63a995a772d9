"""What a user writes, typed: checked by mypy in strict mode with everything else (``make check``), and run.

``assert_type`` fails the check if a type is not the promised one. Each ``type: ignore`` is a mistake that
mypy finds; an ignore that is not needed fails the check too.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import assert_type

from omega_ai.client import (
    Connected,
    Disconnected,
    Event,
    Feed,
    History,
    Message,
    Price,
    Published,
    connect,
)
from omega_ai.client import sync as plain
from omega_ai.testkit.assertions import assert_delivered, assert_in_time
from omega_ai.testkit.context import Context
from omega_ai.testkit.portal import Client, Tester
from omega_ai.tests.feed_server import FeedThread, quiet_settings


async def prices(url: str) -> Decimal:
    """A program with the client: every type is known without a cast."""
    async with connect(url, channels=["btc_price"], events=True) as feed:
        assert_type(feed, Feed)
        async for item in feed:
            if isinstance(item, Price):
                assert_type(item.price, Decimal)
                assert_type(item.bid, Decimal | None)
                assert_type(item.timestamp, datetime)
                assert_type(item.seq, int)
                return item.price
            if isinstance(item, Disconnected):
                assert_type(item.code, int)
    raise AssertionError("no price came")


async def answers(feed: Feed) -> None:
    """Requests give what they are documented to give."""
    assert_type(await feed.ping(), float)
    assert_type(await feed.history("btc_price", limit=1), History)
    await feed.publish_price(Decimal(1), volume=0)


def mistakes(feed: Feed) -> None:
    """Never called; mypy finds each of them."""
    connect(5)  # type: ignore[arg-type]
    connect("ws://x", mode="some")  # type: ignore[arg-type]
    feed.prices()  # type: ignore[attr-defined]


def in_plain_code(url: str) -> Decimal:
    """The same without ``async``."""
    with plain.connect(url, channels=["btc_price"]) as feed:
        for item in feed:
            if isinstance(item, Price):
                return item.price
    raise AssertionError("no price came")


def of_the_plugin(ws: Tester, ws_context: Context) -> None:
    """A test's fixtures; never called here."""
    client = ws.connect("alice")
    assert_type(client, Client)
    assert_type(ws.listeners(3), Sequence[Client])
    client.echo(20)
    assert_type(client.receive(1.0), bytes | None)
    ws.settle()
    assert_delivered(ws)
    assert_in_time(ws, 0.5)
    assert_delivered(ws_context)


def of_messages(item: Message | Event) -> str:
    """Published messages have a place."""
    if isinstance(item, Published):
        assert_type(item.epoch, str)
        return item.channel
    return type(item).__name__ if isinstance(item, Connected) else ""


async def test_the_typed_programs_run() -> None:
    """What is checked above is also true."""
    with FeedThread(quiet_settings(source="simulated")) as server:
        assert await prices(server.at.ws) > 0


def test_the_typed_programs_in_plain_code_run() -> None:
    """Likewise."""
    with FeedThread(quiet_settings(source="simulated")) as server:
        assert in_plain_code(server.at.ws) > 0
