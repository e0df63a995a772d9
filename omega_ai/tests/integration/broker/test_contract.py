"""What every broker promises, checked alike on each: in memory, embedded, in a Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from omega_ai.data_feed.broker.base import (
    MAX_BODY_BYTES,
    Broker,
    BrokerClosed,
    BrokerError,
    InvalidBody,
    Position,
    Publication,
)
from omega_ai.tests.integration.broker.support import (
    assert_unbroken,
    body,
    check_messages,
    numbers,
    opened,
    until,
)
from omega_ai.tests.valkey import ValkeyProcess


@pytest.fixture(params=["memory", "embedded", "unix", "redis"])
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Broker]:
    """Each broker in turn, started."""
    process = None
    spec = request.param
    if spec == "embedded":
        spec = f"embedded:{tmp_path}"
    elif spec != "memory":
        process = ValkeyProcess(tcp=spec == "redis").start()
        spec = process.url
    broker = opened(spec)
    await broker.start()
    yield broker
    await broker.close()
    if process is not None:
        process.close()


async def test_seq_counts_from_1_within_one_epoch(broker: Broker) -> None:
    """The first message has seq 1, each further one 1 more, and the messages say so to the byte."""
    seen: list[Publication] = []
    positions = await broker.subscribe(["btc_price"], seen.append)
    for n in range(1, 101):
        broker.publish("btc_price", body(n))
    await broker.flush()
    await until(lambda: len(seen) == 100)
    assert positions["btc_price"] == Position(seen[0].epoch, 0)
    assert_unbroken(seen)
    assert numbers(seen) == list(range(1, 101))
    check_messages(seen)


async def test_a_body_with_only_a_type_gets_its_position(broker: Broker) -> None:
    """The shortest body there is."""
    seen: list[Publication] = []
    await broker.subscribe(["status"], seen.append)
    broker.publish("status", b'{"type":"status"}')
    await until(lambda: seen)
    assert seen[0].message == b'{"type":"status","epoch":"%b","seq":1}' % seen[0].epoch.encode()


async def test_channels_count_apart(broker: Broker) -> None:
    """Each channel has its own sequence, whatever the others do."""
    seen: list[Publication] = []
    await broker.subscribe(["btc_price", "trades"], seen.append)
    for n in range(1, 21):
        broker.publish("trades" if n % 4 else "btc_price", body(n, "trades" if n % 4 else "btc_price"))
    await until(lambda: len(seen) == 20)
    assert_unbroken([p for p in seen if p.channel == "trades"])
    assert_unbroken([p for p in seen if p.channel == "btc_price"])
    check_messages(seen)


async def test_a_subscriber_sees_nothing_from_before_and_everything_after(broker: Broker) -> None:
    """The positions that subscribe returns are where its deliveries begin."""
    for n in range(1, 6):
        broker.publish("btc_price", body(n))
    await broker.flush()
    seen: list[Publication] = []
    positions = await broker.subscribe(["btc_price"], seen.append)
    assert positions["btc_price"].seq == 5
    broker.publish("btc_price", body(6))
    await until(lambda: seen)
    assert numbers(seen) == [6]


async def test_joining_amid_publication_leaves_no_gap_and_no_double(broker: Broker) -> None:
    """Fifty subscribers join while messages flow; each sees exactly what came after its position."""
    joined: list[tuple[int, list[Publication]]] = []

    async def publish() -> None:
        for n in range(1, 501):
            broker.publish("btc_price", body(n))
            if n % 3 == 0:
                await asyncio.sleep(0)

    async def join() -> None:
        seen: list[Publication] = []
        positions = await broker.subscribe(["btc_price"], seen.append)
        joined.append((positions["btc_price"].seq, seen))

    publisher = asyncio.create_task(publish())
    for _ in range(50):
        await join()
        await asyncio.sleep(0)
    await publisher
    await broker.flush()
    await until(lambda: all(at == 500 or (seen and seen[-1].seq == 500) for at, seen in joined))
    for at, seen in joined:
        assert_unbroken(seen, at + 1)
        assert numbers(seen) == list(range(at + 1, 501))


async def test_history_since_a_position_is_whole(broker: Broker) -> None:
    """Everything after the position, up to the newest, and nothing else."""
    for n in range(1, 31):
        broker.publish("btc_price", body(n))
    await broker.flush()
    epoch = (await broker.history("btc_price")).position.epoch
    for since in (0, 1, 15, 29, 30):
        history = await broker.history("btc_price", Position(epoch, since))
        assert history.whole
        assert history.position == Position(epoch, 30)
        assert numbers(history.publications) == list(range(since + 1, 31))
        assert_unbroken(history.publications, since + 1)
        check_messages(history.publications)


async def test_history_that_cannot_be_whole_says_so_and_is_empty(broker: Broker) -> None:
    """Another epoch, or a position not reached yet: nothing is recovered in part."""
    for n in range(1, 4):
        broker.publish("btc_price", body(n))
    await broker.flush()
    epoch = (await broker.history("btc_price")).position.epoch
    for since in (Position("anepoch9", 1), Position(epoch, 4)):
        history = await broker.history("btc_price", since)
        assert not history.whole
        assert history.publications == []
        assert history.position == Position(epoch, 3)


async def test_history_limit_gives_the_newest_oldest_first(broker: Broker) -> None:
    """The newest ``limit`` messages; fewer when there are fewer."""
    for n in range(1, 11):
        broker.publish("btc_price", body(n))
    await broker.flush()
    for limit, expected in ((0, []), (1, [10]), (3, [8, 9, 10]), (99, list(range(1, 11)))):
        history = await broker.history("btc_price", limit=limit)
        assert history.whole
        assert numbers(history.publications) == expected
    epoch = history.position.epoch
    assert not (await broker.history("btc_price", Position(epoch, 2), limit=3)).whole
    assert (await broker.history("btc_price", Position(epoch, 8), limit=3)).whole


async def test_history_of_a_silent_channel_is_empty_and_whole(broker: Broker) -> None:
    """It has an epoch all the same, which its first message then has."""
    history = await broker.history("quotes")
    assert history.whole
    assert history.publications == []
    assert history.position.seq == 0
    broker.publish("quotes", body(1, "quotes"))
    await broker.flush()
    assert (await broker.history("quotes", history.position)).whole


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"{}",
        b'{"type":"trades"}',
        b'{"type":"btc_prices"}',
        b'{"type":"btc_price"',
        b'{"type":"btc_price","x":"' + b"x" * MAX_BODY_BYTES + b'"}',
    ],
)
async def test_what_is_no_body_is_refused_and_takes_no_seq(broker: Broker, bad: bytes) -> None:
    """Bad input is the caller's error; the channel is as before."""
    with pytest.raises(InvalidBody):
        broker.publish("btc_price", bad)
    await broker.flush()
    assert (await broker.history("btc_price")).position.seq == 0


@pytest.mark.parametrize("name", ["", "a b", "a{b}", "ä", "x" * 129, "a\r\nb"])
async def test_what_is_no_channel_name_is_refused(broker: Broker, name: str) -> None:
    """Names go into keys and messages; only harmless ones do."""
    with pytest.raises(InvalidBody):
        broker.publish(name, body(1, name))
    with pytest.raises(InvalidBody):
        await broker.subscribe([name], lambda _: None)
    with pytest.raises(InvalidBody):
        await broker.history(name)


async def test_a_failing_subscriber_does_not_harm_the_others(broker: Broker) -> None:
    """Its exception goes no further than a log."""
    seen: list[Publication] = []

    def fail(publication: Publication) -> None:
        raise RuntimeError("on purpose")

    await broker.subscribe(["btc_price"], fail)
    await broker.subscribe(["btc_price"], seen.append)
    for n in (1, 2):
        broker.publish("btc_price", body(n))
    await until(lambda: len(seen) == 2)


async def test_publishing_from_within_a_delivery_keeps_one_order_for_all(broker: Broker) -> None:
    """What a subscriber publishes while it is delivered to comes after, for every subscriber."""
    first: list[Publication] = []
    second: list[Publication] = []

    def answer(publication: Publication) -> None:
        first.append(publication)
        if publication.seq < 5:
            broker.publish("btc_price", body(publication.seq + 1))

    await broker.subscribe(["btc_price"], answer)
    await broker.subscribe(["btc_price"], second.append)
    broker.publish("btc_price", body(1))
    await until(lambda: len(second) == 5)
    assert_unbroken(first)
    assert first == second


async def test_it_is_connected_answers_a_ping_and_says_so(broker: Broker) -> None:
    """The state of a broker that fares well."""
    assert broker.status().connected
    assert 0.0 <= await broker.ping() < 5.0


async def test_close_may_be_called_twice_and_ends_all_use(broker: Broker) -> None:
    """After it, use is an error that names itself."""
    await broker.close()
    await broker.close()
    assert not broker.status().connected
    with pytest.raises(BrokerClosed):
        broker.publish("btc_price", body(1))
    with pytest.raises(BrokerError):
        await broker.ping()
    with pytest.raises(BrokerError):
        await broker.history("btc_price")
