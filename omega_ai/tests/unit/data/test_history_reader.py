"""Reads of history are shared, cut to measure, and answered whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from omega_ai.data_feed.broker.base import BrokerError, History, Position, Publication
from omega_ai.data_feed.history_reader import HistoryReader


class SlowBroker:
    """A history of a hundred messages of which the first ten are forgotten; each read takes a moment."""

    def __init__(self) -> None:
        self.reads: list[tuple[Position | None, int | None]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.broken = False
        self.kept = [Publication("trades", "e", n, b"%d" % n) for n in range(11, 101)]

    async def history(self, channel: str, since: Position | None = None, limit: int | None = None) -> History:
        """See ``Broker.history``."""
        assert channel == "trades"
        self.reads.append((since, limit))
        await self.open.wait()
        if self.broken:
            raise BrokerError("away")
        top = Position("e", 100)
        if since is None:
            return History(top, self.kept if limit is None else self.kept[-limit:], whole=True)
        if since.epoch != "e" or not 10 <= since.seq <= 100:
            return History(top, [], whole=False)
        return History(top, [p for p in self.kept if p.seq > since.seq], whole=True)


@pytest.fixture
def broker() -> SlowBroker:
    """A broker that answers."""
    return SlowBroker()


def reader_of(broker: Any, timeout: float = 10.0) -> HistoryReader:
    """A reader over the pretended broker."""
    return HistoryReader(broker, timeout=timeout)


class Answers:
    """What each request got."""

    def __init__(self, reader: HistoryReader) -> None:
        self.reader = reader
        self.got: dict[int, History | None] = {}
        self.asked = 0

    def ask(
        self,
        since: int | None,
        limit: int | None = None,
        epoch: str = "e",
        known: Callable[[], History | None] | None = None,
    ) -> int:
        """Ask; returns the request's number."""
        number = self.asked
        self.asked += 1
        position = None if since is None else Position(epoch, since)
        self.reader.look_back("trades", position, limit, lambda h: self._take(number, h), known)
        return number

    def _take(self, number: int, history: History | None) -> None:
        assert number not in self.got, "answered twice"
        self.got[number] = history

    async def all(self) -> None:
        """Wait until everybody has an answer."""
        async with asyncio.timeout(5):
            while len(self.got) < self.asked:
                await asyncio.sleep(0)

    def seqs(self, number: int) -> list[int]:
        """The sequence numbers that a request got."""
        history = self.got[number]
        assert history is not None
        assert history.whole
        return [publication.seq for publication in history.publications]


async def test_a_storm_of_resumes_costs_one_read(broker: SlowBroker) -> None:
    """Whoever comes while a read is under way is served by the next one, together."""
    answers = Answers(reader_of(broker))
    broker.open.clear()
    first = answers.ask(50)
    await asyncio.sleep(0)
    storm = {answers.ask(20 + n % 70): 20 + n % 70 for n in range(5000)}
    broker.open.set()
    await answers.all()
    assert answers.seqs(first) == list(range(51, 101))
    for number, since in storm.items():
        assert answers.seqs(number) == list(range(since + 1, 101))
    assert [since for since, _ in broker.reads] == [Position("e", 50), Position("e", 20)]


async def test_what_one_has_read_spares_those_who_came_meanwhile_their_own_read(broker: SlowBroker) -> None:
    """They are asked whether it will do: one read for the whole storm."""
    answers = Answers(reader_of(broker))
    broker.open.clear()
    first = answers.ask(50, known=lambda: None)
    await asyncio.sleep(0)
    in_memory = History(Position("e", 100), [], whole=True)
    storm = [answers.ask(50 + n % 50, known=lambda: in_memory) for n in range(5000)]
    broker.open.set()
    await answers.all()
    assert len(broker.reads) == 1
    assert answers.seqs(first) == list(range(51, 101))
    assert all(answers.got[number] is in_memory for number in storm)


async def test_a_storm_of_positions_that_are_too_old_costs_two_reads(broker: SlowBroker) -> None:
    """One to see that the oldest is, one to see how many are; later ones none."""
    answers = Answers(reader_of(broker))
    old = [answers.ask(n) for n in range(10)]
    young = answers.ask(10)
    await answers.all()
    old += [answers.ask(n) for n in range(10)]
    await answers.all()
    assert not any(history.whole for number in old if (history := answers.got[number]) is not None)
    assert answers.seqs(young) == list(range(11, 101))
    assert len(broker.reads) == 3  # the third is for those whom it reaches


async def test_positions_ahead_of_the_broker_are_asked_about_each_time(broker: SlowBroker) -> None:
    """It may catch up: that nothing is known of them is remembered of none."""
    answers = Answers(reader_of(broker))
    for _ in range(2):
        number = answers.ask(101)
        await answers.all()
        history = answers.got[number]
        assert history is not None
        assert not history.whole
    assert len(broker.reads) == 2


async def test_who_is_too_far_back_is_told_and_does_not_spoil_it_for_the_others(broker: SlowBroker) -> None:
    """Those whom the history still reaches are served."""
    answers = Answers(reader_of(broker))
    old, young = answers.ask(3), answers.ask(90)
    await answers.all()
    history = answers.got[old]
    assert history is not None
    assert not history.whole
    assert answers.seqs(young) == list(range(91, 101))


async def test_epochs_are_read_apart(broker: SlowBroker) -> None:
    """A position of another epoch proves nothing for this one."""
    answers = Answers(reader_of(broker))
    other, own = answers.ask(50, epoch="other"), answers.ask(95)
    await answers.all()
    history = answers.got[other]
    assert history is not None
    assert not history.whole
    assert answers.seqs(own) == [96, 97, 98, 99, 100]


async def test_the_newest_n(broker: SlowBroker) -> None:
    """A request without a position."""
    answers = Answers(reader_of(broker))
    number = answers.ask(None, 3)
    await answers.all()
    assert answers.seqs(number) == [98, 99, 100]


async def test_a_broker_that_fails_is_answered_with_none(broker: SlowBroker) -> None:
    """And asked again by the next request."""
    broker.broken = True
    answers = Answers(reader_of(broker, timeout=0.1))
    failed = [answers.ask(50), answers.ask(60), answers.ask(None, 5)]
    await answers.all()
    assert [answers.got[number] for number in failed] == [None, None, None]
    broker.broken = False
    number = answers.ask(99)
    await answers.all()
    assert answers.seqs(number) == [100]


async def test_a_broker_that_is_back_in_time_is_asked_again(broker: SlowBroker) -> None:
    """Whoever resumes while it is away waits a little."""
    broker.broken = True
    answers = Answers(reader_of(broker, timeout=5.0))
    number = answers.ask(50)
    await asyncio.sleep(0.05)
    broker.broken = False
    await answers.all()
    assert len(answers.seqs(number)) == 50


async def test_an_answer_waits_until_this_process_has_got_as_far(broker: SlowBroker) -> None:
    """The broker is ahead of what has been delivered here: replay and live could not meet yet."""
    at = Position("e", 90)
    reader = reader_of(broker)
    reader.reached = lambda _: at
    answers = Answers(reader)
    number = answers.ask(50)
    await asyncio.sleep(0.05)
    assert number not in answers.got
    at = Position("e", 100)
    await answers.all()
    assert len(answers.seqs(number)) == 50


async def test_a_broker_that_does_not_answer_is_given_up(broker: SlowBroker) -> None:
    """A time-out on every wait."""
    broker.open.clear()
    answers = Answers(reader_of(broker, timeout=0.05))
    number = answers.ask(50)
    await answers.all()
    assert answers.got[number] is None


async def test_closing_answers_those_who_wait(broker: SlowBroker) -> None:
    """Nobody is left hanging, no task either."""
    reader = reader_of(broker)
    answers = Answers(reader)
    broker.open.clear()
    answers.ask(50)
    await asyncio.sleep(0)
    waiting = answers.ask(60)
    await reader.close()
    assert answers.got[waiting] is None
    assert len(asyncio.all_tasks()) == 1


async def test_an_answer_that_fails_harms_nobody_else(broker: SlowBroker) -> None:
    """One client's defect is not another's."""
    reader = reader_of(broker)
    answers = Answers(reader)

    def fail(_: History | None) -> None:
        raise RuntimeError("a defect")

    reader.look_back("trades", Position("e", 99), None, fail)
    number = answers.ask(99)
    await answers.all()
    assert answers.seqs(number) == [100]
