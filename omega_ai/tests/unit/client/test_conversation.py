"""Continuity, resuming, heartbeats and requests, by hand and by clock."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from omega_ai.client.conversation import Conversation
from omega_ai.client.events import Gap, NotRecovered, Position, Recovered
from omega_ai.client.messages import Broadcast, Echo, ErrorMessage, Heartbeat
from omega_ai.tests.unit.client.fake_port import TIME, Table


class TestSubscribing:
    """Asking for channels, and what comes of it."""

    def test_a_new_connection_asks_for_all_channels_and_for_heartbeats(self) -> None:
        """One message for the heartbeat, one for the channels."""
        table = Table(["btc_price", "broadcast"]).connect()
        assert [message["channels"] for message in table.port.sent] == [
            ["heartbeat"],
            ["btc_price", "broadcast"],
        ]
        assert "since" not in table.port.sent[1]

    def test_channels_of_another_mode_are_asked_for_in_a_message_of_their_own(self) -> None:
        """Mode and interval are of a message, not of a channel."""
        table = Table(["broadcast"])
        table.conversation.subscribe(["btc_price"], "latest", 250)
        table.connect()
        latest = table.subscribed_to("btc_price")
        assert (latest["channels"], latest["mode"], latest["interval_ms"]) == (["btc_price"], "latest", 250)
        assert table.subscribed_to("broadcast")["mode"] == "all"

    def test_it_is_settled_once_every_channel_is_confirmed(self) -> None:
        """Not after the first of two."""
        table = Table(["btc_price", "broadcast"]).connect()
        table.confirm("btc_price")
        assert (table.conversation.settled, table.port.settlements) == (False, 0)
        table.confirm("broadcast")
        assert (table.conversation.settled, table.port.settlements) == (True, 1)

    def test_without_channels_it_is_settled_at_once(self) -> None:
        """There is nothing to wait for."""
        table = Table(heartbeat_timeout=None)
        table.conversation.unsubscribe(["broadcast"])
        table.connect()
        assert (table.port.settlements, table.port.sent) == (1, [])

    def test_a_refused_channel_is_given_up(self) -> None:
        """It is not asked for again on the next connection."""
        table = Table(["nonsense"]).connect()
        asked = table.subscribed_to("nonsense")
        table.server(_error("unknown_channel", asked["id"]))
        channels, error = table.port.refusals[0]
        assert (channels, error.code) == (frozenset({"nonsense"}), "unknown_channel")
        table.port.sent.clear()
        table.reconnect()
        assert [message["channels"] for message in table.port.sent] == [["heartbeat"]]

    def test_a_temporary_refusal_gives_up_the_connection_not_the_channel(self) -> None:
        """The back-off then waits, and the channel is asked for again."""
        table = Table().connect()
        table.server(_error("rate_limited", table.subscribed_to()["id"], temporary=True))
        assert [code for code, _ in table.port.given_up] == [1013]
        table.reconnect()
        assert table.subscribed_to()["channels"] == ["broadcast"]

    def test_a_server_that_keeps_its_heartbeat_to_itself_can_be_used(self) -> None:
        """Pings watch over the connection then."""
        table = Table().connect()
        table.server(_error("forbidden", table.subscribed_to("heartbeat")["id"]))
        table.confirm()
        table.clock.advance(6)
        table.conversation.tick()
        assert (table.port.given_up, table.port.refusals) == ([], [])
        table.clock.advance(15)
        table.conversation.tick()
        assert table.port.pings == 1

    def test_what_comes_after_unsubscribing_is_dropped(self) -> None:
        """It was under way."""
        table = Table(["btc_price", "broadcast"]).connect()
        table.confirm()
        table.conversation.unsubscribe(["broadcast"])
        assert table.port.sent[-1]["type"] == "unsubscribe"
        table.publish(1)
        assert table.port.taken() == []

    def test_the_answer_to_an_older_question_is_not_taken_for_the_newer_ones(self) -> None:
        """Only the answer with the id of the last ``subscribe`` counts."""
        table = Table().connect()
        old = table.subscribed_to()["id"]
        table.conversation.subscribe(["broadcast"], "latest", 0)
        table.server(
            {
                "type": "subscribed",
                "id": old,
                "channel": "broadcast",
                "epoch": "e",
                "seq": 9,
                "recovered": False,
            }
        )
        assert not table.conversation.settled
        table.confirm(seq=10)
        assert table.conversation.position("broadcast") == Position("e", 10)


class TestContinuity:
    """Every message once, in order, or told."""

    def test_messages_in_order_are_delivered_in_order(self) -> None:
        """Each once."""
        table = Table().connect()
        table.confirm(seq=4)
        table.publish(5, 6, 7)
        assert table.seqs() == [5, 6, 7]
        assert table.conversation.position("broadcast") == Position("e", 7)

    def test_what_was_seen_is_dropped(self) -> None:
        """And counted."""
        table = Table().connect()
        table.confirm()
        table.publish(1, 2, 2, 1, 3)
        assert table.seqs() == [1, 2, 3]
        assert table.conversation.duplicates == 2

    def test_after_a_reconnect_it_resumes_from_the_last_position(self) -> None:
        """What was missed comes, nothing twice, and continuity is told."""
        table = Table().connect()
        table.confirm()
        table.publish(1, 2)
        table.reconnect()
        assert table.subscribed_to()["since"] == {"broadcast": {"epoch": "e", "seq": 2}}
        table.port.taken()
        table.confirm(seq=4, recovered=True)
        table.publish(3, 4, 5)
        assert table.port.delivered[0] == Recovered(channel="broadcast", since=Position("e", 2))
        assert table.seqs() == [3, 4, 5]

    def test_a_position_is_kept_from_the_subscription_on(self) -> None:
        """So that what is published before the first message came is not lost with the connection."""
        table = Table().connect()
        table.confirm(seq=7)
        table.reconnect()
        assert table.subscribed_to()["since"] == {"broadcast": {"epoch": "e", "seq": 7}}

    def test_positions_of_an_earlier_run_are_resumed_from(self) -> None:
        """Before the first connection."""
        table = Table()
        table.conversation.resume_from({"broadcast": Position("e", 41), "never asked for": Position("e", 1)})
        table.connect()
        assert table.subscribed_to()["since"] == {"broadcast": {"epoch": "e", "seq": 41}}

    def test_when_it_cannot_be_recovered_that_is_told_before_the_latest_state(self) -> None:
        """The state itself is delivered."""
        table = Table().connect()
        table.confirm()
        table.publish(1)
        table.port.taken()
        table.reconnect()
        table.confirm(epoch="f", seq=90)
        table.publish(90, 91, epoch="f")
        assert table.port.delivered[0] == NotRecovered(
            channel="broadcast", since=Position("e", 1), position=Position("f", 90)
        )
        assert table.seqs() == [90, 91]

    def test_a_hole_is_asked_for_and_filled(self) -> None:
        """What comes meanwhile is not delivered out of order: it comes again after the answer."""
        table = Table().connect()
        table.confirm()
        table.publish(1)
        table.publish(4, 5)
        assert table.subscribed_to()["since"] == {"broadcast": {"epoch": "e", "seq": 1}}
        assert table.seqs() == [1]
        table.confirm(seq=5, recovered=True)
        table.publish(2, 3, 4, 5)
        assert table.seqs() == [2, 3, 4, 5]

    def test_a_hole_that_stays_is_reported_and_passed(self) -> None:
        """It is asked for once, not for ever."""
        table = Table().connect()
        table.confirm()
        table.publish(1, 4)
        table.confirm(seq=4, recovered=True)
        table.port.taken()
        table.publish(4, 5)
        assert table.port.delivered[0] == Gap(channel="broadcast", epoch="e", first=2, last=3)
        assert table.seqs() == [4, 5]
        assert sum(message["type"] == "subscribe" for message in table.port.sent) == 3  # with the heartbeat's

    def test_a_new_epoch_without_a_word_is_reported(self) -> None:
        """What the old one still had is unknown."""
        table = Table().connect()
        table.confirm()
        table.publish(1)
        table.port.taken()
        table.publish(1, 2, epoch="f")
        assert table.port.delivered[0] == NotRecovered(
            channel="broadcast", since=Position("e", 1), position=Position("f", 0)
        )
        assert table.seqs() == [1, 2]

    def test_the_servers_own_word_of_a_break_is_taken(self) -> None:
        """A ``subscribed`` that nobody asked for, with ``recovered: false``."""
        table = Table().connect()
        table.confirm()
        table.publish(1)
        table.port.taken()
        table.server(
            {"type": "subscribed", "channel": "broadcast", "epoch": "f", "seq": 6, "recovered": False}
        )
        table.publish(7, epoch="f")
        event, message = table.port.taken()
        assert event == NotRecovered(channel="broadcast", since=Position("e", 1), position=Position("f", 6))
        assert isinstance(message, Broadcast)

    def test_in_latest_mode_jumps_are_legal_and_the_state_is_delivered(self) -> None:
        """Older messages are not."""
        table = Table(mode="latest").connect()
        table.confirm(seq=10)
        table.publish(10, 15, 12, 15, 20)
        assert table.seqs() == [10, 15, 20]
        table.reconnect()
        assert "since" not in table.subscribed_to()
        table.confirm(seq=20)
        table.publish(20, 21)
        assert table.seqs() == [21], "the state that was seen before the reconnect is no news"

    @given(st.lists(st.integers(1, 12), max_size=40), st.integers(0, 2**32))
    @example([2, 4, 4, 2], 225)  # the state that was announced comes after a gap that was passed since
    def test_whatever_is_lost_doubled_or_swapped_nothing_is_hidden(self, wire: list[int], seed: int) -> None:
        """A server that sends positions as it likes: delivered ones rise, and every jump in them is told."""
        rng = random.Random(seed)
        table = Table().connect()
        table.confirm()
        for seq in wire:
            table.publish(seq)
            if not table.conversation.settled:
                table.confirm(seq=seq, recovered=rng.random() < 0.7)
        last = 0
        explained = False
        for item in table.port.taken():
            if isinstance(item, Broadcast):
                assert item.seq > last or explained
                assert item.seq == last + 1 or explained
                last, explained = item.seq, False
            elif isinstance(item, Gap):
                assert item.first == last + 1
                last = item.last
            elif isinstance(item, NotRecovered):
                last, explained = item.position.seq, True


class TestHeartbeat:
    """Silence and lost tails, by the clock."""

    def test_a_tail_that_stays_behind_is_asked_for(self) -> None:
        """At the second beat: the first may have overtaken a message."""
        table = Table().connect()
        table.confirm()
        table.publish(1)
        before = len(table.port.sent)
        table.beat(3)
        assert len(table.port.sent) == before
        table.beat(3)
        assert table.subscribed_to()["since"] == {"broadcast": {"epoch": "e", "seq": 1}}

    def test_a_message_that_was_overtaken_by_a_beat_is_no_hole(self) -> None:
        """The beat after it finds all well."""
        table = Table().connect()
        table.confirm()
        before = len(table.port.sent)
        for seq in range(1, 5):
            table.beat(seq)
            table.publish(seq)
        assert len(table.port.sent) == before

    def test_a_tail_that_does_not_come_is_reported(self) -> None:
        """As a gap up to the top."""
        table = Table().connect()
        table.confirm()
        table.publish(1)
        table.beat(3)
        table.beat(3)
        table.confirm(seq=3, recovered=True)
        table.port.taken()
        table.beat(3)
        table.beat(3)
        assert table.port.taken() == [Gap(channel="broadcast", epoch="e", first=2, last=3)]
        table.publish(4)
        assert table.seqs() == [4]

    def test_beats_are_delivered_to_those_who_asked(self) -> None:
        """To others they are only a sign of life."""
        for channels, expected in ((["broadcast"], []), (["broadcast", "heartbeat"], [Heartbeat])):
            table = Table(channels).connect()
            table.confirm()
            table.beat(0)
            assert [type(item) for item in table.port.taken()] == expected

    def test_silence_gives_the_connection_up(self) -> None:
        """After ``heartbeat_timeout``, counted from the last message."""
        table = Table(heartbeat_timeout=5.0).connect()
        table.confirm()
        table.clock.advance(4)
        table.beat(0)
        table.clock.advance(4.9)
        table.conversation.tick()
        assert table.port.given_up == []
        assert table.conversation.deadline() == pytest.approx(table.clock.monotonic() + 0.1)
        table.clock.advance(0.1)
        table.conversation.tick()
        assert table.port.given_up == [(1006, "nothing came for 5 s, not even a heartbeat")]
        table.publish(1)
        assert table.port.taken() == [], "what still comes on it is not looked at"

    def test_silence_while_the_program_is_slow_is_not_the_servers(self) -> None:
        """The socket is not read meanwhile."""
        table = Table(heartbeat_timeout=5.0).connect()
        table.confirm()
        table.conversation.pause(True)
        table.clock.advance(60)
        table.conversation.tick()
        assert (table.port.given_up, table.conversation.deadline()) == ([], None)
        table.conversation.pause(False)
        table.clock.advance(5)
        table.conversation.tick()
        assert len(table.port.given_up) == 1

    def test_without_heartbeats_a_ping_is_sent_and_its_pong_awaited(self) -> None:
        """``ping_interval`` and ``pong_timeout``."""
        table = Table(heartbeat_timeout=None, ping_interval=20.0, pong_timeout=7.0).connect()
        table.confirm()
        assert table.subscribed_to()["channels"] == ["broadcast"]
        table.clock.advance(20)
        table.conversation.tick()
        table.conversation.tick()
        assert table.port.pings == 1
        table.conversation.heard()
        table.clock.advance(20)
        table.conversation.tick()
        assert (table.port.pings, table.port.given_up) == (2, [])
        table.clock.advance(7)
        table.conversation.tick()
        assert table.port.given_up == [(1006, "no pong within 7 s")]

    def test_a_subscription_that_is_not_answered_gives_the_connection_up(self) -> None:
        """Even if heartbeats come."""
        table = Table(answer_timeout=3.0).connect()
        table.clock.advance(2.5)
        table.beat(0)
        table.clock.advance(0.5)
        assert table.conversation.deadline() == pytest.approx(table.clock.monotonic())
        table.conversation.tick()
        assert table.port.given_up == [(1006, "'subscribe' was not answered within 3 s")]


class TestMessages:
    """What is none of a channel's."""

    @pytest.mark.parametrize(
        "text",
        [b"", b"\xff", b"[]", b"{}", b'{"type":5}', b"not JSON", b'{"type":"btc_price"}', b"[" * 100_000],
    )
    def test_garbage_gives_the_connection_up(self, text: bytes) -> None:
        """With 1007; on a new one, what was meant comes again."""
        table = Table().connect()
        table.confirm()
        table.conversation.received(text)
        assert [code for code, _ in table.port.given_up] == [1007]

    def test_a_type_that_is_not_known_is_passed_over(self) -> None:
        """A newer server must not break an older client."""
        table = Table().connect()
        table.server({"type": "news", "seq": "not even a number"})
        assert (table.port.given_up, table.conversation.unknown) == ([], 1)

    def test_fields_that_are_not_known_are_passed_over(self) -> None:
        """The same."""
        table = Table().connect()
        table.confirm()
        table.server({"type": "broadcast", "epoch": "e", "seq": 1, "timestamp": TIME, "future": {"a": 1}})
        assert table.seqs() == [1]

    def test_a_reply_goes_to_whoever_waits_for_it(self) -> None:
        """Otherwise an echo and an error are delivered, a pong is not."""
        table = Table().connect()
        table.port.awaited = {"mine"}
        for request_id in ("mine", "lost"):
            table.server({"type": "pong", "id": request_id, "timestamp": TIME})
            table.server({"type": "test", "id": request_id, "received_at": TIME, "x": 1})
            table.server(_error("invalid_field", request_id))
        assert table.port.answers.keys() == {"mine"}
        assert [type(item) for item in table.port.taken()] == [Echo, ErrorMessage]

    def test_ids_are_not_used_twice(self) -> None:
        """Not by the conversation's own requests either."""
        table = Table(["btc_price", "broadcast"]).connect()
        table.reconnect()
        ids = [message["id"] for message in table.port.sent] + [table.conversation.new_id()]
        assert len(set(ids)) == len(ids)

    @given(st.binary(max_size=200))
    def test_no_bytes_raise(self, text: bytes) -> None:
        """Whatever comes, it is dealt with."""
        table = Table().connect()
        table.conversation.received(text)
        assert isinstance(table.conversation, Conversation)


def _error(code: str, request_id: int | str, *, temporary: bool = False) -> dict[str, object]:
    return {
        "type": "error",
        "code": code,
        "message": "in words",
        "temporary": temporary,
        "timestamp": TIME,
        "id": request_id,
    }
