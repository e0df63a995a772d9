"""What one client is owed: order, bounds, conflation."""

from __future__ import annotations

import pytest

from omega_ai.data_feed.websocket.outbox import CONTROL_LIMIT, WRITE_LIMIT, Outbox, Waiting


class Wire:
    """A transport: takes everything, and says whether it has a backlog now."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.open = True
        self.overflows = 0

    def write(self, data: bytes) -> bool:
        self.writes.append(data)
        return self.open

    def overflow(self) -> None:
        self.overflows += 1


def stuck(limit: int = 100) -> tuple[Outbox, Wire]:
    """An outbox whose client has stopped reading; nothing written so far."""
    wire = Wire()
    outbox = Outbox(wire.write, limit=limit, on_overflow=wire.overflow)
    wire.open = False
    outbox.send(b"first")
    assert outbox.blocked
    wire.writes.clear()
    return outbox, wire


def resume(outbox: Outbox, wire: Wire) -> list[bytes]:
    """The client reads on; what is written then."""
    wire.open = True
    outbox.resume()
    return wire.writes


def test_a_client_that_reads_gets_everything_at_once() -> None:
    """One write for each call; nothing is kept."""
    wire = Wire()
    outbox = Outbox(wire.write, limit=1, on_overflow=wire.overflow)
    outbox.send(b"larger than the limit")
    outbox.offer("price", b"a")
    outbox.offer("price", b"b")
    outbox.send_control(b"ping")
    assert wire.writes == [b"larger than the limit", b"a", b"b", b"ping"]
    assert (outbox.blocked, outbox.queued_bytes, outbox.conflated, outbox.overflowed) == (False, 0, 0, False)


def test_what_the_transport_took_with_a_backlog_is_not_sent_again() -> None:
    """False from write means: taken, but no more now."""
    outbox, wire = stuck()
    assert resume(outbox, wire) == []
    assert not outbox.blocked


def test_what_queued_is_sent_in_order_in_one_write() -> None:
    """Joined: system calls are what costs."""
    outbox, wire = stuck()
    for data in (b"a", b"b", b"c"):
        outbox.send(data)
    assert outbox.queued_bytes == 3
    assert resume(outbox, wire) == [b"abc"]
    assert outbox.queued_bytes == 0


def test_joined_writes_are_bounded() -> None:
    """So that one client's backlog does not delay the others; a larger frame goes alone."""
    outbox, wire = stuck(limit=1 << 30)
    half = WRITE_LIMIT // 2
    for size in (half, half, 1, 2 * WRITE_LIMIT, 5):
        outbox.send(bytes(size))
    assert list(map(len, resume(outbox, wire))) == [2 * half, 1, 2 * WRITE_LIMIT, 5]


def test_it_stops_where_the_transport_has_a_backlog_again() -> None:
    """And goes on from there."""
    outbox, wire = stuck(limit=1 << 30)
    for _ in range(3):
        outbox.send(bytes(WRITE_LIMIT))
    outbox.resume()
    assert outbox.blocked
    assert len(wire.writes) == 1
    assert outbox.queued_bytes == 2 * WRITE_LIMIT
    assert len(resume(outbox, wire)) == 3


def test_an_offer_replaces_the_unsent_one_of_its_key() -> None:
    """The newest counts, and takes its place in time: after what was sent between."""
    outbox, wire = stuck()
    outbox.offer("price", b"old!")
    outbox.offer("status", b"s")
    outbox.send(b"between")
    outbox.offer("price", b"new")
    assert outbox.conflated == 1
    assert outbox.queued_bytes == len(b"sbetweennew")
    assert resume(outbox, wire) == [b"sbetweennew"]


def test_offers_of_a_client_that_never_reads_do_not_grow() -> None:
    """One frame a key."""
    outbox, wire = stuck(limit=20)
    for number in range(1000):
        outbox.offer("price", b"%03d" % number)
    assert outbox.queued_bytes == 3
    assert outbox.conflated == 999
    assert wire.overflows == 0


@pytest.mark.parametrize("by", ["send", "offer"])
def test_over_the_limit_all_is_dropped_and_told_once(by: str) -> None:
    """The queue is worthless then: a gap may never be silent, so the client has to go."""
    outbox, wire = stuck(limit=10)
    outbox.send(bytes(10))
    assert wire.overflows == 0
    for number in range(3):
        if by == "send":
            outbox.send(b"x")
        else:
            outbox.offer(str(number), b"x")
    assert wire.overflows == 1
    assert outbox.overflowed
    assert outbox.queued_bytes == 0
    assert resume(outbox, wire) == []
    outbox.send(b"later")
    outbox.offer("price", b"later")
    assert wire.writes == []


def test_control_frames_go_first_and_are_not_counted() -> None:
    """Pings, pongs and the close frame are owed whatever waits; after what the transport already has."""
    outbox, wire = stuck(limit=4)
    outbox.send(b"data")
    outbox.send_control(b"ping")
    outbox.send_control(b"close")
    assert outbox.queued_bytes == 4
    assert resume(outbox, wire) == [b"pingclose", b"data"]


def test_after_an_overflow_the_close_frame_still_goes_out() -> None:
    """The client is told why."""
    outbox, wire = stuck(limit=1)
    outbox.send(b"too much")
    outbox.send_control(b"close")
    assert resume(outbox, wire) == [b"close"]


def test_control_frames_have_a_bound_of_their_own() -> None:
    """A client that makes us send them and reads none is slow, too."""
    outbox, wire = stuck()
    for _ in range(CONTROL_LIMIT // 127 + 2):
        outbox.send_control(bytes(127))
    assert wire.overflows == 1
    assert sum(map(len, resume(outbox, wire))) <= CONTROL_LIMIT


def test_control_frames_that_make_a_backlog_keep_the_data_waiting() -> None:
    """One after the other."""
    outbox, wire = stuck()
    outbox.send(b"data")
    outbox.send_control(b"ping")
    outbox.resume()
    assert wire.writes == [b"ping"]
    assert outbox.blocked
    assert resume(outbox, wire) == [b"ping", b"data"]


def test_a_control_frame_can_be_the_one_that_finds_the_backlog() -> None:
    """Then what follows queues."""
    wire = Wire()
    wire.open = False
    outbox = Outbox(wire.write, limit=100, on_overflow=wire.overflow)
    outbox.send_control(b"ping")
    outbox.send(b"data")
    assert wire.writes == [b"ping"]
    assert resume(outbox, wire) == [b"ping", b"data"]


def test_what_waits_in_all_outboxes_is_known_however_each_of_them_ends() -> None:
    """Whether it is sent, replaced, too much, or its client leaves."""
    together = Waiting()
    wires = [Wire() for _ in range(4)]
    boxes = [Outbox(wire.write, limit=100, on_overflow=wire.overflow, waiting=together) for wire in wires]
    for outbox, wire in zip(boxes, wires, strict=True):
        wire.open = False
        outbox.send(b"taken")
        outbox.offer("price", b"x" * 30)
        outbox.send(b"y" * 20)
    assert together.bytes == 200
    boxes[0].offer("price", b"z" * 10)
    assert together.bytes == 180
    boxes[1].send(b"y" * 51)
    assert (boxes[1].overflowed, together.bytes) == (True, 130)
    boxes[2].abandon()
    boxes[2].send(b"nobody is there")
    boxes[2].abandon()
    assert together.bytes == 80
    for outbox, wire in zip(boxes, wires, strict=True):
        wire.open = True
        outbox.resume()
    assert together.bytes == 0
