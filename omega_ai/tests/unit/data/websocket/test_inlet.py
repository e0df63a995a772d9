"""What clients send is taken in within a share of each turn, in order, and the rest is not lost."""

from __future__ import annotations

import pytest

from omega_ai.core.clock import ManualClock
from omega_ai.core.scheduler import ManualScheduler
from omega_ai.data_feed.websocket.inlet import SHARE_SECONDS, Inlet


class Sender:
    """A connection whose messages take as long as they say."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.held = b""
        self.reading = True

    def take_in(self, data: bytes) -> None:
        """Takes a quarter of a turn's share for each byte."""
        self.world.log.append(f"{self.name}{data.decode()}")
        self.world.clock.advance(len(data) * SHARE_SECONDS / 4)

    def hold_reading(self) -> None:
        """Counted in the log by its absence."""
        self.reading = False

    def go_on_reading(self) -> None:
        """See ``hold_reading``."""
        self.reading = True


class World:
    """An inlet on a manual clock, and a log of what happened."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.scheduler = ManualScheduler(self.clock)
        self.log: list[str] = []
        self.inlet = Inlet(
            self.clock,
            self.scheduler,
            urgent=lambda: self.log.append("live"),
            settle=lambda: self.log.append("settle"),
        )

    def turn(self) -> list[str]:
        """End the turn; what happened in it."""
        self.scheduler.turn()
        log, self.log = self.log, []
        return log


@pytest.fixture
def world() -> World:
    """A quiet one."""
    return World()


def test_what_fits_is_taken_in_at_once(world: World) -> None:
    """Nobody waits, and the answers leave at the end of the turn."""
    one, other = Sender(world, "a"), Sender(world, "b")
    world.inlet.arrived(one, b"1", new=False)
    world.inlet.arrived(other, b"1", new=True)
    assert world.log == ["a1", "b1"]
    assert world.turn() == ["a1", "b1", "settle"]
    assert world.turn() == []


def test_what_exceeds_the_share_waits_in_order_behind_what_is_live(world: World) -> None:
    """And no more than a share of it is taken in with each turn."""
    senders = [Sender(world, name) for name in "abcdefghijkl"]
    for sender in senders:
        world.inlet.arrived(sender, b"1", new=True)
    assert world.log == ["a1", "b1", "c1", "d1"]
    assert not senders[5].reading
    assert len(world.inlet) == 8
    assert world.turn() == ["a1", "b1", "c1", "d1", "settle", "live", "e1", "f1", "g1", "h1", "settle"]
    assert world.turn() == ["settle", "live", "i1", "j1", "k1", "l1", "settle"]
    assert all(sender.reading and not sender.held for sender in senders)
    assert (len(world.inlet), world.inlet.deferred) == (0, 8)


def test_who_is_new_does_not_overtake_those_who_wait_but_who_is_there_may(world: World) -> None:
    """A client that is there already is answered though thousands are at the door."""
    for name in "abcdefghijkl":
        world.inlet.arrived(Sender(world, name), b"1", new=True)
    world.turn()
    world.inlet.arrived(Sender(world, "n"), b"1", new=True)
    world.inlet.arrived(Sender(world, "o"), b"1", new=False)
    assert world.turn() == ["o1", "settle", "live", "i1", "j1", "k1", "l1", "settle"]
    assert world.turn()[:3] == ["settle", "live", "n1"]


def test_what_one_sends_stays_in_order(world: World) -> None:
    """Also what comes although reading is held, as what TLS had read already does."""
    for name in "abcd":
        world.inlet.arrived(Sender(world, name), b"1", new=False)
    late = Sender(world, "z")
    world.inlet.arrived(late, b"1", new=False)
    world.inlet.arrived(late, b"2", new=False)
    assert "z12" in world.turn()
    world.inlet.arrived(late, b"3", new=False)
    assert world.turn()[0] == "z3"


def test_who_is_gone_meanwhile_is_passed_over(world: World) -> None:
    """Its bytes were taken back."""
    senders = [Sender(world, name) for name in "abcdef"]
    for sender in senders:
        world.inlet.arrived(sender, b"1", new=True)
    senders[4].held = b""
    assert world.turn()[5:] == ["live", "f1", "settle"]
    assert len(world.inlet) == 0
