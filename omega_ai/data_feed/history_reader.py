"""Reads of the broker's history on behalf of clients, shared: a storm of resumes costs one read, not
thousands.

Requests for a channel that come while a read is under way wait and are then served together: by one read from
the oldest position that any of them asks for, cut to measure for each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import structlog

from omega_ai.data_feed.broker.base import Broker, BrokerError, History, Position

Done = Callable[[History | None], None]

CATCH_UP_SECONDS = 5.0
"""How long an answer waits until this process has reached what the broker has."""

CATCH_UP_STEP = 0.005
RETRY_SECONDS = 0.25
ANSWERING_SECONDS = 0.005
"""After so long a time of answers the rest wait for the next turn of the loop: live messages go between."""

_log = structlog.get_logger(__name__)


class _Request(NamedTuple):
    since: Position | None
    limit: int | None
    done: Done


class HistoryReader:
    """See the module's text. Belongs to one event loop; ``close`` answers all that wait with None.

    ``reached`` tells how far this process has got in a channel. It may be behind the broker, and behind a
    client that comes from another server; an answer waits until that is made up for.
    """

    def __init__(self, broker: Broker, *, timeout: float = 8.0) -> None:
        self._broker = broker
        self.reached: Callable[[str], Position] | None = None
        self._timeout = timeout
        self._waiting: dict[str, list[_Request]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.reads = 0
        self.requests = 0

    def look_back(self, channel: str, since: Position | None, limit: int | None, done: Done) -> None:
        """Ask for history; ``done`` is called later, once, with None if the broker fails."""
        self.requests += 1
        self._waiting.setdefault(channel, []).append(_Request(since, limit, done))
        if channel not in self._tasks:
            self._tasks[channel] = asyncio.get_running_loop().create_task(self._serve(channel))

    async def close(self) -> None:
        """Stop reading; whoever still waits gets None."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, channel: str) -> None:
        requests: list[_Request] = []
        try:
            while requests := self._waiting.pop(channel, []):
                resumes: dict[str, list[_Request]] = {}
                for request in requests:
                    if request.since is not None and request.limit is None:
                        resumes.setdefault(request.since.epoch, []).append(request)
                    else:
                        _answer(request, await self._read(channel, request.since, request.limit))
                for group in resumes.values():
                    await self._serve_resumes(channel, group)
        finally:
            del self._tasks[channel]
            # Only after a cancellation is anybody left; an answer given twice is prevented by the waiters.
            for request in self._waiting.pop(channel, []):
                _answer(request, None)

    async def _serve_resumes(self, channel: str, group: list[_Request]) -> None:
        """One read from the oldest position of ``group`` (all of one epoch) serves all that it can prove
        whole.
        """
        sinces = sorted({request.since for request in group if request.since is not None})
        read: History | None = None
        covered_from: Position | None = None
        for since in sinces:
            read = await self._read(channel, since, None)
            covered_from = since
            if read is None or read.whole:
                break
            # Too old: tell those, and try the next younger one for the rest.
            for request in group:
                if request.since == since:
                    _answer(request, read)
            group = [request for request in group if request.since != since]
        if read is None:
            for request in group:
                _answer(request, None)
            return
        if covered_from is None or not read.whole:
            return
        # Those who ask from one place get one and the same answer.
        answers: dict[int, History] = {}
        loop = asyncio.get_running_loop()
        began = loop.time()
        for request in group:
            if request.since is not None:
                skip = request.since.seq - covered_from.seq
                if skip not in answers:
                    answers[skip] = read._replace(publications=read.publications[skip:])
                _answer(request, answers[skip])
                if loop.time() - began > ANSWERING_SECONDS:
                    await asyncio.sleep(0)
                    began = loop.time()

    async def _read(self, channel: str, since: Position | None, limit: int | None) -> History | None:
        """Ask again while the broker is away: a resuming client is better served late than not at all."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        while True:
            self.reads += 1
            try:
                async with asyncio.timeout_at(deadline):
                    history = await self._broker.history(channel, since, limit)
                break
            except (BrokerError, TimeoutError) as error:
                if loop.time() + RETRY_SECONDS >= deadline:
                    _log.warning("history_unavailable", channel=channel, error=str(error) or "timed out")
                    return None
            await asyncio.sleep(RETRY_SECONDS)
        await self._catch_up(channel, history.position)
        return history

    async def _catch_up(self, channel: str, position: Position) -> None:
        reached = self.reached
        if reached is None:
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + CATCH_UP_SECONDS
        while loop.time() < deadline:
            at = reached(channel)
            if at.epoch == position.epoch and at.seq >= position.seq:
                return
            await asyncio.sleep(CATCH_UP_STEP)


def _answer(request: _Request, history: History | None) -> None:
    try:
        request.done(history)
    except Exception:
        _log.exception("history_answer_failed")
