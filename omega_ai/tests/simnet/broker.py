"""A broker on another machine: the memory broker, with a way to it that takes time and can break."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Iterable
from typing import Any

from omega_ai.data_feed.broker.base import (
    BrokerStatus,
    BrokerUnreachable,
    Deliver,
    History,
    Position,
    Publication,
    PublishBufferFull,
)
from omega_ai.data_feed.broker.memory import MemoryBroker

AWAY_S = 0.001
"""Seconds to the broker, one way."""


class Central:
    """The machine with the broker. ``forget`` restarts it with nothing in its memory: a new epoch."""

    def __init__(self, clock: Any, rng: Any) -> None:
        self._clock = clock
        self._rng = rng
        self.ends: list[DistantBroker] = []
        self.broker = self._new()

    def forget(self) -> None:
        """All history is gone."""
        self.broker = self._new()
        for end in self.ends:
            end.follow()

    def _new(self) -> MemoryBroker:
        return MemoryBroker(clock=self._clock, rng=self._rng)

    def publish(self, channel: str, body: bytes) -> None:
        """As a source does that runs beside the broker."""
        self.broker.publish(channel, body)


class DistantBroker:
    """What a server process has of it; see ``broker.base.Broker``.

    ``cut`` breaks the way: nothing comes, and looking back fails. Once it is ``mended``, what was missed is
    read from the history, as the Redis broker does; if that is not whole, the next message shows it.
    """

    def __init__(self, central: Central, alive: Any) -> None:
        self._central = central
        self._alive = alive
        self._connected = True
        self._deliver: Deliver | None = None
        self._at: dict[str, Position] = {}
        self._following: MemoryBroker | None = None
        self._closed = False
        self._catching_up = 0
        self._early: list[Publication] = []
        self._context = contextvars.copy_context()
        """The server's process: what comes from the broker happens there."""
        central.ends.append(self)

    async def start(self) -> None:
        await asyncio.sleep(2 * AWAY_S)

    async def close(self) -> None:
        self._closed = True
        if self in self._central.ends:
            self._central.ends.remove(self)

    def publish(self, channel: str, body: bytes) -> None:
        if not self._connected:
            raise PublishBufferFull("the broker is away")
        asyncio.get_running_loop().call_later(AWAY_S, lambda: self._central.publish(channel, body))

    async def flush(self) -> None:
        await asyncio.sleep(2 * AWAY_S)

    async def subscribe(self, channels: Iterable[str], deliver: Deliver) -> dict[str, Position]:
        await asyncio.sleep(AWAY_S)
        self._deliver = deliver
        self._at = dict.fromkeys(channels, Position("", 0))
        self._at = await self._subscribe()
        return dict(self._at)

    async def _subscribe(self) -> dict[str, Position]:
        broker = self._central.broker
        self._following = broker
        loop = asyncio.get_running_loop()

        def relay(publication: Publication) -> None:
            if self._following is broker and self._connected and self._alive():
                loop.call_later(AWAY_S, self._arrived, publication, context=self._context)

        return await broker.subscribe(list(self._at), relay)

    def _arrived(self, publication: Publication) -> None:
        if self._catching_up:
            self._early.append(publication)
        else:
            self._hand_on(publication)

    def _hand_on(self, publication: Publication) -> None:
        if self._deliver is not None and not self._closed:
            at = self._at[publication.channel]
            if at.epoch == publication.epoch and publication.seq <= at.seq:
                return
            self._at[publication.channel] = Position(publication.epoch, publication.seq)
            self._deliver(publication)

    async def history(self, channel: str, since: Position | None = None, limit: int | None = None) -> History:
        await asyncio.sleep(2 * AWAY_S)
        if not self._connected:
            raise BrokerUnreachable("the broker is away")
        return await self._central.broker.history(channel, since, limit)

    def status(self) -> BrokerStatus:
        return BrokerStatus(self._connected, "simulated")

    async def ping(self) -> float:
        return 2 * AWAY_S

    def cut(self) -> None:
        """The way to the broker breaks."""
        self._connected = False

    def mend(self) -> None:
        """It works again."""
        if not self._connected:
            self._connected = True
            self.follow()

    def follow(self) -> None:
        """Subscribe anew, and read what was missed."""
        if self._connected and self._alive() and self._deliver is not None:
            self._catching_up += 1
            loop = asyncio.get_running_loop()
            self._task = loop.create_task(self._catch_up(), context=self._context)

    async def _catch_up(self) -> None:
        try:
            await self._fill()
        finally:
            self._catching_up -= 1
        if not self._catching_up:
            early, self._early = self._early, []
            for publication in early:
                if publication.epoch == self._central.broker._epoch:  # not what an older one still sent
                    self._hand_on(publication)

    async def _fill(self) -> None:
        if self._following is not self._central.broker:
            await self._subscribe()
        await asyncio.sleep(2 * AWAY_S)
        before = dict(self._at)
        for channel, since in before.items():
            history = await self._central.broker.history(channel, since)
            if not history.whole:
                history = await self._central.broker.history(channel, limit=1)
            for publication in history.publications:
                self._hand_on(publication)
