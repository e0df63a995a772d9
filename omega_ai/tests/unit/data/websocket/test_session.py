"""One client's conversation: answers, permissions, violations, resume."""

from __future__ import annotations

import json
from typing import Any

import pytest

from omega_ai.data_feed.broker.base import History, Position
from omega_ai.data_feed.websocket.close_codes import CloseCode
from omega_ai.data_feed.websocket.conduct import VIOLATIONS
from omega_ai.data_feed.websocket.messages import CHANNELS
from omega_ai.data_feed.websocket.session import MAX_LOOKBACKS
from omega_ai.tests.unit.data.websocket.conversation import Client, Person, World

PRICE: dict[str, Any] = {
    "type": "btc_price",
    "price": 61800.5,
    "volume": 2,
    "timestamp": "2026-01-01T00:00:00Z",
}


class TestRequests:
    """Each request has its answer."""

    def test_nothing_is_said_before_anything_happens(self) -> None:
        """The server never speaks first."""
        assert World().client().seen() == []

    def test_ping_is_answered_with_the_id_and_the_time(self) -> None:
        """``pong``."""
        world = World()
        (pong,) = world.client().send(type="ping", id=7)
        assert pong == {"type": "pong", "id": 7, "timestamp": "2026-01-01T00:00:00.000000Z"}

    @pytest.mark.parametrize("kind", ["test", "load_test"])
    def test_an_echo_goes_to_its_sender_alone(self, kind: str) -> None:
        """With all its fields and the time."""
        world = World()
        client, other = world.client(), world.client()
        (echo,) = client.send(type=kind, sequence=3, nested={"a": [1, None]})
        assert echo["received_at"] == "2026-01-01T00:00:00.000000Z"
        assert (echo["type"], echo["sequence"], echo["nested"]) == (kind, 3, {"a": [1, None]})
        assert other.seen() == []

    def test_a_published_price_reaches_every_subscriber_and_the_sender(self) -> None:
        """With a position, and the server's time beside the client's."""
        world = World()
        sender, reader, gone = world.client(), world.client(), world.client(channels=())
        (mine,) = sender.send(**PRICE)
        (theirs,) = reader.seen()
        assert mine == theirs
        assert (mine["epoch"], mine["seq"]) == ("epoch1", 1)
        assert (mine["price"], mine["volume"]) == (61800.5, 2)
        assert mine["source_timestamp"] == "2026-01-01T00:00:00.000000Z"
        assert gone.seen() == []

    def test_a_broadcast_reaches_every_subscriber(self) -> None:
        """Whatever it holds."""
        world = World()
        sender, reader = world.client(), world.client()
        sender.send(type="broadcast", timestamp="2026-01-01T00:00:00Z", note="hello", deep={"x": 1})
        (message,) = reader.seen()
        assert (message["note"], message["deep"], message["seq"]) == ("hello", {"x": 1}, 1)

    def test_answers_of_one_read_leave_in_one_write(self) -> None:
        """A pipelining client costs one system call a read."""
        world = World()
        client = world.client()
        client.send(*[b'{"type":"ping","id":%d}' % n for n in range(10)])
        assert client.writes == 1

    def test_an_invalid_message_is_answered_and_the_next_one_served(self) -> None:
        """The connection stays open."""
        client = World().client()
        error, pong = client.send(b'{"type":"ping","id":[]}', b'{"type":"ping","id":1}')
        assert (error["type"], error["code"], error["field"]) == ("error", "invalid_field", "id")
        assert pong["type"] == "pong"
        assert client.closed is None


class TestSubscribing:
    """Channels, modes and positions."""

    def test_subscribe_answers_once_per_channel(self) -> None:
        """With the position after which live messages follow."""
        world = World()
        world.price(1)
        client = world.client(channels=())
        first, second = client.send(type="subscribe", id="a", channels=["btc_price", "trades"])
        assert (first["channel"], first["seq"], first["id"]) == ("btc_price", 1, "a")
        assert (second["channel"], second["seq"], second["recovered"]) == ("trades", 0, False)
        world.price(2)
        assert [m["seq"] for m in client.seen()] == [2]

    def test_latest_gives_the_state_at_once(self) -> None:
        """Each message is the full state, so the newest is where to begin."""
        world = World()
        world.price(1)
        world.price(2)
        answer, state = world.client(channels=()).send(
            type="subscribe", channels=["btc_price"], mode="latest"
        )
        assert answer["type"] == "subscribed"
        assert state["price"] == 2

    def test_subscribing_again_changes_the_mode_and_doubles_nothing(self) -> None:
        """A channel is subscribed to once."""
        world = World()
        client = world.client()
        client.send(type="subscribe", channels=["btc_price"], mode="latest")
        client.send(type="subscribe", channels=["btc_price"])
        world.price(1)
        assert [m["seq"] for m in client.seen()] == [1]

    def test_an_unknown_channel_is_named_and_nothing_is_changed(self) -> None:
        """All or nothing."""
        world = World()
        client = world.client(channels=())
        (error,) = client.send(type="subscribe", id=5, channels=["btc_price", "eth_price"])
        assert (error["code"], error["id"]) == ("unknown_channel", 5)
        assert "eth_price" in error["message"]
        world.price(1)
        assert client.seen() == []

    @pytest.mark.parametrize(
        "fields",
        [
            {"channels": ["trades", "trades"]},
            {"channels": ["trades"], "since": {"quotes": {"epoch": "e", "seq": 1}}},
            {"channels": ["trades"] * 65},
            {"channels": ["trades"], "interval_ms": 60_001},
            {"channels": "trades"},
        ],
    )
    def test_contradictions_are_refused(self, fields: dict[str, Any]) -> None:
        """Twice the same, positions of others, too many, out of bounds, not a list."""
        (error,) = World().client().send(type="subscribe", **fields)
        assert error["code"] == "invalid_field"

    def test_all_channels_can_be_had(self) -> None:
        """Including ``heartbeat``, which has no position."""
        answers = World().client(channels=()).send(type="subscribe", channels=list(CHANNELS))
        assert {a["channel"]: "seq" in a for a in answers} == {c: c != "heartbeat" for c in CHANNELS}

    def test_unsubscribing_answers_with_the_channels(self) -> None:
        """Also those that were not subscribed."""
        world = World()
        client = world.client()
        (answer,) = client.send(type="unsubscribe", id=1, channels=["btc_price", "trades"])
        assert answer == {"type": "unsubscribed", "id": 1, "channels": ["btc_price", "trades"]}
        world.price(1)
        assert client.seen() == []

    def test_the_answer_comes_before_the_first_live_message(self) -> None:
        """Even when a message is published in the same turn, by the same client."""
        world = World()
        client = world.client(channels=())
        seen = client.send(
            b'{"type":"subscribe","channels":["btc_price"]}',
            json.dumps(PRICE).encode(),
            b'{"type":"unsubscribe","channels":["btc_price"]}',
        )
        assert [m["type"] for m in seen] == ["subscribed", "btc_price", "unsubscribed"]


def resume(client: Client, seq: int, epoch: str = "epoch1", **fields: Any) -> list[dict[str, Any]]:
    """Subscribe ``client`` to prices since ``seq``."""
    since = {"btc_price": {"epoch": epoch, "seq": seq}}
    return client.send(type="subscribe", channels=["btc_price"], since=since, **fields)


class TestResume:
    """``since``: everything missed, once, in order, then live; or plainly not."""

    def test_from_the_tail_in_the_same_turn(self) -> None:
        """No read of the broker."""
        world = World()
        for number in range(1, 6):
            world.price(number)
        client = world.client(channels=())
        answer, *missed = resume(client, 2)
        assert answer["recovered"] is True
        assert [m["seq"] for m in missed] == [3, 4, 5]
        assert world.look_backs == []
        world.price(6)
        assert [m["seq"] for m in client.seen()] == [6]

    def test_with_nothing_missed(self) -> None:
        """Recovered, and nothing is replayed."""
        world = World()
        world.price(1)
        (answer,) = resume(world.client(channels=()), 1)
        assert (answer["recovered"], answer["seq"]) == (True, 1)

    def test_from_history_when_the_tail_is_too_short(self) -> None:
        """Replay and live meet without gap or double, though messages come during the read."""
        world = World(tail=4)
        for number in range(1, 21):
            world.price(number)
        client = world.client(channels=())
        assert resume(client, 3) == []
        world.price(21)
        assert client.seen() == []
        world.answer_look_backs()
        world.price(22)
        answer, *messages = client.seen()
        assert answer["recovered"] is True
        assert [m["seq"] for m in messages] == list(range(4, 23))

    def test_history_older_than_what_has_come_since_is_completed_from_the_tail(self) -> None:
        """The read ended at 20; the tail has the rest."""
        world = World(tail=8)
        for number in range(1, 21):
            world.price(number)
        client = world.client(channels=())
        resume(client, 3)
        ((channel, since, _, done),) = world.look_backs
        kept = list(world.kept[channel])
        for number in range(21, 25):
            world.price(number)
        assert since is not None
        done(History(Position("epoch1", 20), [p for p in kept if p.seq > since.seq], whole=True))
        answer, *messages = client.seen()
        assert (answer["recovered"], answer["seq"]) == (True, 24)
        assert [m["seq"] for m in messages] == list(range(4, 25))

    def test_a_read_that_has_become_too_old_is_not_patched_over(self) -> None:
        """If the tail no longer reaches it, the client is told the truth."""
        world = World(tail=2)
        for number in range(1, 21):
            world.price(number)
        client = world.client(channels=())
        resume(client, 3)
        ((channel, _, _, done),) = world.look_backs
        kept = [p for p in world.kept[channel] if p.seq > 3]
        for number in range(21, 31):
            world.price(number)
        done(History(Position("epoch1", 20), kept, whole=True))
        answer, state = client.seen()
        assert answer["recovered"] is False
        assert state["seq"] == 30

    @pytest.mark.parametrize(("epoch", "seq"), [("other", 2), ("epoch1", 9)])
    def test_a_position_that_cannot_be_proven_gives_the_latest_state(self, epoch: str, seq: int) -> None:
        """Another epoch, or from the future: ``recovered: false`` and where things stand."""
        world = World()
        for number in range(1, 4):
            world.price(number)
        client = world.client(channels=())
        assert resume(client, seq, epoch) == [], "the broker may know more than this server"
        world.answer_look_backs()
        answer, state = client.seen()
        assert answer["recovered"] is False
        assert (state["epoch"], state["seq"]) == ("epoch1", 3)

    def test_a_broker_that_is_away_asks_to_come_again(self) -> None:
        """Nothing is said about a past that cannot be looked at: neither half a replay, nor a loss."""
        world = World(tail=2)
        for number in range(1, 10):
            world.price(number)
        world.broker_is_away = True
        client = world.client(channels=())
        resume(client, 1)
        world.answer_look_backs()
        (error,) = client.seen()
        assert (error["code"], error["temporary"]) == ("internal", True)

    def test_a_client_that_is_ahead_of_this_server_is_not_told_a_loss(self) -> None:
        """It comes from a server that was quicker: the broker knows its position, and this one catches up."""
        world = World()
        for number in range(1, 4):
            world.price(number)
        client = world.client(channels=())
        resume(client, 5)
        ((_, since, _, done),) = world.look_backs
        assert since == Position("epoch1", 5)
        for number in range(4, 7):
            world.price(number)
        done(History(Position("epoch1", 5), [], whole=True))
        answer, message = client.seen()
        assert (answer["recovered"], message["seq"]) == (True, 6)

    def test_a_server_that_does_not_catch_up_asks_to_come_again(self) -> None:
        """It knows that there is more than it has got: neither a loss nor a gap is told."""
        world = World()
        for number in range(1, 4):
            world.price(number)
        client = world.client(channels=())
        resume(client, 5)
        ((_, _, _, done),) = world.look_backs
        done(History(Position("epoch1", 5), [], whole=True))
        (error,) = client.seen()
        assert (error["code"], error["temporary"]) == ("internal", True)
        world.price(4)
        assert client.seen() == []

    def test_a_client_that_leaves_meanwhile_gets_nothing(self) -> None:
        """The answer to a dead connection is dropped."""
        world = World(tail=2)
        for number in range(1, 10):
            world.price(number)
        client = world.client(channels=())
        resume(client, 1)
        client.session.end()
        world.answer_look_backs()
        assert client.seen() == []

    def test_a_replay_larger_than_the_outbox_is_no_overflow(self) -> None:
        """Its bound is the history's; what is published meanwhile follows it in order."""
        world = World(tail=500)
        for number in range(1, 401):
            world.price(number)
        client = world.client(channels=(), limit=500)
        client.stalled = True
        resume(client, 0)
        world.price(401)
        world.scheduler.run()
        assert not client.session.closed
        client.drain()
        assert [m["seq"] for m in client.seen()] == list(range(1, 402))
        assert client.outbox.queued_bytes == 0

    def test_after_a_replay_the_bound_holds_again(self) -> None:
        """Live messages that wait are counted as ever."""
        world = World(tail=500)
        for number in range(1, 401):
            world.price(number)
        client = world.client(channels=(), limit=500)
        resume(client, 0)
        client.stalled = True
        for number in range(401, 421):
            world.price(number)
            world.scheduler.run()
        assert client.closed is not None
        assert client.closed[0] == CloseCode.SLOW_CONSUMER

    @pytest.mark.parametrize("mode", ["all", "latest"])
    def test_unsubscribing_while_the_broker_is_asked_is_the_last_word(self, mode: str) -> None:
        """Each request is answered, and the broker's answer brings nobody back."""
        world = World(tail=2)
        for number in range(1, 10):
            world.price(number)
        client = world.client(channels=())
        resume(client, 1, id=7, mode=mode)
        subscribed, unsubscribed = client.send(type="unsubscribe", channels=["btc_price"], id=8)
        assert (subscribed["type"], subscribed["id"], subscribed["recovered"]) == ("subscribed", 7, False)
        assert (unsubscribed["type"], unsubscribed["id"]) == ("unsubscribed", 8)
        world.answer_look_backs()
        world.price(10)
        assert client.seen() == []
        assert client.session.subscriptions == frozenset()

    def test_subscribing_anew_while_the_broker_is_asked_replaces_the_first(self) -> None:
        """Both are answered; nothing comes twice."""
        world = World(tail=2)
        for number in range(1, 10):
            world.price(number)
        client = world.client(channels=())
        resume(client, 1, id=1)
        first, *_ = resume(client, 2, id=2)
        assert (first["id"], first["recovered"]) == (1, False)
        world.answer_look_backs()
        second, *missed = client.seen()
        assert (second["id"], second["recovered"]) == (2, True)
        assert [m["seq"] for m in missed] == list(range(3, 10))

    def test_a_right_that_is_lost_while_the_broker_is_asked_is_not_given_back(self) -> None:
        """A channel that may not be read any more is not joined by a late answer."""
        world = World(tail=2)
        for number in range(1, 10):
            world.price(number)
        client = world.client(channels=())
        world.authenticate = lambda token, now_ns: Person("bob", read=("trades",))  # type: ignore[method-assign]
        resume(client, 1)
        client.send(type="auth", token="other")
        world.answer_look_backs()
        world.price(10)
        assert client.seen() == []

    def test_in_mode_latest_only_the_newest_missed_message_is_sent(self) -> None:
        """The older ones say nothing that it does not."""
        world = World()
        for number in range(1, 6):
            world.price(number)
        answer, *missed = resume(world.client(channels=()), 2, mode="latest")
        assert answer["recovered"] is True
        assert [m["seq"] for m in missed] == [5]


class TestHistory:
    """Looking back."""

    def test_the_newest_n(self) -> None:
        """Oldest first."""
        world = World()
        for number in range(1, 6):
            world.price(number)
        client = world.client(channels=())
        client.send(type="history", id=1, channel="btc_price", limit=2)
        world.answer_look_backs()
        (answer,) = client.seen()
        assert [m["seq"] for m in answer["messages"]] == [4, 5]
        assert (answer["id"], answer["channel"], answer["seq"]) == (1, "btc_price", 5)

    def test_since_a_position(self) -> None:
        """All after it."""
        world = World()
        for number in range(1, 6):
            world.price(number)
        client = world.client(channels=())
        client.send(type="history", channel="btc_price", since={"epoch": "epoch1", "seq": 3})
        world.answer_look_backs()
        assert [m["seq"] for m in client.seen()[0]["messages"]] == [4, 5]

    def test_a_position_that_is_gone_is_an_error_of_its_own(self) -> None:
        """``unrecoverable_position``."""
        world = World()
        client = world.client(channels=())
        client.send(type="history", id="h", channel="btc_price", since={"epoch": "old", "seq": 3})
        world.answer_look_backs()
        (error,) = client.seen()
        assert (error["code"], error["id"], error["temporary"]) == ("unrecoverable_position", "h", False)

    @pytest.mark.parametrize("fields", [{}, {"limit": 1, "since": {"epoch": "e", "seq": 1}}])
    def test_exactly_one_of_since_and_limit(self, fields: dict[str, Any]) -> None:
        """Neither or both is no question."""
        (error,) = World().client().send(type="history", channel="btc_price", **fields)
        assert error["code"] == "invalid_field"

    def test_requests_under_way_are_bounded(self) -> None:
        """One client cannot queue reads without end; answered ones make room."""
        world = World()
        client = world.client()
        ask = b'{"type":"history","channel":"btc_price","limit":1}'
        (error,) = client.send(*[ask] * (MAX_LOOKBACKS + 1))
        assert (error["code"], error["temporary"]) == ("limit_exceeded", True)
        world.answer_look_backs()
        client.seen()
        assert client.send(ask) == []

    def test_a_broker_that_is_away_is_a_temporary_error(self) -> None:
        """Ask again later."""
        world = World()
        world.broker_is_away = True
        client = world.client()
        client.send(type="history", channel="btc_price", limit=1)
        world.answer_look_backs()
        (error,) = client.seen()
        assert (error["code"], error["temporary"]) == ("internal", True)


class TestPermission:
    """Never is a client's input sent on without permission."""

    def test_publishing_without_permission_is_refused_and_nothing_leaves(self) -> None:
        """Nobody else sees anything."""
        world = World()
        client, other = world.client(identity=Person(publish=())), world.client()
        (error,) = client.send(**PRICE)
        assert error["code"] == "forbidden"
        assert other.seen() == []

    def test_permission_is_asked_before_the_content_is_judged(self) -> None:
        """Who may not publish learns nothing about validation."""
        client = World().client(identity=Person(publish=()))
        (error,) = client.send(**PRICE | {"price": -1})
        assert error["code"] == "forbidden"

    def test_a_good_token_changes_the_identity(self) -> None:
        """``authenticated`` names the subject."""
        world = World()
        client = world.client(identity=Person(publish=()))
        (answer,) = client.send(type="auth", id=1, token="good")
        assert (answer["type"], answer["subject"], answer["id"]) == ("authenticated", "alice", 1)
        assert client.send(**PRICE)[0]["type"] == "btc_price"

    def test_a_bad_token_is_an_error_that_does_not_repeat_it(self) -> None:
        """Secrets do not come back."""
        (error,) = World().client().send(type="auth", token="s3cret-token")
        assert error["code"] == "unauthorized"
        assert "s3cret" not in json.dumps(error)

    def test_a_user_with_too_many_connections_stays_who_it_was(self) -> None:
        """The cap per user holds for tokens shown by message as for those shown before the upgrade."""
        world = World()
        client = world.client(identity=Person(publish=()), identify=lambda _: None)
        (error,) = client.send(type="auth", token="good")
        assert (error["code"], error["temporary"]) == ("limit_exceeded", True)
        assert client.session.identity.subject == "anonymous"

    def test_channels_that_may_not_be_read_are_not_joined(self) -> None:
        """Neither by default nor by asking."""
        world = World()
        client = world.client(identity=Person("bob", read=("trades",)))
        world.price(1)
        assert client.seen() == []
        (error,) = client.send(type="subscribe", channels=["btc_price"])
        assert error["code"] == "forbidden"

    def test_who_has_shown_no_token_yet_is_told_to(self) -> None:
        """``unauthorized`` says that a token would help, ``forbidden`` that this one does not."""
        client = World().client(identity=Person(read=()))
        (error,) = client.send(type="subscribe", channels=["btc_price"])
        assert error["code"] == "unauthorized"

    def test_an_identity_that_runs_out_closes_the_connection(self) -> None:
        """4500: come back with a new token."""
        world = World()
        client = world.client(identity=Person(expires_at_ns=world.clock.time_ns() + 10**9))
        client.session.tick()
        assert not client.session.closed
        world.clock.advance(1)
        client.session.tick()
        assert client.closed is not None
        assert client.closed[0] == CloseCode.BAD_TOKEN


class TestViolations:
    """Errors are answered, but not without end."""

    def test_twenty_in_ten_seconds_close_1008(self) -> None:
        """After the twentieth error has been answered."""
        client = World().client()
        answers = client.send(*[b"nope"] * (VIOLATIONS + 5))
        assert len(answers) == VIOLATIONS
        assert client.closed is not None
        assert client.closed[0] == CloseCode.POLICY_VIOLATION

    def test_slower_ones_do_not(self) -> None:
        """A clumsy client is not an attacker."""
        world = World()
        client = world.client()
        for _ in range(VIOLATIONS * 3):
            client.send(b"nope")
            world.clock.advance(0.6)
        assert client.closed is None

    def test_errors_that_are_not_the_client_s_fault_do_not_count(self) -> None:
        """A broker that is away closes nobody."""
        world = World()
        world.broker_is_away = True
        client = world.client()
        for _ in range(VIOLATIONS * 2):
            client.send(type="history", channel="btc_price", limit=1)
            world.answer_look_backs()
        assert client.closed is None

    def test_strict_closes_after_the_first(self) -> None:
        """With the error as the reason."""
        client = World(strict=True).client()
        (error,) = client.send(b"nope", b'{"type":"ping"}')
        assert error["code"] == "invalid_json"
        assert client.closed is not None
        assert "strict" in client.closed[1]

    def test_errors_are_counted_by_code(self) -> None:
        """For the metrics."""
        world = World()
        world.client().send(b"nope", b"[]", b"nope")
        assert world.errors == {"invalid_json": 2, "not_an_object": 1}


class TestRateLimit:
    """A token bucket per client."""

    def test_beyond_the_rate_messages_are_refused_with_a_time_to_wait(self) -> None:
        """And served again after it."""
        world = World(rate_limit=5)
        client = world.client()
        answers = client.send(*[b'{"type":"ping"}'] * 6)
        assert [a["type"] for a in answers] == ["pong"] * 5 + ["error"]
        error = answers[-1]
        assert (error["code"], error["temporary"]) == ("rate_limited", True)
        world.clock.advance(error["retry_after_ms"] / 1000)
        assert client.send(type="ping")[0]["type"] == "pong"

    def test_a_pause_does_not_save_up_more_than_a_second_s_worth(self) -> None:
        """The bucket is bounded."""
        world = World(rate_limit=5)
        client = world.client()
        client.send(type="ping")
        world.clock.advance(3600)
        answers = client.send(*[b'{"type":"ping"}'] * 6)
        assert [a["type"] for a in answers].count("pong") == 5


@pytest.mark.parametrize("since", [None, 1, 3])
def test_who_is_closed_by_the_answer_to_its_own_subscription_is_nowhere_subscribed(since: int | None) -> None:
    """Its queue was full of what it does not read; nothing may be kept for it from then on."""
    world = World()
    for number in range(3):
        world.price(number)
    client = world.client(channels=("broadcast",), limit=300)
    client.stalled = True
    world.publication("broadcast", b'{"type":"broadcast","x":"%b"}' % (b"x" * 50))
    world.scheduler.run()
    world.publication("broadcast", b'{"type":"broadcast","x":"%b"}' % (b"x" * 150))
    world.scheduler.run()
    wanted: dict[str, Any] = {"channels": ["btc_price", "trades"]}
    if since is not None:
        wanted["since"] = {"btc_price": {"epoch": "epoch1", "seq": since}}
    client.send(type="subscribe", **wanted)
    assert client.closed is not None
    assert client.closed[0] == CloseCode.SLOW_CONSUMER
    assert world.hub._audiences == {}
    assert len(world.hub.replays) == 0


def test_after_the_end_nothing_is_read_or_written() -> None:
    """Whatever still arrives."""
    world = World()
    client = world.client()
    client.session.close(CloseCode.GOING_AWAY, "bye")
    client.session.close(CloseCode.GOING_AWAY, "bye")
    world.price(1)
    assert client.send(type="ping") == []
