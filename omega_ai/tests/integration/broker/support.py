"""What the broker's tests share: bodies, brokers that are closed, a record of what a subscriber saw."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from omega_ai.core.clock import SystemClock
from omega_ai.data_feed.broker import open_broker
from omega_ai.data_feed.broker.base import Broker, Publication, message_of
from omega_ai.data_feed.broker.redis import RedisBroker


def body(number: int, channel: str = "btc_price") -> bytes:
    """A body that says its number."""
    return b'{"type":"%b","n":%d}' % (channel.encode(), number)


def numbers(publications: list[Publication]) -> list[int]:
    """The numbers that the bodies say."""
    return [int(p.message.rsplit(b":", 1)[1].rstrip(b"}")) for p in publications]


def check_messages(publications: list[Publication]) -> None:
    """Each message is its body with its position spliced in, to the byte."""
    for p, n in zip(publications, numbers(publications), strict=True):
        assert p.message == message_of(p.channel, p.epoch, p.seq, body(n, p.channel))


def assert_unbroken(publications: list[Publication], first: int = 1) -> None:
    """One epoch, ``seq`` +1 each from ``first``."""
    assert len({p.epoch for p in publications}) <= 1
    assert [p.seq for p in publications] == list(range(first, first + len(publications)))


async def until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    """Wait until ``condition`` holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


@asynccontextmanager
async def started(broker: Broker) -> AsyncIterator[Broker]:
    """The broker, started, and closed at the end."""
    await broker.start()
    try:
        yield broker
    finally:
        await broker.close()


@asynccontextmanager
async def redis_broker(url: str, **options: Any) -> AsyncIterator[RedisBroker]:
    """A started Redis broker."""
    broker = RedisBroker(url, clock=SystemClock(), **options)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.close()


def opened(spec: str) -> Broker:
    """As ``omega serve --broker`` opens it."""
    return open_broker(spec, clock=SystemClock())
