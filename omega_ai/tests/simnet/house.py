"""A whole house in a simulation: a broker, servers that may die, clients on links of their own."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import structlog

from omega_ai.client import connect
from omega_ai.client.events import Connected, Disconnected, Gap, NotRecovered, Recovered
from omega_ai.data_feed import feed as feed_module
from omega_ai.data_feed.feed import Feed
from omega_ai.data_feed.settings import FeedSettings
from omega_ai.testkit.simnet import Link, Simulation
from omega_ai.tests.faults.clients import Client
from omega_ai.tests.faults.record import Place, Truth, Witness
from omega_ai.tests.simnet.broker import Central, DistantBroker

WINDOW = 1 << 14
"""Small, so that the feed's own queues fill."""
PORT = 9000
CLIENT_PORT = 10_000
SILENCE_S = 4.0
"""A raw client that hears nothing for so long takes its connection for dead."""
PAD = b"x" * 300
CHANNELS = (b"trades", b"btc_price", b"broadcast")


class Edge:
    """One server process of the feed: ``Feed`` as it is, on a port of its own."""

    def __init__(self, house: House, number: int) -> None:
        self.house = house
        self.number = number
        self.port = PORT + number
        self.process = house.sim.process(f"edge {number}")
        self.broker: DistantBroker | None = None
        self.feed: Feed | None = None
        self._stop: asyncio.Event = asyncio.Event()
        self._up: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self) -> bool:
        """Start, and wait until it listens; False if it was killed before."""
        serving = self.process.start(self._serve())
        await asyncio.wait({serving, self._up}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done() and not serving.cancelled():
            serving.exception()  # it could not start, as when the broker is away: it is tried again
        return self._up.done()

    async def stop(self) -> None:
        """As SIGTERM does."""
        self._stop.set()
        for task in list(self.process.tasks):
            await asyncio.wait([task], timeout=30.0)

    async def _serve(self) -> None:
        settings = FeedSettings(
            port=self.port,
            tls_port=None,
            http_port=None,
            source="none",
            broker="memory",
            seed=self.number,
            outbox_limit=self.house.outbox_limit,
        )
        async with Feed(settings, clock=self.house.sim.clock) as self.feed:
            self._up.set_result(None)
            await self._stop.wait()


class RawClient(Client):
    """``tests.faults.clients.Client``, on a way of its own to each edge; it notices silence."""

    def __init__(self, house: House, number: int, witness: Witness) -> None:
        self.house = house
        self.ways = house.ways(number)
        addresses = [f"ws://127.0.0.1:{port}" for port, _ in self.ways]
        super().__init__(witness, addresses, random.Random(f"{house.sim.seed}:client {number}"))
        self._heard_at = 0.0

    def received(self, data: bytes) -> None:
        self._heard_at = now = asyncio.get_running_loop().time()
        self.house.digest.update(b"%b %.9f %b" % (self.witness.name.encode(), now, data))
        super().received(data)

    def opened(self, connection: Any) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        super().opened(connection)

    async def watch(self) -> None:
        """Cut a connection that has become silent."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(1.0)
            if self.connected and loop.time() - self._heard_at > SILENCE_S:
                self.cut()


class House:
    """``async with House(sim, edges=2, raw=3, library=2) as house``; ``settle`` judges."""

    def __init__(
        self, sim: Simulation, *, edges: int = 2, raw: int = 3, library: int = 2, outbox_limit: int = 1 << 16
    ) -> None:
        self.sim = sim
        self.outbox_limit = outbox_limit
        sim.network.window = WINDOW
        self.truth = Truth()
        self.digest = hashlib.sha256()
        self.central = Central(sim.clock, random.Random(f"broker:{sim.seed}"))
        self.edges: list[Edge | None] = [None] * edges
        self.witnesses = [Witness(f"raw {n}", CHANNELS, self.truth) for n in range(raw)]
        self.clients = [RawClient(self, n, witness) for n, witness in enumerate(self.witnesses)]
        self.readers = [Reader(self, raw + n) for n in range(library)]
        self.published = 0
        self.lost_epochs: set[str] = set()
        self._tasks: list[asyncio.Task[Any]] = []

    def ways(self, number: int) -> list[tuple[int, Link]]:
        """Port and link of a client's own way to each edge."""
        found = []
        for edge in range(len(self.edges)):
            port = CLIENT_PORT + 100 * number + edge
            found.append(
                (port, self.sim.network.alias("127.0.0.1", port, "127.0.0.1", PORT + edge)),
            )
        return found

    async def __aenter__(self) -> House:
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(self._our_broker())
        for number in range(len(self.edges)):
            await self.start_edge(number)
        for client in self.clients:
            self._tasks += [asyncio.create_task(client.run()), asyncio.create_task(client.watch())]
        for reader in self.readers:
            self._tasks.append(asyncio.create_task(reader.run()))
        await asyncio.sleep(2.0)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for edge in self.edges:
            if edge is not None and edge.process.alive:
                edge.process.resume()
                await edge.stop()
        self._stack.close()

    @contextmanager
    def _our_broker(self) -> Iterator[None]:
        def open_broker(*_: object, **__: object) -> DistantBroker:
            edge = self._starting
            edge.broker = DistantBroker(self.central, lambda: edge.process.alive)
            return edge.broker

        with (
            mock.patch.object(feed_module, "open_broker", open_broker),
            mock.patch.object(feed_module, "open_ring", return_value=None),
        ):
            yield

    # What happens to it.

    def publish(self, count: int = 1) -> None:
        """Trades and broadcasts, numbered without a hole."""
        for _ in range(count):
            self.published += 1
            number = self.published
            self.central.publish(
                "trades", b'{"type":"trades","trade_id":"%d","pad":"%b"}' % (number, b"x" * 300)
            )
            self.central.publish(
                "broadcast", b'{"type":"broadcast","k":%d,"pad":"%b"}' % (number, b"x" * 300)
            )

    async def trade(self) -> None:
        """Publish all the time, at an uneven pace, until cancelled."""
        rng = random.Random(f"market:{self.sim.seed}")
        while True:
            await asyncio.sleep(rng.expovariate(10.0))
            self.publish(rng.choice((1, 1, 1, 3)))

    def forget(self) -> None:
        """The broker's history is lost: only then may a message be missing, if that is said."""
        epoch = self.central.broker._epoch
        self.lost_epochs.add(epoch)
        for channel in CHANNELS:
            self.truth.lose(channel, epoch.encode())
        self.central.forget()

    async def start_edge(self, number: int) -> None:
        """Start a server, or start it again."""
        up = False
        while not up:
            edge = self.edges[number] = self._starting = Edge(self, number)
            up = await edge.start()

    def kill_edge(self, number: int, *, silently: bool = False) -> None:
        """SIGKILL, or the power fails."""
        edge = self.edges[number]
        if edge is not None:
            if edge.broker is not None and edge.broker in self.central.ends:
                self.central.ends.remove(edge.broker)
            if silently:
                edge.process.power_off()
            else:
                edge.process.kill()

    def heal(self) -> None:
        """Every link is good again, every process runs."""
        for number in range(len(self.clients) + len(self.readers)):
            for port, link in self.ways(number):
                link.silent = link.refuses = False
                link.latency_s, link.jitter_s, link.bandwidth = 0.0002, 0.0, None
                self.sim.network.heal("127.0.0.1", port)
        for edge in self.edges:
            if edge is not None:
                edge.process.resume()
                if edge.broker is not None:
                    edge.broker.mend()

    # What became of it.

    async def settle(self, seconds: float = 180.0) -> None:
        """Heal all, publish a little more, and wait until everybody has everything or the time is over."""
        self.heal()
        for number, edge in enumerate(self.edges):
            if edge is None or not edge.process.alive:
                await self.start_edge(number)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while loop.time() < deadline:
            self.publish()
            await asyncio.sleep(1.0)
            if not self._behind():
                break
        for text in self._behind():
            self.truth.found("lost", 1, f"{seconds:g} s after all was well again: {text}")

    def _behind(self) -> list[str]:
        tops = {}
        for channel in (b"trades", b"broadcast"):
            broker = self.central.broker
            seq = broker._channels[channel.decode()].seq
            tops[channel] = Place(broker._epoch.encode(), seq)
        late = [text for witness in self.witnesses for text in witness.behind(tops, self.published)]
        late += [
            f"{reader.name} at {reader.last}, not {self.published}"
            for reader in self.readers
            if reader.last != self.published
        ]
        return late


class Reader:
    """A program that uses our client library: it must get every message once and in order, or be told."""

    def __init__(self, house: House, number: int) -> None:
        self.house = house
        self.name = f"library {number}"
        self.ways = house.ways(number)
        self.last: int | None = None
        self.told = 0
        self.feed: Any = None
        self._number = number

    async def run(self) -> None:
        """Until cancelled."""
        port = self.ways[self._number % len(self.ways)][0]
        feed = connect(
            f"ws://127.0.0.1:{port}",
            channels=["broadcast"],
            events=True,
            clock=self.house.sim.clock,
            rng=random.Random(f"{self.house.sim.seed}:{self.name}"),
            start_timeout=3600.0,
            longest_delay=5.0,
        )
        try:
            async with feed as self.feed:
                async for item in feed:
                    self._take(item)
        except Exception as error:
            self.house.truth.found("unexplained", 1, f"{self.name} ended: {error!r}")

    def _take(self, item: Any) -> None:
        truth = self.house.truth
        if isinstance(item, Connected | Disconnected | Recovered):
            return
        if isinstance(item, Gap):
            truth.found("lost", 1, f"{self.name}: {item}")
        elif isinstance(item, NotRecovered):
            self.told += 1
            if item.since.epoch not in self.house.lost_epochs:
                truth.found("unexplained", 1, f"{self.name}: {item}")
            self.last = None
        else:
            number = item.fields["k"]
            if self.last is not None and number != self.last + 1:
                kind = "lost" if number > self.last + 1 else "doubled"
                truth.found(kind, 1, f"{self.name}: broadcast {number} after {self.last}")
            self.last = number
            truth.deliveries += 1


@contextmanager
def quiet() -> Iterator[None]:
    """No log lines of servers that are killed by the hundred."""
    before = structlog.get_config()
    logger = logging.getLogger("omega_ai")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    configured = structlog.is_configured()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)
        if not configured:
            structlog.reset_defaults()  # otherwise others would take it for configured
        logger.setLevel(level)


def text_of(truth: Truth) -> str:
    """What was found."""
    return json.dumps({"anomalies": truth.anomalies, "examples": truth.examples[:6]}, indent=1)
