"""Two processes take the same prices in: one publishes, the other is ready to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from omega_ai.core.clock import SystemClock
from omega_ai.data_feed.broker.base import Publication
from omega_ai.data_feed.broker.redis import RedisBroker
from omega_ai.data_feed.lease import RedundantPublisher
from omega_ai.tests.integration.broker.support import redis_broker, until
from omega_ai.tests.valkey import ValkeyProcess


def trade(number: int) -> bytes:
    """A trade's body: its id is the number, its time so many seconds after midnight."""
    at = f"2026-01-01T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}.000000Z"
    return (
        b'{"type":"trades","venue":"v","symbol":"BTC-USD","trade_id":"%d","price":1,"size":1,"side":"buy",'
        b'"timestamp":"%b","received_at":"2026-01-01T00:00:00.000000Z"}' % (number, at.encode())
    )


def ids(publications: list[Publication]) -> list[int]:
    """The trade ids, in the order of delivery."""
    return [int(p.message.split(b'"trade_id":"')[1].split(b'"')[0]) for p in publications]


@asynccontextmanager
async def publisher(broker: RedisBroker, name: str) -> AsyncIterator[RedundantPublisher]:
    """One process's publisher, started."""
    redundant = RedundantPublisher(broker, clock=SystemClock(), holder=name)
    await redundant.start()
    try:
        yield redundant
    finally:
        await redundant.close()


async def test_only_the_holder_publishes_and_the_standby_takes_over_in_time(valkey: ValkeyProcess) -> None:
    """The holder's process stops without a word: within 2 s the standby goes on, nothing lost or doubled."""
    seen: list[Publication] = []
    async with (
        redis_broker(valkey.url) as watcher,
        redis_broker(valkey.url) as first,
        redis_broker(valkey.url) as second,
    ):
        await watcher.subscribe(["trades"], seen.append)
        leader, standby = (RedundantPublisher(b, clock=SystemClock()) for b in (first, second))
        await leader.start()
        await standby.start()
        assert (leader.leading, standby.leading) == (True, False)
        for number in range(1, 101):
            leader.publish("trades", trade(number))
            standby.publish("trades", trade(number))
        await until(lambda: len(seen) == 100)
        # As kill -9 leaves it: nothing more is said, nothing given up.
        assert leader._task is not None
        leader._task.cancel()
        began = asyncio.get_running_loop().time()
        for number in range(101, 121):
            standby.publish("trades", trade(number))
        await until(lambda: standby.leading)
        assert asyncio.get_running_loop().time() - began < 2.0
        standby.publish("trades", trade(121))
        await until(lambda: len(seen) == 121)
        assert ids(seen) == list(range(1, 122))
        await standby.close()


async def test_a_holder_that_wakes_up_late_is_refused(valkey: ValkeyProcess) -> None:
    """Its token is stale: what it publishes is dropped by Redis, and it steps down."""
    seen: list[Publication] = []
    async with redis_broker(valkey.url) as first, redis_broker(valkey.url) as second:
        await second.subscribe(["trades"], seen.append)
        paused = RedundantPublisher(first, clock=SystemClock(), holder="paused")
        await paused.start()
        paused.publish("trades", trade(1))
        await first.flush()
        assert paused._task is not None
        paused._task.cancel()
        async with publisher(second, "successor") as successor:
            successor.publish("trades", trade(1))
            await until(lambda: successor.leading)
            paused.publish("trades", trade(2))
            await first.flush()
            assert first._writer.stale == 1
            assert not paused.leading
            successor.publish("trades", trade(2))
            successor.publish("trades", trade(3))
            await until(lambda: len(seen) == 3)
        assert ids(seen) == [1, 2, 3]
        assert len({p.epoch for p in seen}) == 1


async def test_a_clean_stop_hands_over_at_once(valkey: ValkeyProcess) -> None:
    """Close gives the lease up: the next look of the standby finds it free."""
    async with redis_broker(valkey.url) as first, redis_broker(valkey.url) as second:
        leader = RedundantPublisher(first, clock=SystemClock())
        await leader.start()
        async with publisher(second, "standby") as standby:
            began = asyncio.get_running_loop().time()
            await leader.close()
            await until(lambda: standby.leading)
            assert asyncio.get_running_loop().time() - began < 1.0


async def test_redis_away_for_longer_than_the_lease_costs_nothing(valkey: ValkeyProcess) -> None:
    """Whoever takes it afterwards: what both took in meanwhile is published once, in order."""
    seen: list[Publication] = []
    url = valkey.url + "?durable=yes"
    async with redis_broker(url) as first, redis_broker(url) as second:
        await first.subscribe(["trades"], seen.append)
        async with publisher(first, "a") as a, publisher(second, "b") as b:
            for number in range(1, 51):
                a.publish("trades", trade(number))
                b.publish("trades", trade(number))
            await first.flush()
            valkey.kill()
            for number in range(51, 101):
                a.publish("trades", trade(number))
                b.publish("trades", trade(number))
                await asyncio.sleep(0.04)
            valkey.start()
            await until(lambda: len(seen) >= 100)
            for number in range(101, 111):
                a.publish("trades", trade(number))
                b.publish("trades", trade(number))
            await until(lambda: len(seen) >= 110)
        assert ids(seen) == list(range(1, 111))
        assert len({p.epoch for p in seen}) == 1


async def test_a_forgotten_lease_still_gives_a_greater_token(valkey: ValkeyProcess) -> None:
    """With the lease's key gone and the channels' fences left, the next holder is above them."""
    async with redis_broker(valkey.url) as broker:
        first = await broker.claim("one", 60)
        ahead = first.token + 10**12
        assert await broker.fence(["trades"], ahead) == ahead
        valkey.command("DEL", "omega:{lease}:ingest")
        async with publisher(broker, "two") as two:
            assert two.leading
            two.publish("trades", trade(1))
            await broker.flush()
            assert ids((await broker.history("trades")).publications) == [1]
            assert (await broker.claim("two", 60)).token > ahead


async def test_a_restarted_process_recognises_what_is_published(valkey: ValkeyProcess) -> None:
    """Its source gives the last trades once more, as venues do upon connecting: they are skipped."""
    async with redis_broker(valkey.url) as broker:
        async with publisher(broker, "before") as before:
            for number in range(1, 31):
                before.publish("trades", trade(number))
        async with publisher(broker, "after") as after:
            for number in range(21, 41):
                after.publish("trades", trade(number))
            await broker.flush()
            assert after.skipped == 10
        assert ids((await broker.history("trades")).publications) == list(range(1, 41))


async def test_what_is_older_than_the_history_is_not_published_again(valkey: ValkeyProcess) -> None:
    """A history cut short, or begun anew, cannot show what was published before it: time tells."""
    async with redis_broker(valkey.url) as broker:
        async with publisher(broker, "before") as before:
            for number in range(1, 31):
                before.publish("trades", trade(number))
            await broker.flush()
            valkey.command("FLUSHALL")
            before.publish("trades", trade(31))
            await broker.flush()
        async with publisher(broker, "after") as after:
            for number in range(1, 35):
                after.publish("trades", trade(number))
            await broker.flush()
        assert ids((await broker.history("trades")).publications) == [31, 32, 33, 34]


async def test_an_idle_start_publishes_the_whole_backlog(valkey: ValkeyProcess) -> None:
    """With nothing published before, all that the source gives is new."""
    async with redis_broker(valkey.url) as broker, publisher(broker, "first") as first:
        for number in range(1, 6):
            first.publish("trades", trade(number))
        await broker.flush()
        assert ids((await broker.history("trades")).publications) == [1, 2, 3, 4, 5]
