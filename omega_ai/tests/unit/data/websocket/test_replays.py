"""Clients are brought up to date in turns: nobody else waits, nothing is queued, lost or doubled."""

from __future__ import annotations

import json

import pytest

from omega_ai.data_feed.broker.base import Position, Publication, message_of
from omega_ai.data_feed.websocket import hub as hub_module
from omega_ai.data_feed.websocket.close_codes import CloseCode
from omega_ai.data_feed.websocket.hub import KEEP_SECONDS
from omega_ai.data_feed.websocket.replays import STALL_SECONDS, TURN_BYTES
from omega_ai.tests.unit.data.websocket.conversation import Client, World


def fat(world: World, count: int, size: int = 2000) -> None:
    """Publish ``count`` broadcasts of about ``size`` bytes."""
    for number in range(count):
        world.publication("broadcast", b'{"type":"broadcast","n":%d,"x":"%b"}' % (number, b"x" * size))


def come_back(client: Client, since: int = 0) -> None:
    """Resume ``broadcast``; what comes is looked at later."""
    ask = {"broadcast": {"epoch": client.world.epoch, "seq": since}}
    client.session.receive(
        json.dumps({"type": "subscribe", "channels": ["broadcast"], "since": ask}).encode()
    )
    client.session.flush()


def seqs(client: Client) -> list[int]:
    """The sequence numbers that came since the last look."""
    return [m["seq"] for m in client.seen() if m["type"] == "broadcast"]


def written(clients: list[Client]) -> int:
    """Bytes that ``clients`` have got and not looked at."""
    return sum(len(data) for client in clients for data in client.written)


def test_what_is_little_leaves_in_the_same_turn() -> None:
    """A single client that comes back does not wait for anything."""
    world = World()
    fat(world, 10)
    client = world.client(channels=())
    come_back(client, 3)
    assert len(client.written) == 2  # the answer, and all that was missed in one write
    assert len(world.hub.replays) == 0


def test_a_storm_takes_no_more_than_its_share_of_each_turn() -> None:
    """Bytes in a turn are bounded, whoever comes; and everybody gets everything."""
    world = World(tail=500)
    fat(world, 300)
    clients = [world.client(channels=()) for _ in range(30)]
    for client in clients:
        come_back(client)
    most = 0
    for _ in range(1000):
        before = written(clients)
        world.scheduler.turn()
        most = max(most, written(clients) - before)
        if not len(world.hub.replays):
            break
    assert 0 < most < 2 * TURN_BYTES
    for client in clients:
        assert seqs(client) == list(range(1, 301))


def test_what_is_live_goes_first() -> None:
    """A message published during a storm is out before the next turn's share of replays."""
    world = World(tail=500)
    live = world.client(channels=("btc_price",))
    fat(world, 300)
    clients = [world.client(channels=()) for _ in range(10)]
    for client in clients:
        come_back(client)
    world.scheduler.turn()
    before = written(clients)
    order: list[str] = []

    def write(who: str) -> bool:
        order.append(who)
        return True

    live.outbox._write = lambda _: write("live")
    for client in clients:
        client.outbox._write = lambda _: write("replay")
    world.price(1)
    world.scheduler.turn()
    assert order[0] == "live"
    assert "replay" in order
    assert before > 0


def test_what_is_published_meanwhile_follows_without_gap_or_double() -> None:
    """Though each client joins in a turn of its own."""
    world = World(tail=500)
    fat(world, 200)
    clients = [world.client(channels=()) for _ in range(10)]
    for client in clients:
        come_back(client, 7)
    for _ in range(50):
        world.scheduler.turn()
        fat(world, 1)
    for client in clients:
        assert seqs(client) == list(range(8, 251))


def test_who_does_not_read_is_queued_nothing_and_gets_it_all_once_it_reads() -> None:
    """Even if what it misses has long left the memory of this process: it is read again."""
    world = World(tail=20)
    fat(world, 20, 10_000)
    client = world.client(channels=())
    client.stalled = True
    come_back(client)
    fat(world, 200, 10_000)
    world.scheduler.advance(5.0)
    assert client.outbox.queued_bytes == 0
    got = seqs(client)
    assert got == list(range(1, len(got) + 1))
    for _ in range(200):
        client.drain()
        client.stalled = False
        world.scheduler.run()
        world.answer_look_backs()
        got += seqs(client)
    assert got == list(range(1, 221))
    fat(world, 1)
    assert seqs(client) == [221]


def test_who_reads_nothing_for_too_long_is_sent_away() -> None:
    """4008: it may come again."""
    world = World(tail=500)
    fat(world, 300)
    client = world.client(channels=())
    client.stalled = True
    come_back(client)
    world.scheduler.advance(STALL_SECONDS - 1)
    assert client.closed is None
    world.scheduler.advance(3)
    assert client.closed is not None
    assert client.closed[0] == CloseCode.SLOW_CONSUMER
    assert len(world.hub.replays) == 0


def test_stretches_of_the_past_are_bounded_in_bytes_and_slow_readers_still_get_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Over the bound the older ones are let go; who needs them has the broker asked again."""
    monkeypatch.setattr(hub_module, "BACKLOG_BYTES", 1_000_000)
    world = World(tail=10)
    slow = []
    for _ in range(6):
        fat(world, 100, 3000)
        client = world.client(channels=())
        client.stalled = True
        come_back(client)
        world.answer_look_backs()
        world.scheduler.advance(2.0)
        slow.append(client)
        assert sum(backlog.size for backlog in world.hub._backlogs) < 3 * 1_000_000
    got: dict[Client, list[int]] = {client: seqs(client) for client in slow}
    for _ in range(200):
        for client in slow:
            client.stalled = False
            client.drain()
            world.scheduler.run()
            world.answer_look_backs()
            got[client] += seqs(client)
    for client in slow:
        assert got[client] == list(range(1, 601))


def test_nothing_is_kept_once_nobody_needs_it() -> None:
    """The last stretch goes a moment after the last one who used it."""
    world = World(tail=500)
    fat(world, 300)
    for _ in range(3):
        come_back(world.client(channels=()))
        world.scheduler.advance(KEEP_SECONDS * 0.8)
        assert world.hub._channels["broadcast"].backlog is not None
    world.scheduler.advance(KEEP_SECONDS * 0.4)
    assert world.hub._channels["broadcast"].backlog is None


def test_a_storm_from_history_asks_the_broker_once() -> None:
    """What one has read serves all who come while it is used."""
    world = World(tail=10)
    fat(world, 300)
    first = world.client(channels=())
    come_back(first, 5)
    world.answer_look_backs()
    clients = [world.client(channels=()) for _ in range(100)]
    for number, client in enumerate(clients):
        come_back(client, 5 + number)
        assert world.look_backs == []
        world.scheduler.turn()
        fat(world, 1)
    for number, client in enumerate(clients):
        assert seqs(client) == list(range(6 + number, 401))


def test_where_what_was_missed_came_from_is_counted() -> None:
    """And what is held for it is known for as long as it is."""
    world = World(tail=20)
    fat(world, 50)
    size = len(world.kept["broadcast"][-1].message)
    come_back(world.client(channels=()), 45)
    assert world.hub.replays.begun == {"tail": 1}
    assert world.hub.backlog_bytes == 5 * size
    come_back(world.client(channels=()), 47)
    come_back(world.client(channels=()), 3)
    come_back(world.client(channels=()), 50)  # has missed nothing
    assert world.hub.replays.begun == {"tail": 1, "shared": 1}
    world.answer_look_backs()
    come_back(world.client(channels=()), 3)
    assert world.hub.replays.begun == {"tail": 1, "shared": 2, "broker": 1}
    assert world.hub.backlog_bytes > 40 * size
    world.scheduler.advance(3 * KEEP_SECONDS)
    assert world.hub.backlog_bytes == 0


@pytest.mark.parametrize("epoch", ["epoch1", "epoch2"])
def test_a_break_in_the_middle_is_told_after_what_came_before_it(epoch: str) -> None:
    """All of the old life, then plainly that something is missing, then what is live."""
    world = World(tail=500)
    fat(world, 100)
    client = world.client(channels=())
    client.stalled = True
    come_back(client)
    fat(world, 3)
    seq = 110 if epoch == "epoch1" else 1
    message = message_of("broadcast", epoch, seq, b'{"type":"broadcast"}')
    world.hub.deliver(Publication("broadcast", epoch, seq, message))
    client.stalled = False
    for _ in range(20):
        client.drain()
        world.scheduler.run()
    answer, *seen = client.seen()
    assert answer["recovered"] is True
    assert [m["seq"] for m in seen[:103]] == list(range(1, 104))
    notice, state = seen[103:]
    assert (notice["type"], notice["recovered"]) == ("subscribed", False)
    assert (notice["epoch"], notice["seq"]) == (state["epoch"], state["seq"]) == (epoch, seq)
    message = message_of("broadcast", epoch, seq + 1, b'{"type":"broadcast"}')
    world.hub.deliver(Publication("broadcast", epoch, seq + 1, message))
    assert seqs(client) == [seq + 1]


@pytest.mark.parametrize("how", ["unsubscribe", "leave"])
def test_a_replay_that_is_not_wanted_any_more_ends(how: str) -> None:
    """Nothing more comes, and nothing is left of it."""
    world = World(tail=500)
    fat(world, 300)
    client = world.client(channels=())
    client.stalled = True
    come_back(client)
    client.seen()
    if how == "unsubscribe":
        client.session.receive(b'{"type":"unsubscribe","channels":["broadcast"]}')
    else:
        client.session.end()
    assert len(world.hub.replays) == 0
    client.drain()
    client.stalled = False
    fat(world, 1)
    assert seqs(client) == []


def test_the_broker_failing_in_the_middle_sends_the_client_away() -> None:
    """It has half of it and was told that it would get all: it has to come again."""
    world = World(tail=20)
    fat(world, 20, 10_000)
    client = world.client(channels=())
    client.stalled = True
    come_back(client)
    fat(world, 200, 10_000)
    world.scheduler.advance(2.0)
    world.broker_is_away = True
    client.stalled = False
    for _ in range(20):
        client.drain()
        world.scheduler.run()
        world.answer_look_backs()
    assert client.closed is not None
    assert client.closed[0] == CloseCode.SLOW_CONSUMER


def test_a_client_in_the_middle_of_a_replay_is_not_told_of_a_top_it_has_not_reached() -> None:
    """A heartbeat names the channels that it has joined."""
    world = World(tail=500)
    fat(world, 300)
    client = world.client(channels=("heartbeat",))
    come_back(client)
    client.stalled = True
    world.scheduler.turn()
    world.hub.beat()
    client.stalled = False
    heartbeats = []
    for _ in range(20):
        client.drain()
        heartbeats += [m for m in client.seen() if m["type"] == "heartbeat"]
    assert Position("epoch1", 300) == world.hub.position("broadcast")
    assert heartbeats
    assert "broadcast" not in heartbeats[0]["channels"]
