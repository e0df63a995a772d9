"""The memory broker's own: bounds by count, age and bytes on a clock that is turned by hand."""

from __future__ import annotations

import random

import pytest

from omega_ai.core.clock import ManualClock
from omega_ai.data_feed.broker.base import BrokerClosed, Position, Publication
from omega_ai.data_feed.broker.memory import MemoryBroker


def _body(n: int) -> bytes:
    return b'{"type":"btc_price","n":%d}' % n


async def _kept(broker: MemoryBroker) -> list[int]:
    return [p.seq for p in (await broker.history("btc_price")).publications]


async def test_delivery_is_done_when_publish_returns() -> None:
    """No turn of the event loop lies between the two."""
    broker = MemoryBroker(clock=ManualClock())
    seen: list[Publication] = []
    await broker.subscribe(["btc_price"], seen.append)
    broker.publish("btc_price", _body(1))
    assert [p.seq for p in seen] == [1]


async def test_history_is_bounded_by_count() -> None:
    """Exactly the newest so many."""
    broker = MemoryBroker(clock=ManualClock(), history_messages=3, epoch="e")
    for n in range(1, 6):
        broker.publish("btc_price", _body(n))
    assert await _kept(broker) == [3, 4, 5]
    assert (await broker.history("btc_price", Position("e", 2))).whole
    assert not (await broker.history("btc_price", Position("e", 1))).whole


async def test_history_is_bounded_by_age_even_when_nothing_is_published() -> None:
    """A message older than the bound is not given out."""
    clock = ManualClock()
    broker = MemoryBroker(clock=clock, history_seconds=10.0, epoch="e")
    broker.publish("btc_price", _body(1))
    clock.advance(6.0)
    broker.publish("btc_price", _body(2))
    clock.advance(4.0)
    assert await _kept(broker) == [1, 2]
    clock.advance(0.001)
    assert await _kept(broker) == [2]
    clock.advance(60.0)
    assert await _kept(broker) == []
    assert (await broker.history("btc_price", Position("e", 2))).whole
    assert not (await broker.history("btc_price", Position("e", 1))).whole


async def test_history_is_bounded_by_bytes_but_keeps_the_newest() -> None:
    """Large messages do not add up without end; the newest stays whatever its size."""
    broker = MemoryBroker(clock=ManualClock(), history_bytes=1000)
    for n in range(100):
        broker.publish("btc_price", _body(n))
    kept = await _kept(broker)
    assert kept[-1] == 100
    assert 10 < len(kept) < 20
    broker.publish("btc_price", b'{"type":"btc_price","x":"%b"}' % (b"x" * 2000))
    assert await _kept(broker) == [101]


async def test_a_setting_of_utc_does_not_age_the_history() -> None:
    """Age is monotonic time."""
    clock = ManualClock()
    broker = MemoryBroker(clock=clock, history_seconds=10.0)
    broker.publish("btc_price", _body(1))
    clock.jump(86_400.0)
    assert await _kept(broker) == [1]


async def test_each_broker_has_its_own_epoch_unless_told() -> None:
    """A process that starts remembers nothing, so its sequence is another; a seed repeats it."""

    async def epoch(broker: MemoryBroker) -> str:
        return (await broker.history("btc_price")).position.epoch

    clock = ManualClock()
    assert await epoch(MemoryBroker(clock=clock)) != await epoch(MemoryBroker(clock=clock))
    assert await epoch(MemoryBroker(clock=clock, epoch="mine")) == "mine"
    seeded = [await epoch(MemoryBroker(clock=clock, rng=random.Random(7))) for _ in range(2)]
    assert seeded[0] == seeded[1]


async def test_subscribing_from_within_a_delivery_misses_and_doubles_nothing() -> None:
    """The newcomer sees what comes after the publication during which it joined."""
    broker = MemoryBroker(clock=ManualClock())
    late: list[Publication] = []

    def join(publication: Publication) -> None:
        if publication.seq == 1:
            broker.publish("btc_price", _body(2))
            coroutine = broker.subscribe(["btc_price"], late.append)
            with pytest.raises(StopIteration) as stopped:
                coroutine.send(None)
            assert stopped.value.value["btc_price"].seq == 2
            broker.publish("btc_price", _body(3))

    await broker.subscribe(["btc_price"], join)
    broker.publish("btc_price", _body(1))
    assert [p.seq for p in late] == [3]


async def test_close_forgets_and_refuses() -> None:
    """After it nothing is delivered and nothing accepted."""
    broker = MemoryBroker(clock=ManualClock())
    await broker.close()
    with pytest.raises(BrokerClosed):
        broker.publish("btc_price", _body(1))
    assert not broker.status().connected
