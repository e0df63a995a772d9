"""The subscribing side: one pub/sub connection a process, gaps filled from the stream before anything newer.

Each channel is either *live* (what arrives continues what was delivered and is delivered at once) or
*filling* (what arrives is held until the history has shown what came before it).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from typing import Any

import hiredis

from omega_ai.data_feed.broker.base import (
    BrokerError,
    Deliver,
    History,
    Position,
    Publication,
    check_channel,
)
from omega_ai.data_feed.broker.redis_connection import RedisConnection
from omega_ai.data_feed.broker.redis_reader import Reader
from omega_ai.data_feed.broker.redis_script import keys_of

_log = logging.getLogger(__name__)

HELD_MESSAGES = 20_000
HELD_BYTES = 64 * 1_048_576
_RETRY_SECONDS = 0.1
_FILLS = 5
"""Gaps filled one after the other before the channel is let go on with a jump."""


_UNKNOWN = Position("", 0)
"""The position of a channel before it was first read; no epoch has an empty name."""


class _Channel:
    __slots__ = (
        "behind",
        "delivers",
        "fill",
        "filling",
        "head",
        "held",
        "held_bytes",
        "joined",
        "live",
        "name",
        "position",
        "prefix",
        "refused",
        "round",
        "vouched",
    )

    def __init__(self, name: str, live: bytes) -> None:
        self.name = name
        self.live = live
        self.head = b'{"type":"%b","epoch":"' % name.encode()
        self.prefix = b""
        self.position = _UNKNOWN
        """Of what was delivered last."""
        self.delivers: tuple[Deliver, ...] = ()
        self.filling = True
        self.fill: asyncio.Task[None] | None = None
        self.round = 0
        """Counts the reasons to fill; a filling begun before the newest of them proves nothing."""
        self.held: deque[Publication] = deque()
        self.held_bytes = 0
        self.joined = asyncio.Event()
        self.refused: str | None = None
        self.vouched = False
        """The position is, or follows on, one that was the newest when it was taken."""
        self.behind: Position | None = None
        """What Redis had at the last check when it was ahead of us."""


class Subscriber:
    """Delivers what is published.

    Args:
        reader: reads positions and history.
        join: the command that joins a live channel; ``SSUBSCRIBE`` in a cluster.
    """

    def __init__(self, reader: Reader, join: str = "SUBSCRIBE") -> None:
        self._reader = reader
        self._join = join
        self._channels: dict[str, _Channel] = {}
        self._by_live: dict[bytes, _Channel] = {}
        self._connection: RedisConnection | None = None
        self._joining = asyncio.Lock()
        self.strange = 0
        """Arrivals on a live channel that are no messages of ours."""
        self.filled = 0
        """Gaps filled from the history."""
        self.jumps = 0
        """Gaps that could not be filled."""

    def position(self, name: str) -> Position | None:
        """Of what was delivered last on channel ``name``, if it can vouch for Redis having forgotten nothing.

        What was read from a Redis that had been restarted before cannot: it may have been cut short by then.
        """
        channel = self._channels.get(name)
        return channel.position if channel is not None and channel.vouched else None

    def connected(self, connection: RedisConnection) -> None:
        """Join every channel on ``connection``; what was missed since the last one is filled in."""
        self._connection = connection
        for channel in self._channels.values():
            channel.joined.clear()
            connection.write(self._join, channel.live)

    async def close(self) -> None:
        """Deliver nothing more."""
        tasks = [channel.fill for channel in self._channels.values() if channel.fill is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._channels.clear()
        self._by_live.clear()
        self._connection = None

    async def subscribe(self, names: Iterable[str], deliver: Deliver) -> dict[str, Position]:
        """See ``Broker.subscribe``.

        Raises:
            ConnectionLost, hiredis.ReplyError: Redis is away or refuses.
        """
        wanted = list(dict.fromkeys(names))
        for name in wanted:
            check_channel(name)
        async with self._joining:
            # Join first, read the position after: what is published in between is held, and then is known.
            for name in wanted:
                if name not in self._channels:
                    channel = _Channel(name, keys_of(name).live)
                    self._channels[name] = channel
                    self._by_live[channel.live] = channel
                    if self._connection is not None:
                        self._connection.write(self._join, channel.live)
            for name in wanted:
                channel = self._channels[name]
                await channel.joined.wait()
                if channel.refused is not None:
                    for refused in [c for c in self._channels.values() if c.refused is not None]:
                        del self._channels[refused.name], self._by_live[refused.live]
                    raise BrokerError(channel.refused)
                if channel.position is _UNKNOWN:
                    self._place(channel, await self._reader.position(name))
                    channel.vouched = self._reader.vouched(name)
                    self._settle(channel)
            # No await from here on: positions and joining are one step.
            positions: dict[str, Position] = {}
            for name in wanted:
                channel = self._channels[name]
                positions[name] = channel.position
                channel.delivers = (*channel.delivers, deliver)
            return positions

    def arrived(self, reply: list[Any]) -> None:
        """Take what came on the pub/sub connection."""
        kind = reply[0]
        if kind in (b"message", b"smessage"):
            channel = self._by_live.get(reply[1])
            if channel is not None:
                self._message(channel, reply[2])
        elif kind in (b"subscribe", b"ssubscribe"):
            channel = self._by_live.get(reply[1])
            if channel is not None:
                channel.joined.set()
                if channel.position is not _UNKNOWN:
                    self._begin_fill(channel)
        elif kind == b"sunsubscribe" and self._connection is not None:
            self._connection.abort()  # The slot has moved; the next connection leads to its new node.
        elif kind == b"error":
            for channel in self._channels.values():
                if not channel.joined.is_set():
                    channel.refused = reply[1].decode("utf-8", "replace")
                    channel.joined.set()

    async def check(self) -> None:
        """Look for publications that never arrived although the connection seems well; call it now and then.

        A channel counts as behind when it has not reached by one check what Redis had at the check before.

        Raises:
            ConnectionLost: Redis is away.
        """
        live = {c.name: c for c in self._channels.values() if not c.filling}
        if not live:
            return
        tops = await self._reader.peek(list(live))
        for name, channel in live.items():
            at, top, before = channel.position, tops.get(name), channel.behind
            channel.behind = None
            if channel.filling or top is None or not _ahead(top, at):
                continue
            if before is not None and _ahead(before, at):
                self._begin_fill(channel)
            else:
                channel.behind = top

    def _message(self, channel: _Channel, message: bytes) -> None:
        prefix = channel.prefix
        at = channel.position
        try:
            if prefix and message.startswith(prefix):
                epoch, start = at.epoch, len(prefix)
            else:
                if not message.startswith(channel.head):
                    raise ValueError("no message of this channel")
                end = message.index(b'","seq":', len(channel.head))
                epoch, start = message[len(channel.head) : end].decode("ascii"), end + 8
            comma = message.find(b",", start, start + 20)
            seq = int(message[start:comma] if comma > 0 else message[start:-1])
        except ValueError:
            self.strange += 1
            return
        channel.vouched = True  # Just taken by the Redis that runs now: what it had lost before, it has lost.
        if not channel.filling and epoch == at.epoch:
            if seq == at.seq + 1:
                channel.position = Position(epoch, seq)
                self._deliver(channel, Publication(channel.name, epoch, seq, message))
                return
            if seq <= at.seq:
                return
        # A gap or another epoch. Which of two epochs is the newer one only Redis can tell.
        self._keep(channel, Publication(channel.name, epoch, seq, message))
        if not channel.filling:
            self._begin_fill(channel)

    def _deliver(self, channel: _Channel, publication: Publication) -> None:
        for deliver in channel.delivers:
            try:
                deliver(publication)
            except Exception:
                _log.exception("a subscriber of %s failed", channel.name)

    def _place(self, channel: _Channel, position: Position) -> None:
        if channel.position.epoch != position.epoch:
            channel.prefix = b'%b%b","seq":' % (channel.head, position.epoch.encode())
        channel.position = position

    def _keep(self, channel: _Channel, publication: Publication) -> None:
        held = channel.held
        held.append(publication)
        channel.held_bytes += len(publication.message)
        while len(held) > HELD_MESSAGES or channel.held_bytes > HELD_BYTES:
            # What is let go here is found in the history, if that keeps it, by the next round of filling.
            channel.held_bytes -= len(held.popleft().message)

    def _settle(self, channel: _Channel) -> None:
        """Go live: what came after the position has arrived, or will, since the channel was joined before."""
        if channel.fill is None and self._release(channel):
            channel.held_bytes = 0
            channel.filling = False
        else:
            self._begin_fill(channel)

    def _begin_fill(self, channel: _Channel) -> None:
        channel.filling = True
        channel.round += 1
        if channel.fill is None:
            channel.fill = asyncio.get_running_loop().create_task(self._fill(channel))

    async def _fill(self, channel: _Channel) -> None:
        """Deliver what was missed, then what is held; after that the channel is live."""
        gaps = 0
        while True:
            this_round = channel.round
            # All that has arrived so far was published before the reading below, which will therefore show it
            # or something newer. What arrives during the reading is compared with it afterwards.
            channel.held.clear()
            channel.held_bytes = 0
            try:
                history, whole = await self._missed(channel)
            except (BrokerError, hiredis.ReplyError):
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            if channel.round != this_round:
                continue
            # No await from here on: replay and live meet in one step.
            self.filled += bool(history.publications)
            self.jumps += not whole
            for publication in history.publications:
                self._place(channel, Position(publication.epoch, publication.seq))
                self._deliver(channel, publication)
            self._place(channel, history.position)
            if self._release(channel) or gaps >= _FILLS:
                for publication in channel.held:
                    self._place(channel, Position(publication.epoch, publication.seq))
                    self._deliver(channel, publication)
                channel.held.clear()
                channel.held_bytes = 0
                channel.filling = False
                channel.fill = None
                return
            gaps += 1

    async def _missed(self, channel: _Channel) -> tuple[History, bool]:
        """What is to be delivered next, and whether it continues what was delivered before."""
        at = channel.position
        await self._reader.position(channel.name, at)
        history = await self._reader.history(channel.name, at, None)
        if history.whole:
            return history, True
        if history.position.epoch != at.epoch:
            history = await self._reader.history(channel.name, Position(history.position.epoch, 0), None)
            if history.whole:
                return history, False
        # Beyond recovery. The newest message alone shows the jump and is the present state.
        return await self._reader.history(channel.name, None, 1), False

    def _release(self, channel: _Channel) -> bool:
        """Deliver what is held as far as it continues; False when it does not."""
        held = channel.held
        while held:
            at, publication = channel.position, held[0]
            if publication.epoch != at.epoch or publication.seq > at.seq + 1:
                return False
            held.popleft()
            if publication.seq == at.seq + 1:
                channel.position = Position(publication.epoch, publication.seq)
                self._deliver(channel, publication)
        return True


def _ahead(top: Position, at: Position) -> bool:
    return top.epoch != at.epoch or top.seq > at.seq
