"""The publishing side: an ordered, bounded buffer, and one pipeline at a time from it to Redis."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any

import hiredis

from omega_ai.core.identifiers import new_connection_id, new_epoch
from omega_ai.data_feed.broker.base import (
    MAX_BODY_BYTES,
    BrokerClosed,
    Position,
    PublishBufferFull,
    check_body,
    check_channel,
)
from omega_ai.data_feed.broker.redis_connection import ELSEWHERE, Command, RedisConnection
from omega_ai.data_feed.broker.redis_script import PUBLISH, PUBLISH_SHA, keys_of
from omega_ai.data_feed.observability.histogram import LatencyHistogram

PIPELINE_MESSAGES = 512
"""Publications in one round trip at most: what Redis does in about ten milliseconds."""

PIPELINE_BYTES = 1_048_576
_RETRY_SECONDS = 0.2


class Server:
    """What a connection learned about the Redis process at its end."""

    __slots__ = ("durable", "run_id")

    def __init__(self, run_id: str, durable: bool) -> None:
        self.run_id = run_id
        self.durable = durable


class _Channel:
    __slots__ = ("accepted", "body_heads", "cut", "fresh", "keys", "known", "name", "trims", "written")

    def __init__(self, name: str) -> None:
        self.name = name
        self.keys = keys_of(name)
        head = b'{"type":"%b"' % name.encode()
        self.body_heads = (head + b",", head + b"}")
        self.cut = len(head)
        self.accepted = 0
        """Number of the newest publication accepted."""
        self.known = Position("", 0)
        """Where the newest answered publication went."""
        self.fresh = False
        """A publication was refused for want of room: the next accepted one begins an epoch."""
        self.written = 0
        """Bytes of bodies answered so far."""
        self.trims: deque[tuple[float, Position, int]] = deque()
        """Now and then (time, known, written), by which old history is cut off."""


class _Term:
    """Under which name and fencing token publications are made; ``0`` is no token."""

    __slots__ = ("publisher", "token")

    def __init__(self, token: int) -> None:
        self.publisher = new_connection_id().encode()
        self.token = b"%d" % token


class _Entry:
    __slots__ = ("at", "body", "channel", "fresh", "number", "ordinal", "term")

    def __init__(
        self, channel: _Channel, term: _Term, number: int, ordinal: int, body: bytes, fresh: bool, at: float
    ) -> None:
        self.at = at
        self.channel = channel
        self.term = term
        self.number = number
        self.ordinal = ordinal
        self.body = body
        self.fresh = fresh


class Writer:
    """Takes publications and writes them in order, each exactly once as far as Redis remembers.

    Args:
        now: monotonic seconds.
        seen: what the subscribing side knows of a channel's position, if anything.
        refused: told the error text when Redis refuses a publication, and None when it takes them again.
        fenced: told that publications were dropped because another publisher has taken the lease.
        history_messages, history_seconds, history_bytes: the bounds of a channel's history.
        buffer_messages, buffer_bytes: the bounds of what waits while Redis is away.
        publish: the command that sends to a live channel; ``SPUBLISH`` in a cluster.
    """

    def __init__(
        self,
        *,
        now: Callable[[], float],
        seen: Callable[[str], Position | None],
        refused: Callable[[str | None], None],
        fenced: Callable[[], None],
        history_messages: int,
        history_seconds: float,
        history_bytes: int,
        buffer_messages: int,
        buffer_bytes: int,
        publish: bytes = b"PUBLISH",
    ) -> None:
        self._now = now
        self._publish = publish
        self._seen = seen
        self._refused = refused
        self._fenced = fenced
        self._maxlen = str(max(history_messages, 1)).encode()
        self._history_seconds = history_seconds
        self._history_bytes = history_bytes
        self._buffer_messages = buffer_messages
        self._buffer_bytes = buffer_bytes
        self._term = _Term(0)
        self._channels: dict[str, _Channel] = {}
        self._buffer: deque[_Entry] = deque()
        self._bytes = 0
        self._ordinal = 0
        self._connection: RedisConnection | None = None
        self._server = Server("", durable=False)
        self._busy = False
        self._retry: asyncio.TimerHandle | None = None
        self._flushes: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self.dropped = 0
        """Publications refused because the buffer was full."""
        self.stale = 0
        """Publications dropped because they carried a stale fencing token."""
        self.latency = LatencyHistogram()
        """From acceptance to Redis' answer; what shares a round trip counts as its oldest."""

    def __len__(self) -> int:
        return len(self._buffer)

    def publish(self, name: str, body: bytes) -> None:
        """Queue a publication; see ``Broker.publish``."""
        channel = self._channels.get(name)
        if channel is None:
            check_channel(name)
            channel = self._channels[name] = _Channel(name)
        if not body.startswith(channel.body_heads) or len(body) > MAX_BODY_BYTES:
            check_body(name, body)
        if self._closed:
            raise BrokerClosed("the Redis broker is closed")
        if len(self._buffer) >= self._buffer_messages or self._bytes + len(body) > self._buffer_bytes:
            channel.fresh = True
            self.dropped += 1
            raise PublishBufferFull(
                f"{len(self._buffer)} publications ({self._bytes} bytes) wait for Redis; no more are taken"
            )
        channel.accepted += 1
        self._ordinal += 1
        entry = _Entry(channel, self._term, channel.accepted, self._ordinal, body, channel.fresh, self._now())
        self._buffer.append(entry)
        self._bytes += len(body)
        channel.fresh = False
        if not self._busy and self._connection is not None and self._loop is not None:
            # Whatever else is published in this turn of the loop goes in the same round trip.
            self._busy = True
            self._loop.call_soon(self._drain)

    def begin_term(self, token: int) -> None:
        """Publish under ``token`` from now on; what waits keeps its own, and may be refused for it.

        Under another publisher's name as well: a number that was dropped must not look like a loss.
        """
        self._term = _Term(token)
        for channel in self._channels.values():
            channel.accepted = 0

    def connected(self, connection: RedisConnection, server: Server) -> None:
        """Write on ``connection`` from now on."""
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._server = server
        if not self._busy:
            self._drain()

    def disconnected(self) -> None:
        """Wait for the next connection."""
        self._connection = None

    async def flush(self) -> None:
        """Wait until all that is queued now has been answered."""
        if not self._buffer:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flushes.append((self._ordinal, future))
        await future

    async def close(self, timeout: float) -> None:  # noqa: ASYNC109 - a bound, not a deadline
        """Write what waits, for ``timeout`` seconds at most, and be forgotten by Redis."""
        if self._closed:
            return
        self._closed = True
        try:
            async with asyncio.timeout(timeout):
                await self.flush()
                if self._connection is not None:
                    field = b"p:" + self._term.publisher
                    forget: list[Command] = [("HDEL", c.keys.meta, field) for c in self._channels.values()]
                    if forget and self._connection is not None:
                        await self._connection.call_all(forget)
        finally:
            if self._retry is not None:
                self._retry.cancel()
            self._connection = None
            for _, future in self._flushes:
                if not future.done():
                    future.set_exception(BrokerClosed("closed before everything was written"))
            self._flushes.clear()

    def _drain(self) -> None:
        self._retry = None
        self._busy = False
        connection = self._connection
        if connection is None or not self._buffer:
            return
        batch: list[_Entry] = []
        commands: list[Command] = []
        firsts: dict[str, bytes] = {}
        size = 0
        term = self._buffer[0].term
        for entry in islice(self._buffer, PIPELINE_MESSAGES):
            if entry.term is not term:
                break
            channel = entry.channel
            first = firsts.get(channel.name)
            if first is None:
                first = firsts[channel.name] = b"%d" % entry.number
                known = self._known(channel)
                # A new name for each attempt: one already used must not be begun again.
                candidate = new_epoch()
            elif entry.fresh:
                break  # Only a first one may begin an epoch.
            else:
                candidate, known = "", Position("", 0)
            size += len(entry.body)
            if batch and size > PIPELINE_BYTES:
                break
            batch.append(entry)
            commands.append(
                (
                    b"EVALSHA",
                    PUBLISH_SHA,
                    b"4",
                    *channel.keys,
                    term.publisher,
                    b"%d" % entry.number,
                    first,
                    candidate,
                    self._server.run_id,
                    b"1" if self._server.durable else b"0",
                    known.epoch,
                    known.seq,
                    b"1" if entry.fresh else b"0",
                    self._maxlen,
                    channel.cut,
                    entry.body,
                    self._publish,
                    term.token,
                )
            )
        trims = self._trims(firsts)
        self._busy = True
        connection.pipeline(commands + trims, lambda replies: self._answered(connection, batch, replies))

    def _known(self, channel: _Channel) -> Position:
        seen = self._seen(channel.name)
        known = channel.known
        if seen is not None and (not known.epoch or (seen.epoch == known.epoch and seen.seq > known.seq)):
            return seen
        return known

    def _answered(self, connection: RedisConnection, batch: list[_Entry], replies: list[Any] | None) -> None:
        self._busy = False
        if replies is None:
            # The connection is gone and with it the knowledge of what was taken; all stays for the next one.
            if self._connection is connection:
                self._connection = None
            return
        left: list[_Entry] = []
        error: hiredis.ReplyError | None = None
        stale = 0
        for entry, reply in zip(batch, replies, strict=False):
            channel = entry.channel
            if type(reply) is int and reply:
                channel.known = Position(channel.known.epoch, reply)
            elif type(reply) is list:
                channel.known = Position(reply[0].decode(), int(reply[1]))
            elif isinstance(reply, hiredis.ReplyError) and str(reply).startswith("STALE"):
                stale += 1
            else:
                if isinstance(reply, hiredis.ReplyError) and error is None:
                    error = reply
                left.append(entry)
                continue
            channel.written += len(entry.body)
            self._bytes -= len(entry.body)
        self.latency.record(self._now() - batch[0].at, len(batch) - len(left))
        buffer = self._buffer
        for _ in batch:
            buffer.popleft()
        buffer.extendleft(reversed(left))
        self._wake_flushes()
        if stale:
            self.stale += stale
            self._fenced()
        if error is None:
            self._refused(None)
            self._drain()
        else:
            self._recover(str(error))

    def _recover(self, text: str) -> None:
        connection, loop = self._connection, self._loop
        if connection is None or loop is None:
            return
        self._busy = True
        if text.startswith("NOSCRIPT"):
            connection.pipeline([("SCRIPT", "LOAD", PUBLISH)], self._loaded)
            return
        self._refused(text)
        if text.startswith((*ELSEWHERE, "NOAUTH")):
            connection.abort()  # Another connection may lead to whoever is primary now.
        self._retry = loop.call_later(_RETRY_SECONDS, self._drain)

    def _loaded(self, replies: list[Any] | None) -> None:
        if replies is not None and isinstance(replies[0], hiredis.ReplyError):
            self._recover(str(replies[0]))
        else:
            self._drain()

    def _wake_flushes(self) -> None:
        oldest = self._buffer[0].ordinal if self._buffer else self._ordinal + 1
        while self._flushes and self._flushes[0][0] < oldest:
            future = self._flushes.popleft()[1]
            if not future.done():
                future.set_result(None)

    def _trims(self, firsts: dict[str, bytes]) -> list[Command]:
        """Cut off what is too old or too much, roughly: at sixty marks a history's length."""
        now = self._now()
        commands: list[Command] = []
        for name in firsts:
            channel = self._channels[name]
            trims = channel.trims
            if (
                trims
                and now - trims[-1][0] < self._history_seconds / 60
                and channel.written - trims[-1][2] < self._history_bytes // 60
            ):
                continue
            if trims and channel.known.epoch != trims[-1][1].epoch:
                trims.clear()
            trims.append((now, channel.known, channel.written))
            seq = 0
            while len(trims) > 1 and (
                trims[0][0] < now - self._history_seconds
                or channel.written - trims[0][2] > self._history_bytes
            ):
                seq = trims.popleft()[1].seq
            if seq:
                commands.append(("XTRIM", channel.keys.stream, "MINID", f"{seq}-0"))
        return commands
