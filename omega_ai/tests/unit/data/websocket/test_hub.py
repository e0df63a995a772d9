"""The hub: framed once, joined once, one write per client and turn, and no silent gap."""

from __future__ import annotations

import json
import zlib

import pytest

from omega_ai.data_feed.broker.base import History, Position, Publication, message_of
from omega_ai.data_feed.websocket.close_codes import CloseCode
from omega_ai.tests.unit.data.websocket.conversation import World, frames_of


def test_every_subscriber_gets_every_message_in_order() -> None:
    """The same bytes for all."""
    world = World()
    clients = [world.client() for _ in range(3)]
    for number in range(1, 6):
        world.price(number)
    streams = [client.raw() for client in clients]
    assert len(set(streams)) == 1
    assert [json.loads(payload)["seq"] for payload in frames_of(streams[0])] == [1, 2, 3, 4, 5]


def test_messages_of_one_turn_leave_in_one_write() -> None:
    """A burst costs each client one system call, not one a message."""
    world = World()
    client = world.client()
    for number in range(1, 11):
        world.price(number)
    world.scheduler.run()
    assert client.writes == 1
    assert len(client.seen()) == 10
    assert world.hub.stats.writes == 1
    assert world.hub.stats.deliveries == 10


def test_clients_of_one_audience_share_the_very_same_bytes() -> None:
    """Encoding and framing happen once per message, whatever the number of clients."""
    world = World()
    clients = [world.client() for _ in range(3)]
    world.price(1)
    world.scheduler.run()
    assert clients[0].written[0] is clients[1].written[0] is clients[2].written[0]


def test_who_joins_later_gets_only_what_comes_later() -> None:
    """Even when the earlier message has not left yet."""
    world = World()
    early = world.client()
    world.price(1)
    late = world.client()
    world.price(2)
    assert [m["seq"] for m in early.seen()] == [1, 2]
    assert [m["seq"] for m in late.seen()] == [2]


def test_who_leaves_still_gets_what_was_published_before() -> None:
    """And nothing after."""
    world = World()
    client = world.client()
    world.price(1)
    answers = client.send(type="unsubscribe", channels=["btc_price"])
    world.price(2)
    assert [m["type"] for m in answers] == ["btc_price", "unsubscribed"]
    assert client.seen() == []


def test_a_closed_session_is_forgotten() -> None:
    """No audience, no frame, no reference stays behind."""
    world = World()
    client = world.client()
    client.session.end()
    world.price(1)
    assert client.seen() == []
    assert not world.hub._audiences
    assert all(not channel.audiences for channel in world.hub._channels.values())


def test_duplicates_from_the_broker_are_dropped_and_counted() -> None:
    """A broker that redelivers after a reconnect does not double."""
    world = World()
    client = world.client()
    publication = world.price(1)
    world.hub.deliver(publication)
    assert len(client.seen()) == 1
    assert world.hub.stats.duplicates == 1


@pytest.mark.parametrize(("epoch", "seq"), [("epoch1", 5), ("epoch2", 1), ("epoch2", 7)])
def test_a_break_in_the_sequence_is_told_before_the_next_message(epoch: str, seq: int) -> None:
    """A jump or a new epoch: ``subscribed`` with ``recovered: false``, then the message."""
    world = World()
    client = world.client()
    world.price(1)
    client.seen()
    body = b'{"type":"btc_price","price":9}'
    world.hub.deliver(Publication("btc_price", epoch, seq, message_of("btc_price", epoch, seq, body)))
    notice, message = client.seen()
    assert notice["type"] == "subscribed"
    assert (notice["channel"], notice["recovered"]) == ("btc_price", False)
    assert (notice["epoch"], notice["seq"]) == (epoch, seq - 1)
    assert (message["epoch"], message["seq"]) == (epoch, seq)
    assert world.hub.stats.breaks == 1


def test_what_lies_before_a_break_is_not_replayed_after_it() -> None:
    """Resuming across a break must fail, not skip."""
    world = World()
    world.price(1)
    body = b'{"type":"btc_price","price":9}'
    world.hub.deliver(Publication("btc_price", "epoch1", 4, message_of("btc_price", "epoch1", 4, body)))
    assert world.hub.backlog("btc_price", Position("epoch1", 1)) is None
    assert world.hub.backlog("btc_price", Position("epoch1", 3)) is not None


class TestLatest:
    """``mode: latest``: each message is the full state; jumps are legal."""

    def test_within_a_turn_only_the_newest_leaves(self) -> None:
        """The others would be old before they arrive."""
        world = World()
        client = world.client(channels=())
        client.send(type="subscribe", channels=["btc_price"], mode="latest")
        for number in range(1, 6):
            world.price(number)
        assert [m["price"] for m in client.seen()] == [5]
        assert world.hub.stats.conflated == 4

    def test_at_most_one_message_per_interval_and_the_last_is_never_lost(self) -> None:
        """The first at once, then one each interval, the newest of it."""
        world = World()
        client = world.client(channels=())
        client.send(type="subscribe", channels=["btc_price"], mode="latest", interval_ms=100)
        seen = []
        for number in range(1, 31):
            world.price(number)
            world.scheduler.advance(0.01)
            seen += [m["price"] for m in client.seen()]
        world.scheduler.advance(0.2)
        seen += [m["price"] for m in client.seen()]
        assert seen == [1, 10, 20, 30]

    def test_a_quiet_channel_is_not_delayed(self) -> None:
        """After an interval without a message the next one leaves at once."""
        world = World()
        client = world.client(channels=())
        client.send(type="subscribe", channels=["btc_price"], mode="latest", interval_ms=1000)
        world.price(1)
        assert [m["price"] for m in client.seen()] == [1]
        world.scheduler.advance(5)
        world.price(2)
        assert [m["price"] for m in client.seen()] == [2]

    def test_intervals_are_shared_classes(self) -> None:
        """Rounded up, so that many clients share one stream; the answer tells the effective one."""
        world = World()
        a, b = world.client(channels=()), world.client(channels=())
        first = a.send(type="subscribe", channels=["btc_price"], mode="latest", interval_ms=60)
        b.send(type="subscribe", channels=["btc_price"], mode="latest", interval_ms=100)
        assert first[0]["interval_ms"] == 100
        assert a.session.audience is b.session.audience


class TestSlowClients:
    """A client that does not keep up hurts itself alone."""

    def test_mode_all_closes_4008_over_the_bound(self) -> None:
        """And never drops a message in silence."""
        world = World()
        slow, fast = world.client(limit=500), world.client()
        slow.stalled = True
        for number in range(1, 101):
            world.price(number)
            world.scheduler.run()
        assert slow.closed is not None
        assert slow.closed[0] == CloseCode.SLOW_CONSUMER
        assert [m["seq"] for m in fast.seen()] == list(range(1, 101))

    def test_mode_all_within_the_bound_gets_everything_once_it_reads(self) -> None:
        """Queued in order, nothing lost."""
        world = World()
        slow = world.client()
        slow.stalled = True
        for number in range(1, 51):
            world.price(number)
            world.scheduler.run()
        slow.drain()
        assert [m["seq"] for m in slow.seen()] == list(range(1, 51))

    def test_mode_latest_keeps_the_newest_alone(self) -> None:
        """Bounded by one message a channel, however long it sleeps."""
        world = World()
        slow = world.client(channels=(), limit=500)
        slow.send(type="subscribe", channels=["btc_price"], mode="latest")
        slow.stalled = True
        for number in range(1, 1001):
            world.price(number)
            world.scheduler.run()
        assert slow.closed is None
        assert slow.outbox.queued_bytes < 200
        slow.drain()
        assert [m["price"] for m in slow.seen()] == [1, 1000]


class TestCompression:
    """permessage-deflate without context takeover: compressed once for all."""

    def test_a_compressed_audience_gets_one_frame_that_inflates_to_the_message(self) -> None:
        """RSV1 set, the tail stripped (RFC 7692 section 7.2.1)."""
        world = World()
        clients = [world.client(deflate=True) for _ in range(2)]
        plain = world.client()
        body = b'{"type":"btc_price","note":"%b"}' % (b"repetition " * 50)
        world.publication("btc_price", body)
        world.scheduler.run()
        assert clients[0].written[0] is clients[1].written[0]
        frame = clients[0].raw()
        (message,) = frames_of(plain.raw())
        assert frame[0] == 0xC1
        (payload,) = frames_of(frame)
        assert len(payload) < len(message) / 3
        assert zlib.decompressobj(-15).decompress(payload + b"\x00\x00\xff\xff") == message

    def test_what_does_not_shrink_is_sent_plain(self) -> None:
        """RFC 7692 section 6 allows it; it is cheaper for both."""
        world = World()
        client = world.client(deflate=True)
        world.price(1)
        assert client.raw()[0] == 0x81


class TestHeartbeat:
    """Each second: the top of every channel subscribed, so that a lost tail shows."""

    def test_it_names_the_channels_of_its_audience(self) -> None:
        """And no others."""
        world = World()
        client = world.client(channels=("btc_price", "heartbeat"))
        world.price(1)
        client.seen()
        world.hub.beat()
        (beat,) = client.seen()
        assert beat["channels"] == {"btc_price": {"epoch": "epoch1", "seq": 1}}

    def test_nobody_else_gets_it(self) -> None:
        """It is a channel like the others."""
        world = World()
        client = world.client()
        world.hub.beat()
        assert client.seen() == []


class TestPriming:
    """After a start, the tail is filled from the broker's history."""

    def history(self, first: int, last: int, epoch: str = "epoch1") -> History:
        """Publications ``first`` to ``last``."""
        past = [
            Publication("trades", epoch, n, message_of("trades", epoch, n, b'{"type":"trades"}'))
            for n in range(first, last + 1)
        ]
        return History(Position(epoch, last), past, whole=True)

    def test_primed_messages_can_be_resumed_from(self) -> None:
        """Also those published while the history was read."""
        world = World()
        hub = world.hub
        hub.start({"trades": Position("epoch1", 10)})
        hub.deliver(
            Publication("trades", "epoch1", 11, message_of("trades", "epoch1", 11, b'{"type":"trades"}'))
        )
        hub.prime(self.history(5, 11))
        missed = hub.backlog("trades", Position("epoch1", 4))
        assert missed is not None
        frames, reached = missed.piece(4)
        assert [json.loads(p)["seq"] for p in frames_of(frames)] == list(range(5, 12))
        assert reached == 11
        assert hub.backlog("trades", Position("epoch1", 3)) is None

    def test_a_history_of_another_epoch_is_not_taken(self) -> None:
        """It proves nothing about this one."""
        world = World()
        world.hub.start({"trades": Position("epoch2", 3)})
        world.hub.prime(self.history(1, 3, epoch="epoch1"))
        assert world.hub.backlog("trades", Position("epoch2", 0)) is None

    def test_the_tail_is_bounded(self) -> None:
        """Priming stops when it is full."""
        world = World(tail=4)
        world.hub.start({"trades": Position("epoch1", 9)})
        world.hub.prime(self.history(1, 9))
        assert world.hub.backlog("trades", Position("epoch1", 5)) is not None
        assert world.hub.backlog("trades", Position("epoch1", 4)) is None
