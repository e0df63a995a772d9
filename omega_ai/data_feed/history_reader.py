"""Reads of the broker's history on behalf of clients, shared: a storm of resumes costs one read, not
thousands.

Requests for a channel that come while a read is under way wait and are then served together: by one read
from the oldest position that any of them asks for. What has been read is in memory for a while; whoever is
``known`` to be served by that needs no further read.
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
ANSWERING_SECONDS = 0.001
"""After so long a time of answers the rest wait for the next turn of the loop: live messages go between."""

_log = structlog.get_logger(__name__)


class _Request(NamedTuple):
    since: Position | None
    limit: int | None
    done: Done
    known: Callable[[], History | None] | None


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
        # What is older than the history stays so: no further read is needed to tell.
        self._too_old: dict[str, Position] = {}
        self._answering_since = 0.0
        self.reads = 0
        self.requests = 0

    def look_back(
        self,
        channel: str,
        since: Position | None,
        limit: int | None,
        done: Done,
        known: Callable[[], History | None] | None = None,
        /,
    ) -> None:
        """Ask for history; ``done`` is called later, once, with None if the broker fails.

        ``known`` is asked for an answer first; with it, what is read may begin before ``since``, for others.
        """
        self.requests += 1
        self._waiting.setdefault(channel, []).append(_Request(since, limit, done, known))
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
                        if (answer := self._known(channel, request, request.since)) is not None:
                            await self._answer_in_turn(request, answer)
                            continue
                        resumes.setdefault(request.since.epoch, []).append(request)
                    else:
                        _answer(request, await self._read(channel, request.since, request.limit))
                for epoch, group in resumes.items():
                    await self._serve_resumes(channel, epoch, group)
        finally:
            del self._tasks[channel]
            # Only after a cancellation is anybody left; an answer given twice is prevented by the waiters.
            for request in self._waiting.pop(channel, []):
                _answer(request, None)

    async def _serve_resumes(self, channel: str, epoch: str, group: list[_Request]) -> None:
        """One read from the oldest position of ``group`` (all of one epoch) serves all that it can prove
        whole.
        """
        read: History | None = None
        while group:
            oldest = min(request.since.seq for request in group if request.since is not None)
            since = Position(epoch, oldest)
            read = await self._read(channel, since, None)
            if read is None or read.whole:
                break
            if read.position.epoch != epoch or oldest >= read.position.seq:
                break  # of another life, or ahead of the broker: all of them are
            # Too old; how many of them are, a read of everything tells.
            everything = await self._read(channel, None, None)
            floor = oldest
            if everything is not None and everything.publications:
                first = everything.publications[0]
                if first.epoch == epoch:
                    floor = max(oldest, first.seq - 2)
            self._too_old[channel] = Position(epoch, floor)
            rest = []
            for request in group:
                if request.since is not None and request.since.seq <= floor:
                    await self._answer_in_turn(request, read)
                else:
                    rest.append(request)
            group = rest
        for request in group:
            answer = read
            if read is not None and request.known is None and request.since is not None:
                newer = [p for p in read.publications if p.seq > request.since.seq]
                answer = read._replace(publications=newer)
            await self._answer_in_turn(request, answer)

    def _known(self, channel: str, request: _Request, since: Position) -> History | None:
        """An answer for which nothing has to be read."""
        if request.known is not None and (answer := request.known()) is not None:
            return answer
        too_old = self._too_old.get(channel)
        if too_old is not None and too_old.epoch == since.epoch and since.seq <= too_old.seq:
            return History(too_old if self.reached is None else self.reached(channel), [], whole=False)
        return None

    async def _answer_in_turn(self, request: _Request, history: History | None) -> None:
        """Answer; those who come next may have to wait for the loop's next turn."""
        _answer(request, history)
        now = asyncio.get_running_loop().time()
        if now - self._answering_since > ANSWERING_SECONDS:
            await asyncio.sleep(0)
            self._answering_since = asyncio.get_running_loop().time()

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
