"""Redis goes away, comes back, forgets, hangs, is full: nothing lost, doubled or reordered unseen."""

from __future__ import annotations

import asyncio
import random

import pytest

from omega_ai.data_feed.broker.base import BrokerClosed, BrokerError, Position, Publication, PublishBufferFull
from omega_ai.tests.integration.broker.support import (
    assert_unbroken,
    body,
    check_messages,
    numbers,
    redis_broker,
    until,
)
from omega_ai.tests.valkey import ValkeyProcess


async def test_a_restart_that_kept_the_data_continues_the_sequence(valkey: ValkeyProcess) -> None:
    """Same epoch, next seq; what was published meanwhile waits and is then delivered in order."""
    async with redis_broker(valkey.url) as broker:
        seen: list[Publication] = []
        await broker.subscribe(["btc_price"], seen.append)
        for n in range(1, 11):
            broker.publish("btc_price", body(n))
        await broker.flush()
        valkey.stop()
        await until(lambda: not broker.status().connected)
        for n in range(11, 21):
            broker.publish("btc_price", body(n))
        assert broker.status().buffered == 10
        assert "Start it" in broker.status().detail or "lost" in broker.status().detail
        valkey.start()
        await broker.flush()
        await until(lambda: len(seen) == 20)
        assert numbers(seen) == list(range(1, 21))
        assert_unbroken(seen)
        status = broker.status()
        assert status.connected
        assert status.reconnects == 1
        assert status.latency is not None
        assert status.latency.count == 20
        assert status.latency.total > 0


async def test_an_emptied_redis_begins_a_new_epoch(valkey: ValkeyProcess) -> None:
    """After FLUSHALL the next message is seq 1 of another epoch; nobody can take it for the old sequence."""
    async with redis_broker(valkey.url) as broker:
        seen: list[Publication] = []
        await broker.subscribe(["btc_price"], seen.append)
        for n in (1, 2, 3):
            broker.publish("btc_price", body(n))
        await until(lambda: len(seen) == 3)
        valkey.command("FLUSHALL")
        for n in (4, 5):
            broker.publish("btc_price", body(n))
        await broker.flush()
        await until(lambda: len(seen) == 5)
        assert_unbroken(seen[:3])
        assert_unbroken(seen[3:])
        assert seen[3].epoch != seen[0].epoch
        assert not (await broker.history("btc_price", Position(seen[2].epoch, 3))).whole


@pytest.mark.parametrize("part", ["meta", "stream"])
async def test_half_of_a_channel_lost_begins_a_new_epoch(valkey: ValkeyProcess, part: str) -> None:
    """An evicted or deleted key makes the rest worthless: neither a reused seq nor a history with a hole."""
    async with redis_broker(valkey.url) as broker:
        for n in (1, 2, 3):
            broker.publish("btc_price", body(n))
        await broker.flush()
        before = (await broker.history("btc_price")).position
        valkey.command("DEL", f"omega:{{btc_price}}:{part}")
        for n in (4, 5):
            broker.publish("btc_price", body(n))
        await broker.flush()
        history = await broker.history("btc_price")
        assert history.position.epoch != before.epoch
        assert numbers(history.publications) == [4, 5]
        assert_unbroken(history.publications)


async def test_a_redis_that_went_back_in_time_begins_a_new_epoch(valkey: ValkeyProcess) -> None:
    """Restored from an older file, it would give a seq again; who has seen more notices."""
    async with redis_broker(valkey.url) as broker:
        seen: list[Publication] = []
        await broker.subscribe(["btc_price"], seen.append)
        for n in range(1, 6):
            broker.publish("btc_price", body(n))
        await broker.flush()
        await until(lambda: len(seen) == 5)
        valkey.command("HSET", "omega:{btc_price}:meta", "seq", 3)
        valkey.command("XDEL", "omega:{btc_price}:stream", "4-0", "5-0")
        broker.publish("btc_price", body(6))
        await broker.flush()
        await until(lambda: len(seen) == 6)
        assert seen[5].epoch != seen[4].epoch
        assert seen[5].seq == 1


async def test_whoever_saw_more_than_redis_still_has_ends_the_epoch(valkey: ValkeyProcess) -> None:
    """A mere subscriber notices, too, when it joins again: before anybody can publish a seq twice."""
    async with redis_broker(valkey.url) as watcher:
        seen: list[Publication] = []
        await watcher.subscribe(["btc_price"], seen.append)
        async with redis_broker(valkey.url) as publisher:
            for n in range(1, 6):
                publisher.publish("btc_price", body(n))
            await publisher.flush()
        await until(lambda: len(seen) == 5)
        valkey.command("HSET", "omega:{btc_price}:meta", "seq", 3)
        valkey.command("XDEL", "omega:{btc_price}:stream", "4-0", "5-0")
        valkey.command("CLIENT", "KILL", "TYPE", "pubsub")
        epoch = seen[0].epoch.encode()
        await until(lambda: epoch not in valkey.command("HGET", "omega:{btc_price}:meta", "epoch"))
        async with redis_broker(valkey.url) as publisher:
            publisher.publish("btc_price", body(6))
            await until(lambda: len(seen) > 5)
        assert numbers(seen) == [1, 2, 3, 4, 5, 6]
        assert seen[5].seq == 1
        assert seen[5].epoch != seen[4].epoch


async def test_a_history_with_a_hole_or_cut_short_is_not_whole(valkey: ValkeyProcess) -> None:
    """One message missing anywhere after the position: nothing is recovered in part."""
    async with redis_broker(valkey.url) as broker:
        for n in range(1, 7):
            broker.publish("btc_price", body(n))
        await broker.flush()
        epoch = (await broker.history("btc_price")).position.epoch
        valkey.command("XDEL", "omega:{btc_price}:stream", "3-0")
        for since in range(7):
            history = await broker.history("btc_price", Position(epoch, since))
            assert history.whole == (since >= 3)
            assert numbers(history.publications) == (list(range(since + 1, 7)) if since >= 3 else [])
        assert numbers((await broker.history("btc_price")).publications) == [4, 5, 6]
        valkey.command("XDEL", "omega:{btc_price}:stream", "6-0")
        assert not (await broker.history("btc_price", Position(epoch, 4))).whole
        valkey.command("XTRIM", "omega:{btc_price}:stream", "MAXLEN", 1)
        assert not (await broker.history("btc_price", Position(epoch, 3))).whole


async def test_a_position_that_a_client_claims_changes_nothing(valkey: ValkeyProcess) -> None:
    """Whoever asks for history may say anything; only what this process saw itself counts."""
    async with redis_broker(valkey.url) as broker:
        broker.publish("btc_price", body(1))
        await broker.flush()
        position = (await broker.history("btc_price")).position
        assert not (await broker.history("btc_price", Position(position.epoch, 999))).whole
        assert (await broker.history("btc_price")).position == position


async def test_what_cannot_be_written_before_the_end_is_told(
    valkey: ValkeyProcess, caplog: pytest.LogCaptureFixture
) -> None:
    """close waits its time, then says how many publications were lost and why; who flushes gets an error."""
    async with redis_broker(valkey.url, timeout=0.3) as broker:
        valkey.stop()
        await until(lambda: not broker.status().connected)
        broker.publish("btc_price", body(1))
        flushing = asyncio.create_task(broker.flush())
        await asyncio.sleep(0)
    assert "1 publications were not written" in caplog.text
    with pytest.raises(BrokerClosed):
        await flushing


async def test_a_fresh_publisher_does_not_trust_a_restarted_redis(valkey: ValkeyProcess) -> None:
    """It cannot know whether the restart forgot something, so it begins an epoch; a durable one it trusts."""
    positions = []
    for url in (valkey.url, valkey.url, valkey.url + "?durable=yes"):
        async with redis_broker(url) as broker:
            broker.publish("btc_price", body(1))
            await broker.flush()
            positions.append((await broker.history("btc_price")).position)
        valkey.stop()
        valkey.start()
    assert positions[1].epoch != positions[0].epoch
    assert positions[1].seq == 1
    assert positions[2] == Position(positions[1].epoch, 2)


async def test_a_fresh_process_does_not_vouch_for_what_it_only_read(valkey: ValkeyProcess) -> None:
    """It subscribes and then publishes, as a feed does: the position it was told proves nothing either."""
    async with redis_broker(valkey.url) as broker:
        broker.publish("btc_price", body(1))
        await broker.flush()
    valkey.stop()
    valkey.start()
    async with redis_broker(valkey.url) as broker:
        seen: list[Publication] = []
        told = await broker.subscribe(["btc_price"], seen.append)
        broker.publish("btc_price", body(2))
        await until(lambda: seen)
        assert seen[0].seq == 1
        assert seen[0].epoch != told["btc_price"].epoch


async def test_a_position_read_before_the_restart_vouches(valkey: ValkeyProcess) -> None:
    """Redis itself took the newest message when it was read: a restart that kept it continues the epoch."""
    async with redis_broker(valkey.url) as writer:
        writer.publish("btc_price", body(1))
        await writer.flush()
        async with redis_broker(valkey.url) as broker:
            seen: list[Publication] = []
            told = await broker.subscribe(["btc_price"], seen.append)
            valkey.stop()
            valkey.start()
            broker.publish("btc_price", body(2))
            await until(lambda: seen)
            assert (seen[0].epoch, seen[0].seq) == (told["btc_price"].epoch, 2)


async def test_a_second_publisher_continues_the_sequence_of_the_first(valkey: ValkeyProcess) -> None:
    """While Redis runs, processes come and go and the epoch stays."""
    positions = []
    for n in (1, 2):
        async with redis_broker(valkey.url) as broker:
            broker.publish("btc_price", body(n))
            await broker.flush()
            positions.append((await broker.history("btc_price")).position)
    assert positions[1] == Position(positions[0].epoch, 2)


async def test_two_publishers_share_one_sequence(valkey: ValkeyProcess) -> None:
    """Interleaved as Redis took them, each publisher's own order kept."""
    async with redis_broker(valkey.url) as one, redis_broker(valkey.url) as two:
        seen: list[Publication] = []
        await one.subscribe(["btc_price"], seen.append)
        for n in range(200):
            (one if n % 2 else two).publish("btc_price", body(n))
            if n % 7 == 0:
                await asyncio.sleep(0)
        await one.flush()
        await two.flush()
        await until(lambda: len(seen) == 200)
        assert_unbroken(seen)
        for parity in (0, 1):
            assert [n for n in numbers(seen) if n % 2 == parity] == list(range(parity, 200, 2))


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_kill_amid_publication_loses_and_doubles_nothing(valkey: ValkeyProcess, seed: int) -> None:
    """Redis is killed again and again in the middle of a stream of messages; each is seen once, in order."""
    rng = random.Random(seed)
    async with redis_broker(valkey.url) as broker, redis_broker(valkey.url) as other:
        seen: list[Publication] = []
        await other.subscribe(["btc_price"], seen.append)
        n = 0
        for _ in range(4):
            for _ in range(rng.randrange(5, 60)):
                for _ in range(rng.randrange(1, 40)):
                    n += 1
                    broker.publish("btc_price", body(n))
                await asyncio.sleep(rng.choice([0, 0, 0.0005]))
            valkey.kill()
            await asyncio.sleep(rng.choice([0, 0.02]))
            valkey.start()
        await broker.flush()
        await until(lambda: seen and seen[-1].message.endswith(b":%d}" % n))
        assert numbers(seen) == list(range(1, n + 1))
        assert_unbroken(seen)
        check_messages(seen)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_cut_connections_lose_and_double_nothing(valkey: ValkeyProcess, seed: int) -> None:
    """CLIENT KILL of publisher and subscriber in mid-stream: retries are recognised, gaps are filled."""
    rng = random.Random(seed)
    async with redis_broker(valkey.url) as broker, redis_broker(valkey.url) as other:
        seen: list[Publication] = []
        await other.subscribe(["btc_price"], seen.append)
        n = 0
        for _ in range(10):
            for _ in range(rng.randrange(5, 40)):
                for _ in range(rng.randrange(1, 40)):
                    n += 1
                    broker.publish("btc_price", body(n))
                await asyncio.sleep(0)
            valkey.command("CLIENT", "KILL", "TYPE", rng.choice(["normal", "pubsub"]))
            await asyncio.sleep(rng.choice([0, 0.01]))
        await broker.flush()
        await until(lambda: seen and seen[-1].message.endswith(b":%d}" % n))
        assert numbers(seen) == list(range(1, n + 1))
        assert_unbroken(seen)


async def test_what_was_published_while_the_subscriber_was_cut_off_is_filled_in(
    valkey: ValkeyProcess,
) -> None:
    """The gap comes from the history, before anything newer."""
    async with redis_broker(valkey.url) as broker, redis_broker(valkey.url) as other:
        seen: list[Publication] = []
        await other.subscribe(["btc_price"], seen.append)
        valkey.command("CLIENT", "KILL", "TYPE", "pubsub")
        for n in range(1, 31):
            broker.publish("btc_price", body(n))
        await broker.flush()
        await until(lambda: len(seen) == 30)
        assert numbers(seen) == list(range(1, 31))
        assert_unbroken(seen)


async def test_a_gap_beyond_the_history_shows_as_a_jump(valkey: ValkeyProcess) -> None:
    """When it cannot be filled, the next delivery is the newest message, and its seq shows the loss."""
    async with redis_broker(valkey.url, history_messages=10) as broker, redis_broker(valkey.url) as other:
        seen: list[Publication] = []
        await other.subscribe(["btc_price"], seen.append)
        broker.publish("btc_price", body(1))
        await broker.flush()
        await until(lambda: seen)
        valkey.command("XTRIM", "omega:{btc_price}:stream", "MAXLEN", 1)
        valkey.command("CLIENT", "KILL", "TYPE", "pubsub")
        for n in range(2, 41):
            broker.publish("btc_price", body(n))
        await broker.flush()
        valkey.command("XTRIM", "omega:{btc_price}:stream", "MAXLEN", 5)
        await until(lambda: len(seen) > 1)
        broker.publish("btc_price", body(41))
        await until(lambda: seen[-1].seq == 41)
        seqs = [p.seq for p in seen]
        assert seqs == sorted(set(seqs))
        assert len(seen) < 41 or seqs == list(range(1, 42))


async def test_a_message_that_never_arrived_is_noticed_by_the_next(valkey: ValkeyProcess) -> None:
    """One written without being sent leaves a gap in seq, which is filled before the next is delivered."""
    async with redis_broker(valkey.url) as broker:
        seen: list[Publication] = []
        positions = await broker.subscribe(["btc_price"], seen.append)
        epoch = positions["btc_price"].epoch
        text = b'{"type":"btc_price","epoch":"%b","seq":1,"n":1}' % epoch.encode()
        valkey.command("XADD", "omega:{btc_price}:stream", "1-0", "m", text)
        valkey.command("HSET", "omega:{btc_price}:meta", "seq", 1)
        broker.publish("btc_price", body(2))
        await until(lambda: len(seen) == 2)
        assert numbers(seen) == [1, 2]
        assert_unbroken(seen)


async def test_a_tail_that_never_arrived_is_found_by_the_check(valkey: ValkeyProcess) -> None:
    """With nothing after it to show the gap, the regular look at the position finds it."""
    async with redis_broker(valkey.url, timeout=0.2) as broker:
        seen: list[Publication] = []
        positions = await broker.subscribe(["btc_price"], seen.append)
        epoch = positions["btc_price"].epoch
        text = b'{"type":"btc_price","epoch":"%b","seq":1,"n":1}' % epoch.encode()
        valkey.command("XADD", "omega:{btc_price}:stream", "1-0", "m", text)
        valkey.command("HSET", "omega:{btc_price}:meta", "seq", 1)
        await until(lambda: seen)
        assert numbers(seen) == [1]


@pytest.mark.parametrize("rubbish", [b"", b"{}", b"hello", b'{"type":"btc_price","epoch":"a","seq":x}'])
async def test_strange_arrivals_on_the_live_channel_are_ignored(
    valkey: ValkeyProcess, rubbish: bytes
) -> None:
    """Anybody may publish there; only our messages are taken."""
    async with redis_broker(valkey.url) as broker:
        seen: list[Publication] = []
        await broker.subscribe(["btc_price"], seen.append)
        valkey.command("PUBLISH", "omega:{btc_price}:live", rubbish)
        broker.publish("btc_price", body(1))
        await until(lambda: seen)
        assert numbers(seen) == [1]


async def test_a_hanging_redis_is_given_up_and_found_again(valkey: ValkeyProcess) -> None:
    """One that keeps its connections and answers nothing counts as away; afterwards nothing is missing."""
    async with redis_broker(valkey.url, timeout=0.3) as broker:
        seen: list[Publication] = []
        await broker.subscribe(["btc_price"], seen.append)
        broker.publish("btc_price", body(1))
        await broker.flush()
        valkey.pause()
        for n in range(2, 12):
            broker.publish("btc_price", body(n))
            await asyncio.sleep(0)
        await until(lambda: not broker.status().connected)
        valkey.resume()
        await broker.flush()
        await until(lambda: len(seen) == 11)
        assert numbers(seen) == list(range(1, 12))
        assert_unbroken(seen)


async def test_a_full_buffer_refuses_counts_and_shows_as_a_new_epoch(valkey: ValkeyProcess) -> None:
    """What was refused is missing; the message after it says so by its epoch."""
    async with redis_broker(valkey.url, buffer_messages=5) as broker:
        seen: list[Publication] = []
        await broker.subscribe(["btc_price"], seen.append)
        broker.publish("btc_price", body(1))
        await broker.flush()
        await until(lambda: seen)
        valkey.stop()
        await until(lambda: not broker.status().connected)
        for n in range(2, 7):
            broker.publish("btc_price", body(n))
        for n in (7, 8):
            with pytest.raises(PublishBufferFull):
                broker.publish("btc_price", body(n))
        assert broker.dropped == 2
        valkey.start()
        await broker.flush()
        await until(lambda: len(seen) == 6)
        broker.publish("btc_price", body(9))
        broker.publish("btc_price", body(10))
        await until(lambda: seen[-1].message.endswith(b":10}"))
        assert numbers(seen) == [1, 2, 3, 4, 5, 6, 9, 10]
        assert_unbroken(seen[:6])
        assert_unbroken(seen[6:])
        assert seen[6].epoch != seen[5].epoch


async def test_the_buffer_is_bounded_in_bytes_too(valkey: ValkeyProcess) -> None:
    """Few large messages fill it as many small ones do."""
    async with redis_broker(valkey.url, buffer_bytes=1000) as broker:
        large = b'{"type":"btc_price","x":"%b"}' % (b"x" * 600)
        broker.publish("btc_price", large)
        with pytest.raises(PublishBufferFull):
            broker.publish("btc_price", large)
        await broker.flush()
        broker.publish("btc_price", large)
        await broker.flush()


async def test_full_memory_holds_publications_back_until_there_is_room(valkey: ValkeyProcess) -> None:
    """-OOM: nothing half done, the order kept, and status says what to do."""
    async with redis_broker(valkey.url) as broker:
        seen: list[Publication] = []
        await broker.subscribe(["btc_price"], seen.append)
        broker.publish("btc_price", body(1))
        await broker.flush()
        valkey.command("CONFIG", "SET", "maxmemory", "1")
        for n in range(2, 6):
            broker.publish("btc_price", body(n))
        await until(lambda: "maxmemory" in broker.status().detail)
        assert not broker.status().connected
        assert broker.status().buffered == 4
        valkey.command("CONFIG", "SET", "maxmemory", "0")
        await broker.flush()
        await until(lambda: len(seen) == 5)
        assert numbers(seen) == list(range(1, 6))
        assert_unbroken(seen)
        assert broker.status().connected


async def test_a_script_that_was_flushed_is_loaded_again(valkey: ValkeyProcess) -> None:
    """-NOSCRIPT costs a round trip and nothing else."""
    async with redis_broker(valkey.url) as broker:
        seen: list[Publication] = []
        await broker.subscribe(["btc_price"], seen.append)
        for n in range(1, 30):
            broker.publish("btc_price", body(n))
            if n % 5 == 0:
                await broker.flush()
                valkey.command("SCRIPT", "FLUSH")
        await until(lambda: len(seen) == 29)
        assert numbers(seen) == list(range(1, 30))
        assert_unbroken(seen)
        assert (await broker.history("trades")).whole


async def test_a_primary_turned_replica_holds_publications_back(valkey: ValkeyProcess) -> None:
    """-READONLY: nothing is lost; once it is a primary again all is written."""
    async with redis_broker(valkey.url) as broker:
        broker.publish("btc_price", body(1))
        await broker.flush()
        valkey.command("REPLICAOF", "127.0.0.1", "1")
        broker.publish("btc_price", body(2))
        await until(lambda: "replica" in broker.status().detail)
        valkey.command("REPLICAOF", "NO", "ONE")
        await broker.flush()
        history = await broker.history("btc_price")
        assert numbers(history.publications) == [1, 2]
        assert_unbroken(history.publications)


async def test_the_keys_are_those_of_the_contract(valkey: ValkeyProcess) -> None:
    """Anything that speaks Redis can read the price."""
    async with redis_broker(valkey.url) as broker:
        for n in (1, 2):
            broker.publish("btc_price", body(n))
        await broker.flush()
        newest = (await broker.history("btc_price", limit=1)).publications[0].message
        assert newest in valkey.command("GET", "omega:{btc_price}:latest")
        keys = valkey.command("KEYS", "*")
        assert sorted(k for k in keys.split(b"\r\n") if k.startswith(b"omega")) == [
            b"omega:{btc_price}:latest",
            b"omega:{btc_price}:meta",
            b"omega:{btc_price}:stream",
        ]
        assert newest in valkey.command("XREVRANGE", "omega:{btc_price}:stream", "+", "-", "COUNT", 1)


async def test_history_is_bounded_by_count_age_and_bytes(valkey: ValkeyProcess) -> None:
    """Roughly, as Redis cuts it in blocks; what is left is still whole to its newest message."""
    bounds: list[dict[str, float]] = [
        {"history_messages": 500},
        {"history_seconds": 0.2},
        {"history_bytes": 10_000},
    ]
    for bound in bounds:
        async with redis_broker(valkey.url, **bound) as broker:
            valkey.command("FLUSHALL")
            for n in range(1, 3001):
                broker.publish("btc_price", body(n))
                if n % 100 == 0:
                    await asyncio.sleep(0.02)
            await broker.flush()
            history = await broker.history("btc_price")
            assert 10 <= len(history.publications) <= 1600
            assert_unbroken(history.publications, 3001 - len(history.publications))


async def test_publishers_that_come_and_go_leave_no_trace(valkey: ValkeyProcess) -> None:
    """The meta hash does not grow with every start of a process."""
    for n in range(5):
        async with redis_broker(valkey.url) as broker:
            broker.publish("btc_price", body(n))
    assert b"p:" not in valkey.command("HKEYS", "omega:{btc_price}:meta")
    for n in range(60):
        valkey.command("HSET", "omega:{btc_price}:meta", f"p:dead{n}", f"1:{n}")
    async with redis_broker(valkey.url) as broker:
        broker.publish("btc_price", body(9))
        await broker.flush()
        assert b"p:dead0\r" not in valkey.command("HKEYS", "omega:{btc_price}:meta")


async def test_a_redis_that_sleeps_delays_and_loses_nothing() -> None:
    """DEBUG SLEEP, as a slow command or a fork does it: longer than the time limit as well."""
    with ValkeyProcess(persistent=True, options={"enable-debug-command": "local"}) as valkey:
        seen: list[Publication] = []
        async with redis_broker(valkey.url, timeout=0.6) as broker:
            await broker.subscribe(["btc_price"], seen.append)
            for seconds in ("0.2", "1.5"):
                sleeping = asyncio.create_task(asyncio.to_thread(valkey.command, "DEBUG", "SLEEP", seconds))
                first = len(seen) + 1
                for number in range(first, first + 100):
                    broker.publish("btc_price", body(number))
                    await asyncio.sleep(0.002)
                await sleeping
                await until(lambda first=first: len(seen) >= first + 99)  # type: ignore[misc]  # a bound lambda
            assert numbers(seen) == list(range(1, 201))
            assert_unbroken(seen)


async def test_a_primary_that_is_made_a_replica_elsewhere_is_told_in_words(valkey: ValkeyProcess) -> None:
    """Readers and joiners get the sentence that names the remedy, not a broken answer."""
    async with redis_broker(valkey.url) as broker:
        broker.publish("btc_price", body(1))
        await broker.flush()
        valkey.command("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(BrokerError, match="read-only replica"):
            await broker.history("other")
        assert "read-only replica" in broker.status().detail
        valkey.command("REPLICAOF", "NO", "ONE")
        await until(lambda: broker.status().connected)
