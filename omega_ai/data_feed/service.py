"""Running a feed as a program does: until told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from omega_ai.core.clock import Clock, SystemClock
from omega_ai.data_feed.descriptors import within_descriptors
from omega_ai.data_feed.feed import Endpoints, Feed
from omega_ai.data_feed.settings import FeedSettings, SettingsError, option_of
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
    read_again: Callable[[], FeedSettings] | None = None,
) -> None:
    """Run until SIGINT or SIGTERM, or until ``stop`` is set; ``ready`` is called once all listens.

    SIGHUP reads the certificate again, and takes what is reloadable of the settings that ``read_again``
    returns, if it is given (called in a thread; raises SettingsError).
    SIGUSR2 replaces the workers one by one.

    With ``drain_seconds``, clients are first sent away one by one (1012); a second signal cuts that short.

    On the way out clients are closed with 1001, what was accepted is written, ports are free, Valkey has
    ended.

    Raises:
        What ``Feed`` raises on entering; ``SourceError`` later when the source's input proves useless.
    """
    settings = within_descriptors(settings)
    stopping = stop if stop is not None else asyncio.Event()
    loop = asyncio.get_running_loop()
    handled: list[signal.Signals] = []
    tasks: list[asyncio.Task[None]] = []
    one_at_a_time = asyncio.Lock()
    hurry = asyncio.Event()
    if stop is None:
        for number in (signal.SIGINT, signal.SIGTERM):
            _on_signal(loop, handled, number, lambda: (hurry if stopping.is_set() else stopping).set())
    try:
        async with Feed(settings, clock=clock or SystemClock()) as feed:
            if stop is None:

                def reload() -> None:
                    feed.reload_certificate()
                    if read_again is not None:
                        tasks.append(loop.create_task(_read_settings(feed, read_again, one_at_a_time)))

                _on_signal(loop, handled, signal.SIGHUP, reload)
                _on_signal(loop, handled, signal.SIGUSR2, lambda: tasks.append(loop.create_task(_roll(feed))))
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
                for task in tasks:
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


async def _read_settings(feed: Feed, read: Callable[[], FeedSettings], lock: asyncio.Lock) -> None:
    async with lock:
        try:
            result = feed.reconfigure(within_descriptors(await asyncio.to_thread(read)))
        except SettingsError as error:
            _log.error(
                "settings_not_reloaded",
                error=str(error),
                advice="no setting changed: mend the file of --config",
            )
            return
    applied = {option_of(name): value for name, value in result.applied.items()}
    if result.restart:
        waiting = [option_of(name) for name in result.restart]
        _log.warning("settings_reloaded", applied=applied, restart_needed=waiting)
    else:
        _log.info("settings_reloaded", applied=applied)


async def _roll(feed: Feed) -> None:
    try:
        await feed.roll(ROLL_SECONDS)
    except WorkerFailed as error:
        _log.error("workers_not_replaced", error=str(error))
