"""How long a price's way took, from the venue's frame to the write."""

from __future__ import annotations

import pytest

from omega_ai.core.clock import ManualClock
from omega_ai.core.timestamps import format_utc
from omega_ai.data_feed.websocket.venue_delivery import EVERY, ONE_TURN, VenueDelivery, received_at
from omega_ai.tests.unit.data.websocket.conversation import World

AT_NS = 1_767_225_600_123_456_000


def trade(received_ns: int, more: str = "") -> bytes:
    """A published trade whose frame came in at ``received_ns``."""
    return b'{"type":"trades","epoch":"e","seq":1,"received_at":"%b"%b}' % (
        format_utc(received_ns).encode(),
        more.encode(),
    )


@pytest.mark.parametrize(
    ("message", "found"),
    [
        (trade(AT_NS), AT_NS),
        (trade(AT_NS, ',"simulated":true'), None),
        (trade(AT_NS, ',"simulated":false'), AT_NS),
        (b'{"type":"broadcast","timestamp":"2026-01-01T00:00:00Z"}', None),
        (b'{"type":"trades","received_at":"yesterday"}', None),
        (b'{"type":"trades","received_at":"', None),
        (b"", None),
    ],
)
def test_the_time_is_read_where_there_is_a_venue(message: bytes, found: int | None) -> None:
    """Whatever a message may look like, it never raises."""
    assert received_at(message) == found


def test_what_is_written_in_its_turn_is_measured_from_the_frame() -> None:
    """By our clock at the write."""
    clock = ManualClock()
    delivery = VenueDelivery(clock)
    received = clock.time_ns()
    clock.advance(0.002)
    delivery.arrived(trade(received), clock.monotonic())
    began = clock.monotonic()
    clock.advance(0.001)
    delivery.written(began, clock.monotonic())
    assert delivery.histogram.read().count == 1
    assert delivery.histogram.read().total == pytest.approx(0.003, abs=2e-6)


def test_what_is_written_in_a_later_turn_did_not_come_of_it() -> None:
    """A price repeated a second later, or held back on purpose."""
    clock = ManualClock()
    delivery = VenueDelivery(clock)
    delivery.arrived(trade(clock.time_ns()), clock.monotonic())
    clock.advance(2 * ONE_TURN)
    delivery.written(clock.monotonic(), clock.monotonic())
    delivery.written(clock.monotonic(), clock.monotonic())
    assert delivery.histogram.read().count == 0


def test_a_message_is_measured_once_and_not_more_often_than_every_ten_milliseconds() -> None:
    """So that a hundred thousand messages a second cost as little as a hundred."""
    clock = ManualClock()
    delivery = VenueDelivery(clock)
    turns = 1000
    for _ in range(turns):
        delivery.arrived(trade(clock.time_ns()), clock.monotonic())
        delivery.written(clock.monotonic(), clock.monotonic())
        delivery.written(clock.monotonic(), clock.monotonic())
        clock.advance(EVERY / 10)
    assert turns / 11 - 1 <= delivery.histogram.read().count <= turns / 10 + 1


def test_the_hub_measures_what_it_writes_of_a_trade() -> None:
    """A trade and the price that it moves, in one turn; a price alone is no venue's."""
    world = World()
    world.client()
    world.price(1)
    world.scheduler.run()
    assert world.hub.venue_delivery.count == 0
    world.publish("trades", trade(world.clock.time_ns()))
    world.price(2)
    world.scheduler.run()
    assert world.hub.venue_delivery.count == 1
