"""Any sequence of publishing, joining, looking back and disturbing, against a model of what was promised."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omega_ai.core.clock import ManualClock, SystemClock
from omega_ai.data_feed.broker.base import Broker, Position, Publication, message_of
from omega_ai.data_feed.broker.memory import MemoryBroker
from omega_ai.data_feed.broker.redis import RedisBroker
from omega_ai.tests.integration.broker.support import until
from omega_ai.tests.valkey import ValkeyProcess

CHANNELS = ("btc_price", "t")

publish = st.tuples(st.just("publish"), st.sampled_from(CHANNELS), st.integers(1, 40))
subscribe = st.tuples(st.just("subscribe"), st.sampled_from(CHANNELS), st.just(0))
flush = st.tuples(st.just("flush"), st.just(""), st.just(0))
look_back = st.tuples(st.just("history"), st.sampled_from(CHANNELS), st.integers(0, 60))
disturb = st.tuples(
    st.sampled_from(["restart", "kill", "cut", "forget script"]), st.just(""), st.integers(0, 3)
)
empty = st.tuples(st.just("empty"), st.just(""), st.just(0))
Step = tuple[str, str, int]


class Model:
    """What was published on each channel, and what each subscriber must have seen."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.published: dict[str, list[bytes]] = {channel: [] for channel in CHANNELS}
        self.subscribers: list[tuple[str, int, list[Publication]]] = []
        self.count = 0

    async def take(self, step: Step) -> None:
        """Do one step, and check what can be checked at once."""
        kind, channel, number = step
        if kind == "publish":
            for _ in range(number):
                self.count += 1
                # A body of any shape that JSON has: what the position is spliced into is never looked at.
                tail = [b"", b',"n":%d' % self.count, b',"text":"\\",\\"seq\\":7}"'][self.count % 3]
                body = b'{"type":"%b"%b}' % (channel.encode(), tail)
                self.broker.publish(channel, body)
                self.published[channel].append(body)
        elif kind == "subscribe":
            await self.broker.flush()
            seen: list[Publication] = []
            position = (await self.broker.subscribe([channel], seen.append))[channel]
            # Deliveries may lag behind what is published; never may they be ahead of it.
            assert position.seq <= len(self.published[channel])
            self.subscribers.append((channel, position.seq, seen))
        elif kind == "flush":
            await self.broker.flush()
        elif kind == "history":
            await self.broker.flush()
            top = (await self.broker.history(channel)).position
            assert top.seq == len(self.published[channel])
            since = Position(top.epoch, number)
            history = await self.broker.history(channel, since)
            assert history.whole == (number <= top.seq)
            if history.whole:
                self.check(channel, number, history.publications, top.epoch)

    async def finish(self) -> None:
        """Everything arrives in the end, once, in order, to the byte."""
        await self.broker.flush()
        for channel, at, seen in self.subscribers:
            total = len(self.published[channel])
            await until(lambda at=at, seen=seen, total=total: len(seen) >= total - at)  # type: ignore[misc]  # a bound lambda has no type of its own
            epoch = (await self.broker.history(channel)).position.epoch
            self.check(channel, at, seen, epoch)

    def check(self, channel: str, at: int, seen: list[Publication], epoch: str) -> None:
        """``seen`` is exactly what was published after ``at``."""
        expected = [
            Publication(channel, epoch, seq, message_of(channel, epoch, seq, body))
            for seq, body in enumerate(self.published[channel], start=1)
            if seq > at
        ]
        assert seen == expected


async def _run(broker: Broker, steps: list[Step], disturbance: Callable[[Step], Awaitable[None]]) -> None:
    await broker.start()
    try:
        model = Model(broker)
        for step in steps:
            await model.take(step)
            await disturbance(step)
        await model.finish()
    finally:
        await broker.close()


async def _none(step: Step) -> None:
    """The memory broker cannot be disturbed."""


@given(st.lists(st.one_of(publish, subscribe, flush, look_back), max_size=30))
def test_memory_keeps_what_was_promised(steps: list[Step]) -> None:
    """In one process."""
    asyncio.run(_run(MemoryBroker(clock=ManualClock()), steps, _none))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(publish, publish, subscribe, look_back, disturb), min_size=3, max_size=12))
def test_redis_keeps_what_was_promised_through_any_disturbance(steps: list[Step]) -> None:
    """Restarts, kills, cut connections and lost scripts at any place, while publications are on their way."""
    with ValkeyProcess(persistent=True) as valkey:

        async def disturbance(step: Step) -> None:
            kind, _, turns = step
            for _ in range(turns if kind in ("restart", "kill", "cut", "forget script") else 0):
                await asyncio.sleep(0)
            if kind == "restart":
                valkey.stop()
                valkey.start()
            elif kind == "kill":
                valkey.kill()
                valkey.start()
            elif kind == "cut":
                valkey.command("CLIENT", "KILL", "TYPE", "normal")
                valkey.command("CLIENT", "KILL", "TYPE", "pubsub")
            elif kind == "forget script":
                valkey.command("SCRIPT", "FLUSH")

        broker = RedisBroker(valkey.url + "?durable=yes", clock=SystemClock())
        asyncio.run(_run(broker, steps, disturbance))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(publish, publish, disturb, empty), min_size=3, max_size=12))
def test_no_position_is_ever_used_twice(steps: list[Step]) -> None:
    """Whatever Redis loses: what subscribers see never has one (epoch, seq) twice, nor goes back."""
    with ValkeyProcess(persistent=True) as valkey:
        seen: list[Publication] = []

        async def scenario() -> None:
            broker = RedisBroker(valkey.url, clock=SystemClock())
            await broker.start()
            try:
                await broker.subscribe(CHANNELS, seen.append)
                n = 0
                for kind, channel, number in steps:
                    if kind == "publish":
                        for _ in range(number):
                            n += 1
                            broker.publish(channel, b'{"type":"%b","n":%d}' % (channel.encode(), n))
                        await asyncio.sleep(0)
                    elif kind == "empty":
                        valkey.command("FLUSHALL")
                    elif kind in ("restart", "kill"):
                        valkey.kill()
                        valkey.start()
                    elif kind == "cut":
                        valkey.command("CLIENT", "KILL", "TYPE", "normal")
                        valkey.command("CLIENT", "KILL", "TYPE", "pubsub")
                await broker.flush()
                for channel in CHANNELS:
                    top = (await broker.history(channel)).position
                    await until(
                        lambda channel=channel, top=top: (  # type: ignore[misc]  # a bound lambda has no type of its own
                            top.seq == 0 or any((p.channel, p.epoch, p.seq) == (channel, *top) for p in seen)
                        )
                    )
            finally:
                await broker.close()

        asyncio.run(scenario())
        for channel in CHANNELS:
            of_channel = [p for p in seen if p.channel == channel]
            places = [(p.epoch, p.seq) for p in of_channel]
            assert len(set(places)) == len(places)
            epochs = [p.epoch for p in of_channel]
            changes = [b for a, b in pairwise(epochs) if a != b]
            assert len(set(changes)) == len(changes)
            assert all(a.seq < b.seq for a, b in pairwise(of_channel) if a.epoch == b.epoch)
            order = [int(p.message.rsplit(b":", 1)[1][:-1]) for p in of_channel]
            assert order == sorted(order)
