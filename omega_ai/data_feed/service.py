"""Running a feed as a program does: until told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import structlog

from omega_ai.core.clock import Clock, SystemClock
from omega_ai.data_feed.feed import Endpoints, Feed
from omega_ai.data_feed.settings import FeedSettings

_log = structlog.get_logger(__name__)


async def run_feed(
    settings: FeedSettings,
    *,
    ready: Callable[[Endpoints], None] | None = None,
    stop: asyncio.Event | None = None,
    clock: Clock | None = None,
) -> None:
    """Run until SIGINT or SIGTERM, or until ``stop`` is set; ``ready`` is called once all listens.

    On the way out clients are closed with 1001, what was accepted is written, ports are free, Valkey has
    ended.

    Raises:
        What ``Feed`` raises on entering; ``SourceError`` later when the source's input proves useless.
    """
    stopping = stop if stop is not None else asyncio.Event()
    loop = asyncio.get_running_loop()
    handled: list[signal.Signals] = []
    if stop is None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopping.set)
            handled.append(number)
    try:
        async with Feed(settings, clock=clock or SystemClock()) as feed:
            if ready is not None and feed.endpoints is not None:
                ready(feed.endpoints)
            _log.info("ready", **(feed.endpoints._asdict() if feed.endpoints else {}))
            waiting = loop.create_task(stopping.wait())
            try:
                ends: set[asyncio.Future[Any]] = {waiting, feed.failed}
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                if feed.failed.done():
                    feed.failed.result()
            finally:
                waiting.cancel()
            _log.info("stopping")
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
