"""How much history one client is given: bytes, at once and on average, in virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from omega_ai.data_feed.broker.base import message_of
from omega_ai.data_feed.settings import FeedSettings
from omega_ai.data_feed.websocket.errors import ErrorCode, MessageError
from omega_ai.data_feed.websocket.looking_back import Allowance, HistoryBound
from omega_ai.data_feed.websocket.session import MAX_LOOKBACKS
from omega_ai.tests.unit.data.websocket.conversation import Client, World

BODY = b'{"type":"broadcast","x":"%b"}'
BOUND = HistoryBound(rate=1000.0, burst=10_000)


def broadcasts(count: int, size: int, bound: HistoryBound | None = BOUND) -> World:
    """A world with ``count`` broadcasts of ``size`` bytes each."""
    world = World(history_bound=bound)
    for seq in range(1, count + 1):
        empty = len(message_of("broadcast", world.epoch, seq, BODY % b""))
        made = world.publication("broadcast", BODY % (b"x" * (size - empty)))
        assert len(made.message) == size
    return world


def ask(client: Client, **fields: Any) -> dict[str, Any]:
    """One request and its answer, or the error."""
    seen = client.send(type="history", channel="broadcast", **fields)
    client.world.answer_look_backs()
    (answer,) = [*seen, *client.seen()]
    return answer


def test_who_has_had_enough_waits_and_is_served_again() -> None:
    """After exactly the time that the error names."""
    world = broadcasts(9, 1000)
    client = world.client(channels=())
    assert [ask(client, limit=9)["type"] for _ in range(2)] == ["history"] * 2  # 18,000 bytes: 8,000 too many
    error = ask(client, limit=1, id="a")
    assert (error["code"], error["id"], error["temporary"]) == ("rate_limited", "a", True)
    assert 8000 <= error["retry_after_ms"] <= 8001
    world.clock.advance(7.9)
    assert ask(client, limit=1)["code"] == "rate_limited"
    world.clock.advance(0.101)
    assert len(ask(client, limit=1)["messages"]) == 1


def test_over_a_long_time_no_more_is_given_than_the_rate_says() -> None:
    """However eagerly it is asked for; a pause saves up one burst and no more."""
    world = broadcasts(9, 1000)
    client = world.client(channels=())
    given = 0
    for _ in range(400):
        given += 1000 * len(ask(client, limit=3).get("messages", ()))
        world.clock.advance(0.5)
    assert 0 <= given - 200 * BOUND.rate <= BOUND.burst + 3000
    world.clock.advance(100_000)
    assert [ask(client, limit=9)["type"] for _ in range(3)] == ["history", "history", "error"]


def test_each_client_has_its_own() -> None:
    """One that asks for too much takes nothing from the others."""
    world = broadcasts(9, 1000)
    greedy, other = world.client(channels=()), world.client(channels=())
    while ask(greedy, limit=9)["type"] == "history":
        pass
    assert ask(other, limit=9)["type"] == "history"


def test_more_than_there_is_at_once_is_not_sent_but_counts() -> None:
    """It was read; a smaller piece can be had once that is made up for."""
    world = broadcasts(20, 1000)
    client = world.client(channels=())
    error = ask(client, limit=20)
    assert (error["code"], error["field"], error["temporary"]) == ("invalid_field", "limit", False)
    assert "ask for fewer" in error["message"]
    assert ask(client, limit=9)["type"] == "history"  # nothing is owed: what was charged is one burst
    assert ask(client, limit=1)["code"] == "rate_limited"
    world.clock.advance(9.5)
    assert len(ask(client, limit=9)["messages"]) == 9


def test_questions_under_way_together_are_all_charged() -> None:
    """They were asked before the first answer was known."""
    world = broadcasts(9, 1000)
    client = world.client(channels=())
    request = b'{"type":"history","channel":"broadcast","limit":9}'
    assert client.send(*[request] * MAX_LOOKBACKS) == []
    world.answer_look_backs()
    assert [answer["type"] for answer in client.seen()] == ["history"] * MAX_LOOKBACKS
    owed = MAX_LOOKBACKS * 9000 - BOUND.burst
    assert owed <= ask(client, limit=1)["retry_after_ms"] <= owed + 1


def test_a_refused_question_costs_nothing_and_asks_nothing_of_the_broker() -> None:
    """Neither one that contradicts itself nor one that comes too early."""
    world = broadcasts(9, 1000)
    client = world.client(channels=())
    assert ask(client)["code"] == "invalid_field"
    world.broker_is_away = True
    assert ask(client, limit=9)["code"] == "internal"
    world.broker_is_away = False
    assert [ask(client, limit=9)["type"] for _ in range(2)] == ["history"] * 2
    assert client.send(type="history", channel="broadcast", limit=9)[0]["code"] == "rate_limited"
    assert world.look_backs == []


def test_resuming_is_not_concerned() -> None:
    """Who has had all its history may still come back to a channel."""
    world = broadcasts(9, 1000)
    client = world.client(channels=())
    while ask(client, limit=9)["type"] == "history":
        pass
    since = {"broadcast": {"epoch": "epoch1", "seq": 4}}
    answer, *missed = client.send(type="subscribe", channels=["broadcast"], since=since)
    assert (answer["recovered"], len(missed)) == (True, 5)


def test_without_a_bound_nothing_is_counted() -> None:
    """As on loopback."""
    client = broadcasts(20, 1000, None).client(channels=())
    assert [len(ask(client, limit=20)["messages"]) for _ in range(10)] == [20] * 10


def test_a_bound_that_changes_holds_at_once() -> None:
    """Settings may be read again while the client is there."""
    world = broadcasts(9, 1000)
    client = world.client(channels=())
    while ask(client, limit=9)["type"] == "history":
        pass
    world.history_bound = None
    assert ask(client, limit=9)["type"] == "history"
    world.history_bound = HistoryBound(1_000_000.0, 10_000)
    world.clock.advance(0.1)
    assert ask(client, limit=9)["type"] == "history"


def test_the_time_to_wait_is_enough_at_any_rate() -> None:
    """Rounded up to the millisecond, never down."""
    for rate in (0.5, 3.0, 777.0, 262_144.0, 1e9):
        bound = HistoryBound(rate, 65_536)
        allowance = Allowance(bound, 5.0)
        allowance.charge(bound, 65_536)
        allowance.charge(bound, 1)
        with pytest.raises(MessageError) as caught:
            allowance.check(bound, 5.0)
        assert caught.value.code is ErrorCode.RATE_LIMITED
        wait = caught.value.retry_after_ms
        assert wait is not None
        allowance.check(bound, 5.0 + wait / 1000)


@pytest.mark.parametrize(
    ("settings", "rate"),
    [
        (FeedSettings(), None),
        (FeedSettings(host="0.0.0.0"), 262_144.0),
        (FeedSettings(host="0.0.0.0", history_rate=0.0), None),
        (FeedSettings(history_rate=5.0), 5.0),
    ],
)
def test_by_default_it_holds_where_others_can_reach_the_feed(
    settings: FeedSettings, rate: float | None
) -> None:
    """And 0 turns it off."""
    assert settings.effective_history_rate == rate
