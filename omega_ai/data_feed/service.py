"""Running a feed as a program does: until told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from msgspec import structs

from omega_ai.core.clock import Clock, SystemClock
from omega_ai.data_feed.descriptors import raise_descriptor_limit
from omega_ai.data_feed.feed import Endpoints, Feed
from omega_ai.data_feed.settings import FeedSettings
from omega_ai.data_feed.workers import WorkerFailed

ROLL_SECONDS = 5.0
"""Over this time a worker that is replaced sends its clients away."""

_log = structlog.get_logger(__name__)


async def run_feed(
    settings: FeedSettings,
    *,
    ready: Callable[[Endpoints], None] | None = None,
    stop: asyncio.Event | None = None,
    clock: Clock | None = None,
) -> None:
    """Run until SIGINT or SIGTERM, or until ``stop`` is set; ``ready`` is called once all listens.

    SIGHUP reads the certificate again; SIGUSR2 replaces the workers one by one.

    With ``drain_seconds``, clients are first sent away one by one (1012); a second signal cuts that short.

    On the way out clients are closed with 1001, what was accepted is written, ports are free, Valkey has
    ended.

    Raises:
        What ``Feed`` raises on entering; ``SourceError`` later when the source's input proves useless.
    """
    room = raise_descriptor_limit(settings.max_connections)
    settings = structs.replace(settings, max_connections=max(room, 1))
    stopping = stop if stop is not None else asyncio.Event()
    loop = asyncio.get_running_loop()
    handled: list[signal.Signals] = []
    rolling: list[asyncio.Task[None]] = []
    hurry = asyncio.Event()
    if stop is None:
        for number in (signal.SIGINT, signal.SIGTERM):
            _on_signal(loop, handled, number, lambda: (hurry if stopping.is_set() else stopping).set())
    try:
        async with Feed(settings, clock=clock or SystemClock()) as feed:
            if stop is None:
                _on_signal(loop, handled, signal.SIGHUP, feed.reload_certificate)
                _on_signal(
                    loop, handled, signal.SIGUSR2, lambda: rolling.append(loop.create_task(_roll(feed)))
                )
            if ready is not None and feed.endpoints is not None:
                ready(feed.endpoints)
            if feed.endpoints is not None:
                _log.info("ready", **_readable(feed.endpoints))
            waiting = loop.create_task(stopping.wait())
            try:
                ends: set[asyncio.Future[Any]] = {waiting, feed.failed}
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                if feed.failed.done():
                    feed.failed.result()
            finally:
                waiting.cancel()
                for task in rolling:
                    task.cancel()
            if settings.drain_seconds > 0:
                _log.info("draining", seconds=settings.drain_seconds)
                await _unless(hurry, feed.drain(settings.drain_seconds))
            _log.info("stopping")
    finally:
        for number in handled:
            loop.remove_signal_handler(number)


def _readable(endpoints: Endpoints) -> dict[str, str | None]:
    """As a log line's fields: texts, and the certificate by its path."""
    fields = endpoints._asdict()
    fields["certificate"] = None if endpoints.certificate is None else str(endpoints.certificate.certificate)
    return fields


def _on_signal(
    loop: asyncio.AbstractEventLoop,
    handled: list[signal.Signals],
    number: signal.Signals,
    callback: Callable[[], object],
) -> None:
    loop.add_signal_handler(number, callback)
    handled.append(number)


async def _unless(hurry: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Do ``work`` to its end, or until ``hurry`` is set."""
    tasks: set[asyncio.Task[Any]] = {asyncio.create_task(work), asyncio.create_task(hurry.wait())}
    _, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


async def _roll(feed: Feed) -> None:
    try:
        await feed.roll(ROLL_SECONDS)
    except WorkerFailed as error:
        _log.error("workers_not_replaced", error=str(error))
