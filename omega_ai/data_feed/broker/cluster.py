"""A broker in a Redis or Valkey Cluster (>= 7.0): each channel lives whole at the node of its hash slot.

All keys of a channel share a hash tag, so one node has them and its script stays one step. Messages go by
sharded pub/sub (``SPUBLISH``), which stays within the shard, where plain pub/sub of a cluster goes to every
node. A channel is therefore a ``RedisBroker`` of its own, with its own connections: when one node fails, the
channels of the others do not notice. Order is kept within each channel, as everywhere.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from typing import Any

from omega_ai.core.clock import Clock
from omega_ai.data_feed.broker.base import (
    BrokerClosed,
    BrokerError,
    BrokerStatus,
    Claim,
    Deliver,
    History,
    Position,
    check_channel,
)
from omega_ai.data_feed.broker.redis import RedisBroker
from omega_ai.data_feed.broker.redis_place import Slot, cluster_of, slot_of
from omega_ai.data_feed.observability.histogram import merge_readings

LEASE = "lease"
"""The hash tag of the lease's key; no channel of the feed has this name."""

MAX_CHANNELS = 64
"""Two connections each: a bound on what names can be made to cost."""


class ClusterBroker:
    """See the module's text and ``LeasedBroker``.

    Args:
        url: ``redis+cluster://`` or ``rediss+cluster://`` (see ``redis_place``).
        clock, rng, options: as of ``RedisBroker``; bounds are per channel.

    Raises:
        InvalidAddress: the URL says nothing that could be connected to.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        rng: random.Random | None = None,
        timeout: float = 5.0,
        **options: Any,
    ) -> None:
        self.url = url
        self._rng = rng or random.Random()
        self._cluster = cluster_of(url, self._rng)
        self._clock = clock
        self._timeout = timeout
        self._options = options
        self._parts: dict[str, RedisBroker] = {}
        self._starts: dict[str, asyncio.Task[None]] = {}
        self._term: tuple[int, Callable[[], None]] | None = None
        self._closed = False

    async def start(self) -> None:
        """Find the nodes; each channel is connected to when it is first used.

        Raises:
            BrokerUnreachable: no node answers, or it is none of a cluster.
        """
        if self._closed:
            raise BrokerClosed("the Redis broker is closed")
        await self._cluster.slots(self._timeout)

    async def close(self) -> None:
        """Write what waits (5 s at most), then disconnect."""
        self._closed = True
        for task in self._starts.values():
            if not task.done():
                task.cancel()
        await asyncio.gather(*self._starts.values(), return_exceptions=True)
        await asyncio.gather(*(part.close() for part in self._parts.values()))

    def publish(self, channel: str, body: bytes) -> None:
        """See ``Broker.publish``."""
        self._part(channel).publish(channel, body)

    async def flush(self) -> None:
        """Wait until Redis has taken all that was published."""
        await asyncio.gather(*(part.flush() for part in list(self._parts.values())))

    async def subscribe(self, channels: Iterable[str], deliver: Deliver) -> dict[str, Position]:
        """See ``Broker.subscribe``.

        Raises:
            BrokerError: a node is away or refuses.
        """
        positions: dict[str, Position] = {}
        for channel in channels:
            positions |= await (await self._ready(channel)).subscribe([channel], deliver)
        # Whatever was delivered while the later ones were joined belongs after the position of then.
        return positions

    async def history(self, channel: str, since: Position | None = None, limit: int | None = None) -> History:
        """See ``Broker.history``."""
        return await (await self._ready(channel)).history(channel, since, limit)

    async def claim(self, holder: str, seconds: float, floor: int = 0) -> Claim:
        """See ``LeasedBroker.claim``."""
        return await (await self._ready(LEASE)).claim(holder, seconds, floor)

    async def release(self, holder: str) -> None:
        """See ``LeasedBroker.release``."""
        await (await self._ready(LEASE)).release(holder)

    async def fence(self, channels: Iterable[str], token: int) -> int:
        """See ``LeasedBroker.fence``."""
        parts = [(channel, await self._ready(channel)) for channel in channels]
        return max(await asyncio.gather(*(part.fence([channel], token) for channel, part in parts)))

    def begin_term(self, token: int, deposed: Callable[[], None]) -> None:
        """See ``LeasedBroker.begin_term``."""
        self._term = token, deposed
        for part in self._parts.values():
            part.begin_term(token, deposed)

    def status(self) -> BrokerStatus:
        """The first channel that does not fare well speaks for all."""
        if self._closed:
            return BrokerStatus(False, "closed")
        told = [part.status() for part in self._parts.values()]
        names = ", ".join(f"{node.host}:{node.port}" for node in self._cluster.seeds)
        fine = BrokerStatus(True, f"connected to the Redis cluster of {names}")
        spokesman = next((status for status in told if not status.connected), fine)
        return spokesman._replace(
            buffered=sum(status.buffered for status in told),
            reconnects=sum(status.reconnects for status in told),
            latency=merge_readings([status.latency for status in told if status.latency is not None]),
        )

    async def ping(self) -> float:
        """The longest round trip of all nodes in use, in seconds."""
        times = await asyncio.gather(*(part.ping() for part in self._parts.values()))
        if not times:
            raise BrokerError("no channel is in use yet")
        return max(times)

    def _part(self, channel: str) -> RedisBroker:
        part = self._parts.get(channel)
        if part is None:
            if self._closed:
                raise BrokerClosed("the Redis broker is closed")
            check_channel(channel)
            if len(self._parts) >= MAX_CHANNELS:
                raise BrokerError(f"more than {MAX_CHANNELS} channels in a cluster")
            part = self._parts[channel] = RedisBroker(
                self.url,
                clock=self._clock,
                rng=self._rng,
                timeout=self._timeout,
                slot=Slot(self._cluster, slot_of(channel)),
                **self._options,
            )
            if self._term is not None:
                part.begin_term(*self._term)
            self._starts[channel] = asyncio.get_running_loop().create_task(self._start(part))
        return part

    async def _start(self, part: RedisBroker) -> None:
        """Connect, for as long as it takes: meanwhile publications wait."""
        while True:
            try:
                await part.start()
            except BrokerError:
                await asyncio.sleep(self._rng.uniform(0.05, 0.5))
            else:
                return

    async def _ready(self, channel: str) -> RedisBroker:
        part = self._part(channel)
        try:
            async with asyncio.timeout(self._timeout):
                await asyncio.shield(self._starts[channel])
        except TimeoutError:
            raise BrokerError(part.status().detail) from None
        return part
