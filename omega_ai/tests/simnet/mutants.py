"""Bugs put in on purpose, each where it would hurt: the proof that chaos in virtual time finds such."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from omega_ai.client.conversation import Conversation
from omega_ai.data_feed.websocket.hub import Hub
from omega_ai.data_feed.websocket.joining import Joining
from omega_ai.data_feed.websocket.outbox import Outbox


@contextmanager
def resume_short() -> Iterator[None]:
    """Hub: whoever resumes gets one message too few."""
    replay = Hub.replay

    def short(self: Any, session: Any, subscription: Any, since: Any, backlog: Any) -> None:
        later = since._replace(seq=since.seq + 1)
        replay(self, session, subscription, later if later.seq <= backlog.last else since, backlog)

    with mock.patch.object(Hub, "replay", short):
        yield


@contextmanager
def resume_long() -> Iterator[None]:
    """Hub: whoever resumes gets its last message again."""
    replay = Hub.replay

    def long(self: Any, session: Any, subscription: Any, since: Any, backlog: Any) -> None:
        earlier = since._replace(seq=since.seq - 1)
        known = self.backlog(subscription.channel, earlier) if earlier.seq > 0 else None
        if known is None:
            replay(self, session, subscription, since, backlog)
        else:
            replay(self, session, subscription, earlier, known)

    with mock.patch.object(Hub, "replay", long):
        yield


@contextmanager
def late_join() -> Iterator[None]:
    """Joining: what was missed is taken now, the channel is joined a little later."""
    joined = Joining._joined

    def late(self: Any, *arguments: Any, **named: Any) -> None:
        def later() -> None:
            if not self._session.closed:
                joined(self, *arguments, **named)
                self._session.flush()

        asyncio.get_running_loop().call_later(0.05, later)

    with mock.patch.object(Joining, "_joined", late):
        yield


@contextmanager
def drops_tail() -> Iterator[None]:
    """Outbox: what still waits when the socket drains loses its last frame."""
    resume = Outbox.resume

    def short(self: Any) -> None:
        if self._queue and len(self._queue) > 1:
            self.queued_bytes -= len(self._queue.popitem()[1])
        resume(self)

    with mock.patch.object(Outbox, "resume", short):
        yield


@contextmanager
def silent_overflow() -> Iterator[None]:
    """Outbox: what does not fit is thrown away, and the client is not closed."""

    def put(self: Any, key: Any, data: bytes) -> None:
        if self._queue is None:
            self._queue = {}
        if self.queued_bytes + len(data) <= self._limit:
            self._queue[key] = data
            self.queued_bytes += len(data)

    with mock.patch.object(Outbox, "_put", put):
        yield


@contextmanager
def client_trusts_silence() -> Iterator[None]:
    """Client: a connection on which nothing comes any more is never given up."""
    with (
        mock.patch.object(Conversation, "tick", return_value=None),
        mock.patch.object(Conversation, "deadline", return_value=None),
    ):
        yield


MUTANTS: dict[str, Callable[[], Any]] = {
    "resume-short": resume_short,
    "resume-long": resume_long,
    "late-join": late_join,
    "drops-tail": drops_tail,
    "silent-overflow": silent_overflow,
    "client-trusts-silence": client_trusts_silence,
}
