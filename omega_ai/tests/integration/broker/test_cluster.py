"""A cluster: each channel at the node of its slot, followed through failovers and moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from omega_ai.cli.diagnosis import State
from omega_ai.cli.diagnosis import broker as broker_finding
from omega_ai.core.clock import SystemClock
from omega_ai.data_feed.broker.base import BrokerUnreachable, LeasedBroker, Publication
from omega_ai.data_feed.broker.cluster import ClusterBroker
from omega_ai.data_feed.broker.redis_place import slot_of
from omega_ai.tests.integration.broker.support import assert_unbroken, body, numbers, opened, until
from omega_ai.tests.valkey import ValkeyProcess
from omega_ai.tests.valkey_groups import ClusterGroup

CHANNELS = ("btc_price", "trades", "quotes", "candles", "status", "broadcast")


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterGroup]:
    """Three primaries; the tests leave them as they are."""
    with ClusterGroup() as running:
        yield running


@asynccontextmanager
async def cluster_broker(group: ClusterGroup, **options: Any) -> AsyncIterator[ClusterBroker]:
    """A started one."""
    broker = ClusterBroker(group.url, clock=SystemClock(), **options)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.close()


async def _emptied(cluster: ClusterGroup) -> None:
    for node in cluster.primaries:
        await asyncio.to_thread(node.command, "FLUSHALL")


async def test_every_channel_works_wherever_it_lies(cluster: ClusterGroup) -> None:
    """Published, delivered and kept, in one sequence each, over all nodes; by the text of ``--broker``."""
    await _emptied(cluster)
    assert len({cluster.owner(channel).port for channel in CHANNELS}) == 3
    broker, other = opened(cluster.url), opened(cluster.url)
    assert isinstance(broker, LeasedBroker)
    seen: dict[str, list[Publication]] = {channel: [] for channel in CHANNELS}
    try:
        await broker.start()
        await other.start()
        await other.subscribe(CHANNELS, lambda p: seen[p.channel].append(p))
        for number in range(1, 101):
            for channel in CHANNELS:
                broker.publish(channel, body(number, channel))
        await broker.flush()
        await until(lambda: all(len(got) == 100 for got in seen.values()))
        for channel, got in seen.items():
            assert numbers(got) == list(range(1, 101))
            assert_unbroken(got)
            assert (await other.history(channel)).publications == got
        assert await broker.ping() > 0
        await until(lambda: broker.status().connected, 15)
    finally:
        await broker.close()
        await other.close()


async def test_messages_stay_within_their_shard(cluster: ClusterGroup) -> None:
    """Sharded pub/sub: the channel is known at its node, and at no other."""
    await _emptied(cluster)
    async with cluster_broker(cluster) as broker:
        await broker.subscribe(["trades"], lambda _: None)
        known = [b"omega:{trades}:live" in n.command("PUBSUB", "SHARDCHANNELS") for n in cluster.primaries]
        assert known == [node is cluster.owner("trades") for node in cluster.primaries]


async def test_the_lease_works_across_nodes(cluster: ClusterGroup) -> None:
    """It lies in one slot, the fences of the channels in others; a stale token is refused everywhere."""
    await _emptied(cluster)
    async with cluster_broker(cluster) as first, cluster_broker(cluster) as second:
        one = await first.claim("one", 60)
        assert one.held
        assert not (await second.claim("two", 60)).held
        assert await first.fence(CHANNELS, one.token) == one.token
        deposed: list[int] = []
        first.begin_term(one.token, lambda: deposed.append(1))
        await first.release("one")
        two = await second.claim("two", 60)
        assert two.token > one.token
        await second.fence(CHANNELS, two.token)
        for channel in CHANNELS:
            first.publish(channel, body(1, channel))
        await first.flush()
        assert len(deposed) == len(CHANNELS)
        for channel in CHANNELS:
            assert (await second.history(channel)).publications == []


async def test_a_slot_that_moves_takes_its_channel_along(cluster: ClusterGroup) -> None:
    """Keys are migrated and the slot given to another node amid publication: nothing lost, one sequence."""
    await _emptied(cluster)
    slot, source = slot_of("trades"), cluster.owner("trades")
    target = next(node for node in cluster.primaries if node is not source)
    seen: list[Publication] = []
    async with cluster_broker(cluster) as broker, cluster_broker(cluster) as other:
        await other.subscribe(["trades"], seen.append)

        async def publish() -> None:
            for number in range(1, 301):
                broker.publish("trades", body(number, "trades"))
                await asyncio.sleep(0.005)

        publishing = asyncio.create_task(publish())
        try:
            await until(lambda: len(seen) > 50)
            await asyncio.to_thread(_move, cluster, slot, source, target)
            await publishing
            await broker.flush()
            await until(lambda: len(seen) == 300)
            assert numbers(seen) == list(range(1, 301))
            assert_unbroken(seen)
            assert broker._parts["trades"].address.port == target.port
        finally:
            publishing.cancel()
            await asyncio.to_thread(_move, cluster, slot, target, source)


async def test_a_killed_node_is_followed_by_its_replica() -> None:
    """Its channels wait for the failover and go on; those of other nodes notice nothing."""
    with ClusterGroup(replicas=True) as group:
        seen: dict[str, list[Publication]] = {"trades": [], "broadcast": []}
        async with cluster_broker(group, timeout=1.5) as broker, cluster_broker(group, timeout=1.5) as other:
            await other.subscribe(seen, lambda p: seen[p.channel].append(p))
            node = group.owner("trades")
            assert node is not group.owner("broadcast")
            for number in range(1, 51):
                broker.publish("trades", body(number, "trades"))
            await broker.flush()
            await until(lambda: len(seen["trades"]) == 50)
            await until(lambda: b"lag=0" in node.command("INFO", "replication"))
            await asyncio.to_thread(node.kill)
            for number in range(51, 101):
                broker.publish("trades", body(number, "trades"))
                broker.publish("broadcast", body(number, "broadcast"))
            await until(lambda: len(seen["broadcast"]) == 50, 3)
            await until(lambda: len(seen["trades"]) == 100, 20)
            assert numbers(seen["trades"]) == list(range(1, 101))
            assert_unbroken(seen["trades"])


async def test_a_diagnosis_finds_a_node(cluster: ClusterGroup) -> None:
    """`omega doctor` looks where the URL of a cluster leads."""
    finding = await broker_finding(cluster.url)
    assert finding.state is State.OK
    assert "Valkey" in finding.detail


async def test_a_single_server_is_no_cluster_and_says_so() -> None:
    """The sentence names the URL that would be right."""
    with ValkeyProcess(tcp=True) as valkey:
        broker = ClusterBroker(f"redis+cluster://127.0.0.1:{valkey.port}", clock=SystemClock())
        with pytest.raises(BrokerUnreachable, match=f"use redis://127.0.0.1:{valkey.port}"):
            await broker.start()
        await broker.close()


def _move(cluster: ClusterGroup, slot: int, source: ValkeyProcess, target: ValkeyProcess) -> None:
    """Give ``slot`` from one node to another as cluster tools do."""
    ids = {node: node.command("CLUSTER", "MYID").split(b"\r\n")[1] for node in cluster.primaries}
    target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
    source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
    keys = source.command("CLUSTER", "GETKEYSINSLOT", slot, 100).split(b"\r\n")[2::2]
    source.command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "REPLACE", "KEYS", *keys)
    for node in (target, source, *cluster.primaries):
        node.command("CLUSTER", "SETSLOT", slot, "NODE", ids[target])
