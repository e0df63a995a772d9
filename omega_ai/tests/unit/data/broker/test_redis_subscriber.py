"""Where replay and live meet, with a history that answers when the test says so."""

from __future__ import annotations

import asyncio
from typing import cast

from omega_ai.data_feed.broker.base import History, Position, Publication, message_of
from omega_ai.data_feed.broker.redis_reader import Reader
from omega_ai.data_feed.broker.redis_subscriber import Subscriber

LIVE = b"omega:{t}:live"


def _publication(seq: int, epoch: str = "e") -> Publication:
    return Publication("t", epoch, seq, message_of("t", epoch, seq, b'{"type":"t"}'))


class SlowReader:
    """A history of which the test sets the content and the moment of the answer."""

    def __init__(self) -> None:
        self.top = Position("e", 0)
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()
        self.answer.set()

    async def position(self, channel: str, seen: Position = Position("", 0)) -> Position:  # noqa: B008 - immutable
        return self.top

    def vouched(self, channel: str) -> bool:
        return True

    async def history(self, channel: str, since: Position | None, limit: int | None) -> History:
        assert since is not None
        top = self.top
        self.asked.set()
        await self.answer.wait()
        if since.epoch != top.epoch:
            return History(top, [], whole=False)
        return History(
            top, [_publication(s, top.epoch) for s in range(since.seq + 1, top.seq + 1)], whole=True
        )


async def _joined() -> tuple[Subscriber, SlowReader, list[Publication]]:
    reader = SlowReader()
    subscriber = Subscriber(cast("Reader", reader))
    seen: list[Publication] = []
    joining = asyncio.create_task(subscriber.subscribe(["t"], seen.append))
    await asyncio.sleep(0)
    subscriber.arrived([b"subscribe", LIVE, 1])
    assert await joining == {"t": Position("e", 0)}
    return subscriber, reader, seen


def _arrive(subscriber: Subscriber, publication: Publication) -> None:
    subscriber.arrived([b"message", LIVE, publication.message])


async def _turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_what_arrives_while_a_gap_is_filled_comes_after_it() -> None:
    """Held until the history has answered; neither lost nor doubled, even with nothing after it."""
    subscriber, reader, seen = await _joined()
    reader.answer.clear()
    reader.top = Position("e", 3)
    _arrive(subscriber, _publication(3))
    await reader.asked.wait()
    for seq in (3, 4, 5):
        _arrive(subscriber, _publication(seq))
    assert seen == []
    reader.answer.set()
    await _turns()
    assert [p.seq for p in seen] == [1, 2, 3, 4, 5]
    _arrive(subscriber, _publication(6))
    assert [p.seq for p in seen] == [1, 2, 3, 4, 5, 6]
    await subscriber.close()


async def test_a_reconnect_during_filling_fills_again() -> None:
    """An answer from before the new connection proves nothing about what was missed since."""
    subscriber, reader, seen = await _joined()
    reader.answer.clear()
    reader.top = Position("e", 2)
    _arrive(subscriber, _publication(2))
    await reader.asked.wait()
    subscriber.arrived([b"subscribe", LIVE, 1])
    reader.top = Position("e", 4)
    reader.answer.set()
    await _turns()
    assert [p.seq for p in seen] == [1, 2, 3, 4]
    await subscriber.close()


async def test_a_straggler_of_an_older_epoch_is_not_delivered() -> None:
    """Which of two epochs is the newer one the history tells."""
    subscriber, reader, seen = await _joined()
    _arrive(subscriber, _publication(1))
    reader.top = Position("f", 2)
    _arrive(subscriber, _publication(2, "f"))
    await _turns()
    _arrive(subscriber, _publication(2, "e"))
    await _turns()
    _arrive(subscriber, _publication(3, "f"))
    assert [(p.epoch, p.seq) for p in seen] == [("e", 1), ("f", 1), ("f", 2), ("f", 3)]
    await subscriber.close()


async def test_a_double_is_dropped() -> None:
    """The same message again, or an older one."""
    subscriber, _, seen = await _joined()
    for seq in (1, 2, 2, 1, 3):
        _arrive(subscriber, _publication(seq))
    assert [p.seq for p in seen] == [1, 2, 3]
    await subscriber.close()
