"""The faults, and the seeded moments at which they come."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from omega_ai.tests.faults.clients import CHANNELS, Client
from omega_ai.tests.faults.record import Truth
from omega_ai.tests.faults.stage import Member, Stage

Fault = Callable[["Disturber"], Awaitable[None]]


class Disturber:
    """Does faults at random moments until told to stop; then mends everything.

    Faults overlap: a Redis may be down while a worker is killed and clients do not read.
    """

    def __init__(self, stage: Stage, clients: Sequence[Client], truth: Truth, rng: random.Random) -> None:
        self.stage = stage
        self.clients = clients
        self.truth = truth
        self.rng = rng
        self.counts: Counter[str] = Counter()
        self.redis_lock = asyncio.Lock()
        """One thing at a time is done to the Redis process itself."""
        self.over = False
        """The time is up: what has not begun is left undone."""

    async def run(self, seconds: float, names: Sequence[str]) -> None:
        """Disturb for so long, then mend."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        tasks: list[asyncio.Task[None]] = []
        weights = [FAULTS[name][1] for name in names]
        while (left := end - loop.time()) > 0:
            await asyncio.sleep(min(self.rng.uniform(0.2, 2.2), left))
            name = self.rng.choices(list(names), weights)[0]
            self.counts[name] += 1
            tasks.append(asyncio.create_task(_named(FAULTS[name][0](self), name)))
        self.over = True
        done = await asyncio.gather(*tasks, return_exceptions=True)
        await self.mend()
        for problem in done:
            if isinstance(problem, BaseException):
                raise problem

    async def mend(self) -> None:
        """Everything runs again."""
        self.stage.redis.resume()
        await asyncio.to_thread(self.stage.redis.restart)
        for member in self.stage.members:
            for pid in member.workers():
                _signal(pid, signal.SIGCONT)
            member.signal(signal.SIGCONT)
            await member.start()


async def _named(work: Awaitable[None], name: str) -> None:
    try:
        await work
    except Exception as error:
        raise RuntimeError(f"the fault {name!r} could not be done") from error


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


async def _kill_worker(d: Disturber) -> None:
    if pids := d.stage.pool.workers():
        _signal(d.rng.choice(pids), signal.SIGKILL)


async def _kill(d: Disturber, member: Member, down: float) -> None:
    await member.kill()
    await asyncio.sleep(down)
    await member.start()


async def _kill_edge(d: Disturber) -> None:
    await _kill(d, d.rng.choice([d.stage.edge, d.stage.edge, d.stage.pool]), d.rng.uniform(0, 1))


async def _kill_ingest(d: Disturber) -> None:
    await _kill(d, d.rng.choice(d.stage.ingests), d.rng.uniform(0, 3))


async def _stop_ingest(d: Disturber) -> None:
    member = d.rng.choice(d.stage.ingests)
    with contextlib.suppress(AssertionError):  # paused at this moment: killed then
        await member.stop()
    await member.start()


async def _kill_redis(d: Disturber) -> None:
    async with d.redis_lock:
        if d.over:
            return
        await asyncio.to_thread(d.stage.redis.kill)
        await asyncio.sleep(d.rng.uniform(0, 3))
        await asyncio.to_thread(d.stage.redis.restart)


async def _pause_redis(d: Disturber) -> None:
    await _freeze_redis(d, d.rng.choice([d.rng.uniform(0.1, 1), d.rng.uniform(1, 5)]))


async def _long_pause_redis(d: Disturber) -> None:
    # Longer than any time limit of the feed: what was sent is given up, and yet carried out on waking up.
    await _freeze_redis(d, d.rng.uniform(5.3, 7))


async def _freeze_redis(d: Disturber, seconds: float) -> None:
    redis = d.stage.redis
    async with d.redis_lock:
        if d.over:
            return
        places = {}
        with contextlib.suppress(OSError):
            places = {
                channel: await asyncio.to_thread(redis.position, channel.decode()) for channel in CHANNELS
            }
        await asyncio.to_thread(redis.pause)
        await asyncio.sleep(min(seconds, redis.longest_pause))
        redis.resume()
        if await asyncio.to_thread(redis.was_replaced):
            # The one that hung went on for a moment beside its successor: what it took then is lost, and the
            # feed has to say so with a new epoch.
            for channel, place in places.items():
                if place is not None:
                    d.truth.lose(channel, place[0])


async def _pause_process(d: Disturber) -> None:
    member = d.rng.choice(d.stage.members)
    pids = [pid for pid in (member.process.pid, *member.workers()) if pid is not None]
    if pids:
        pid = d.rng.choice(pids)
        _signal(pid, signal.SIGSTOP)
        await asyncio.sleep(d.rng.uniform(0.2, 4))
        _signal(pid, signal.SIGCONT)


async def _pause_ingest(d: Disturber) -> None:
    member = d.rng.choice(d.stage.ingests)
    member.signal(signal.SIGSTOP)
    await asyncio.sleep(d.rng.uniform(1.8, 4))
    member.signal(signal.SIGCONT)


async def _cut_redis(d: Disturber) -> None:
    for kind in d.rng.choice([("normal",), ("pubsub",), ("normal", "pubsub")]):
        with contextlib.suppress(OSError):
            await asyncio.to_thread(d.stage.redis.command, "CLIENT", "KILL", "TYPE", kind)


async def _flush_scripts(d: Disturber) -> None:
    with contextlib.suppress(OSError):
        await asyncio.to_thread(d.stage.redis.command, "SCRIPT", "FLUSH")


async def _cut_clients(d: Disturber) -> None:
    for client in d.rng.sample(d.clients, max(1, len(d.clients) // d.rng.randint(2, 20))):
        client.cut()


async def _storm(d: Disturber) -> None:
    for client in d.clients:
        client.cut()


async def _slow_readers(d: Disturber) -> None:
    for client in d.rng.sample(d.clients, max(1, len(d.clients) // 10)):
        client.pause(d.rng.uniform(0.5, 6))


async def _resume(d: Disturber) -> None:
    for client in d.rng.sample(d.clients, max(1, len(d.clients) // 5)):
        client.resume()


async def _roll(d: Disturber) -> None:
    d.stage.pool.signal(signal.SIGUSR2)


async def _empty(d: Disturber) -> None:
    redis = d.stage.redis
    # While nobody changes who takes the writes: what is emptied must be what is noted down as lost.
    async with d.redis_lock:
        if d.over:
            return
        with contextlib.suppress(OSError):
            places = [await asyncio.to_thread(redis.position, channel.decode()) for channel in CHANNELS]
            if any(place is None for place in places):
                return
            for channel, place in zip(CHANNELS, places, strict=True):
                if place is not None:
                    d.truth.lose(channel, place[0])
            await asyncio.to_thread(redis.command, "FLUSHALL")


FAULTS: dict[str, tuple[Fault, float]] = {
    "kill -9 of a worker": (_kill_worker, 2),
    "kill -9 of an edge": (_kill_edge, 1.5),
    "kill -9 of an ingest": (_kill_ingest, 2.5),
    "stop of an ingest": (_stop_ingest, 1),
    "kill -9 of Redis": (_kill_redis, 2),
    "pause of Redis": (_pause_redis, 1.5),
    "long pause of Redis": (_long_pause_redis, 0.6),
    "pause of a process": (_pause_process, 2.5),
    "pause of an ingest": (_pause_ingest, 1),
    "cut to Redis": (_cut_redis, 2.5),
    "scripts flushed": (_flush_scripts, 0.5),
    "cut of some clients": (_cut_clients, 2.5),
    "cut of all clients": (_storm, 1),
    "slow readers": (_slow_readers, 2),
    "subscribed again": (_resume, 2),
    "rolling restart": (_roll, 0.7),
    "Redis emptied": (_empty, 0.3),
}
"""Name -> what is done, and how often in relation to the others."""
