"""Looking back: a channel's position and history, read from Redis in one step and proven whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import hiredis

from omega_ai.core.identifiers import new_epoch
from omega_ai.data_feed.broker.base import History, Position, Publication
from omega_ai.data_feed.broker.redis_connection import RedisConnection
from omega_ai.data_feed.broker.redis_script import POSITION, POSITION_SHA, keys_of

_NOTHING = Position("", 0)

AT_ONCE = 1000
"""Messages of a history that are taken in before the event loop has its turn."""


class Reader:
    """Reads on whatever connection ``connection`` gives.

    Args:
        connection: the present connection; raises BrokerUnreachable while there is none.
        run_id: of the Redis process at its end.
        history_messages: the bound of a channel's history.
    """

    def __init__(
        self,
        connection: Callable[[], RedisConnection],
        run_id: Callable[[], str],
        history_messages: int,
    ) -> None:
        self._connection = connection
        self._run_id = run_id
        self._vouched: set[str] = set()
        # The stream is cut in whole nodes, so it may hold somewhat more than the bound.
        self._most = 2 * max(history_messages, 1) + 1000

    async def position(self, channel: str, seen: Position = _NOTHING) -> Position:
        """The newest message's position; a channel that never had one gets its epoch.

        ``seen`` is what this process itself was given by Redis, never what a client claims: if Redis has gone
        back behind it, a new epoch begins.

        Raises:
            ConnectionLost, hiredis.ReplyError: Redis is away or refuses.
        """
        keys = keys_of(channel)
        tail = ("2", keys.meta, keys.stream, new_epoch(), self._run_id(), *seen)
        connection = self._connection()
        try:
            answer = await connection.call("EVALSHA", POSITION_SHA, *tail)
        except hiredis.ReplyError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
            answer = await connection.call("EVAL", POSITION, *tail)
        epoch, seq, run = answer[:3]
        (self._vouched.add if run == self._run_id().encode() else self._vouched.discard)(channel)
        return Position(epoch.decode(), int(seq))

    def vouched(self, channel: str) -> bool:
        """Whether the position read last is that of the newest message, for certain.

        It is when the Redis process that took the message is the one that was asked: it forgets nothing.
        """
        return channel in self._vouched

    async def peek(self, channels: list[str]) -> dict[str, Position]:
        """The positions of ``channels``, of those that have one, in one round trip."""
        replies = await self._connection().call_all(
            [("HMGET", keys_of(channel).meta, "epoch", "seq") for channel in channels]
        )
        return {
            channel: Position(reply[0].decode(), int(reply[1]))
            for channel, reply in zip(channels, replies, strict=True)
            if type(reply) is list and None not in reply
        }

    async def history(self, channel: str, since: Position | None, limit: int | None) -> History:
        """See ``Broker.history``.

        Raises:
            ConnectionLost, hiredis.ReplyError: Redis is away or refuses.
        """
        position = await self.position(channel)
        if since is not None and not (since.epoch == position.epoch and since.seq <= position.seq):
            return History(position, [], whole=False)
        most = self._most if limit is None else min(max(limit, 0), self._most)
        if position.seq == 0 or (since is not None and since.seq == position.seq):
            return History(position, [], whole=True)
        stream = keys_of(channel).stream
        if since is None:
            # COUNT 0 would mean "all".
            read = ("XREVRANGE", stream, "+", "-", "COUNT", max(most, 1))
        else:
            read = ("XRANGE", stream, f"{since.seq + 1}-0", "+", "COUNT", self._most)
        replies = await self._connection().call_all(
            [("MULTI",), ("HMGET", keys_of(channel).meta, "epoch", "seq"), read, ("EXEC",)]
        )
        for reply in replies[:3]:
            if isinstance(reply, hiredis.ReplyError):
                raise reply
        if isinstance(replies[3], hiredis.ReplyError):
            raise replies[3]
        (epoch, seq), entries = replies[3]
        if isinstance(entries, hiredis.ReplyError):
            raise entries
        if epoch is None or seq is None:
            return History(position, [], whole=False)
        position = Position(epoch.decode(), int(seq))
        publications: list[Publication] = []
        for first in range(0, len(entries), AT_ONCE):
            publications += _publications(channel, position, entries[first : first + AT_ONCE])
            if first + AT_ONCE < len(entries):
                await asyncio.sleep(0)  # a long history must not hold up what is live
        if since is None:
            publications.reverse()
            publications = _tail_without_gap(publications, position.seq)
            return History(
                position, publications[len(publications) - min(most, len(publications)) :], whole=True
            )
        whole = (
            since.epoch == position.epoch
            and len(publications) == position.seq - since.seq
            and (not publications or publications[-1].seq == position.seq)
        )
        if not whole:
            return History(position, [], whole=False)
        if limit is not None and len(publications) > max(limit, 0):
            return History(position, publications[len(publications) - max(limit, 0) :], whole=False)
        return History(position, publications, whole=True)


def _publications(channel: str, position: Position, entries: list[Any]) -> list[Publication]:
    epoch = position.epoch
    return [
        Publication(channel, epoch, int(entry[: entry.index(b"-")]), fields[1]) for entry, fields in entries
    ]


def _tail_without_gap(publications: list[Publication], top: int) -> list[Publication]:
    """The longest end of ``publications`` that leads up to ``top`` without a gap."""
    expected = top
    start = len(publications)
    while start and publications[start - 1].seq == expected:
        start -= 1
        expected -= 1
    return publications[start:]
