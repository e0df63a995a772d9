"""A primary that Sentinel watches: found, followed through failovers, nothing lost that a replica had."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from omega_ai.data_feed.broker.base import BrokerUnreachable, Publication
from omega_ai.data_feed.broker.redis import RedisBroker
from omega_ai.tests.integration.broker.support import (
    assert_unbroken,
    body,
    check_messages,
    numbers,
    redis_broker,
    until,
)
from omega_ai.tests.valkey import ValkeyProcess
from omega_ai.tests.valkey_groups import NAME, SentinelGroup


@pytest.fixture
def group() -> Iterator[SentinelGroup]:
    """A primary, a replica and three sentinels."""
    with SentinelGroup(replicas=1) as running:
        yield running


def caught_up(group: SentinelGroup, primary: ValkeyProcess) -> bool:
    """Whether every replica has all that its primary has."""
    info = primary.command("INFO", "replication").decode()
    facts = dict(line.split(":", 1) for line in info.split("\r\n") if ":" in line)
    return f"offset={facts['master_repl_offset']}," in facts["slave0"]


async def _publish(broker: RedisBroker, first: int, last: int, pause: float = 0.0) -> None:
    for number in range(first, last + 1):
        broker.publish("btc_price", body(number))
        if pause:
            await asyncio.sleep(pause)


async def test_a_killed_primary_is_followed_by_its_replica(group: SentinelGroup) -> None:
    """What is published while nobody is primary waits; then the sequence goes on as if nothing had been."""
    seen: list[Publication] = []
    async with redis_broker(group.url) as broker, redis_broker(group.url) as other:
        await other.subscribe(["btc_price"], seen.append)
        await _publish(broker, 1, 100)
        await broker.flush()
        old = await asyncio.to_thread(group.primary)
        await until(lambda: caught_up(group, old))
        await asyncio.to_thread(old.kill)
        await _publish(broker, 101, 200, 0.01)
        new = await asyncio.to_thread(group.wait_for_another, old)
        await until(lambda: len(seen) == 200, 15)
        assert broker.address.port == new.port
        assert numbers(seen) == list(range(1, 201))
        assert_unbroken(seen)
        check_messages(seen)
        await until(lambda: broker.status().connected, 15)


async def test_an_ordered_failover_leaves_the_old_primary(group: SentinelGroup) -> None:
    """It lives on as a replica and refuses writes: publisher and subscribers go to the new one."""
    seen: list[Publication] = []
    async with redis_broker(group.url) as broker, redis_broker(group.url) as other:
        await other.subscribe(["btc_price"], seen.append)
        await _publish(broker, 1, 50)
        await broker.flush()
        old = await asyncio.to_thread(group.primary)
        await asyncio.to_thread(group.sentinels[0].command, "SENTINEL", "FAILOVER", NAME)
        publishing = asyncio.create_task(_publish(broker, 51, 250, 0.01))
        new = await asyncio.to_thread(group.wait_for_another, old)
        await publishing
        await until(lambda: len(seen) >= 250, 15)
        await until(lambda: broker.status().connected and broker.address.port == new.port, 15)
        await _publish(broker, 251, 260)
        await until(lambda: len(seen) >= 260, 15)
        # The old one takes writes until it hears of it, which its successor has not: then the epoch tells.
        assert numbers(seen) == list(range(1, 261))
        assert len({(p.epoch, p.seq) for p in seen}) == 260
        await until(lambda: (live := other._live.connection) is not None and live.address.port == new.port)


async def test_a_primary_that_hangs_is_left_and_may_wake_up(group: SentinelGroup) -> None:
    """Paused, it counts as down, and a replica takes over; once awake nobody publishes there."""
    seen: list[Publication] = []
    async with redis_broker(group.url, timeout=1.0) as broker, redis_broker(group.url, timeout=1.0) as other:
        await other.subscribe(["btc_price"], seen.append)
        await _publish(broker, 1, 50)
        await broker.flush()
        old = await asyncio.to_thread(group.primary)
        await until(lambda: caught_up(group, old))
        old.pause()
        await _publish(broker, 51, 100)
        await asyncio.to_thread(group.wait_for_another, old)
        await until(lambda: len(seen) == 100, 15)
        old.resume()
        await _publish(broker, 101, 150, 0.02)
        await until(lambda: len(seen) == 150, 15)
        assert numbers(seen) == list(range(1, 151))
        assert_unbroken(seen)


async def test_a_failover_that_lost_messages_begins_a_new_epoch(group: SentinelGroup) -> None:
    """The replica had not got the last ones: what follows cannot be taken for a continuation."""
    seen: list[Publication] = []
    async with redis_broker(group.url) as broker, redis_broker(group.url) as other:
        await other.subscribe(["btc_price"], seen.append)
        await _publish(broker, 1, 50)
        await broker.flush()
        old = await asyncio.to_thread(group.primary)
        await until(lambda: caught_up(group, old))
        replica = next(server for server in group.servers if server is not old)
        replica.pause()
        old.command("CLIENT", "KILL", "TYPE", "replica")
        await _publish(broker, 51, 60)
        await broker.flush()
        await until(lambda: len(seen) == 60)
        await asyncio.to_thread(old.kill)
        replica.resume()
        await asyncio.to_thread(group.wait_for_another, old)
        await _publish(broker, 61, 70)
        await until(lambda: len(seen) == 70, 15)
        assert numbers(seen) == list(range(1, 71))
        assert seen[60].seq == 1
        assert_unbroken(seen[:60])
        assert_unbroken(seen[60:])


async def test_what_cannot_be_found_says_so(group: SentinelGroup) -> None:
    """An unknown name, and no sentinel at all: each gets its sentence."""
    for url, text in (
        (group.url.replace(f"/{NAME}", "/other"), "no sentinel can tell the primary 'other'"),
        ("redis+sentinel://127.0.0.1:1/omega", "connection refused"),
    ):
        with pytest.raises(BrokerUnreachable, match=text):
            async with redis_broker(url):
                pass


async def test_the_password_is_that_of_the_servers() -> None:
    """One in the URL goes to the primary; the sentinels have none."""
    with SentinelGroup(replicas=1, password="pw") as group:
        async with redis_broker(group.url) as broker:
            broker.publish("btc_price", body(1))
            await broker.flush()
            assert "pw" not in str(broker.address)
