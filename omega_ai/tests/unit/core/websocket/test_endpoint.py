"""Closing, pings, failing and limits of one connection (RFC 6455 sections 5.5 and 7)."""

from __future__ import annotations

import logging

import pytest

from omega_ai.core.websocket.close import NORMAL
from omega_ai.core.websocket.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_payload
from omega_ai.tests.unit.core.websocket.wire import (
    Frame,
    RecordingServer,
    masked,
    open_client,
    open_server,
    read_frames,
)


def test_messages_are_handed_on() -> None:
    """Text and binary, whole and fragmented."""
    server, _, _ = open_server()
    server.data_received(masked(TEXT, b"a") + masked(BINARY, b"\xff") + masked(TEXT, b"b", fin=False))
    server.data_received(masked(CONTINUATION, b"c"))
    assert server.events == [("text", b"a"), ("binary", b"\xff"), ("text", b"bc")]


def test_every_ping_is_answered_in_order_with_its_payload() -> None:
    """Section 5.5.3; also between the fragments of a message (section 5.4)."""
    server, transport, _ = open_server()
    server.data_received(
        masked(TEXT, b"a", fin=False) + masked(PING, b"1") + masked(PING, b"") + masked(PONG, b"p")
    )
    server.data_received(masked(CONTINUATION, b"b"))
    assert server.events == [("ping", b"1"), ("ping", b""), ("pong", b"p"), ("text", b"ab")]
    assert read_frames(transport.written) == [Frame(PONG, b"1"), Frame(PONG, b"")]


def test_a_peer_that_does_not_read_gets_the_latest_pong_only() -> None:
    """Section 5.5.3 allows it; otherwise its pings would fill our memory."""
    server, transport, _ = open_server()
    transport.full = True
    server.send_text(b"stuck")
    for number in range(1000):
        server.data_received(masked(PING, b"%d" % number))
    assert len(transport.kept) < 20
    transport.drain()
    assert read_frames(transport.written) == [Frame(TEXT, b"stuck"), Frame(PONG, b"999")]
    assert server.events[-1] == ("drained",)


def test_write_says_when_the_transport_has_a_backlog() -> None:
    """So that an outbox can take over."""
    server, transport, _ = open_server()
    assert server.send_text(b"a")
    transport.full = True
    assert not server.send_text(b"b")
    assert server.blocked
    transport.drain()
    assert not server.blocked


def test_a_close_frame_is_answered_with_its_code_and_the_server_ends_first() -> None:
    """Sections 5.5.1 and 7.1.1."""
    server, transport, _ = open_server()
    server.data_received(masked(CLOSE, close_payload(4000, "bye")))
    assert read_frames(transport.written) == [Frame(CLOSE, close_payload(4000))]
    assert transport.ended
    assert server.events == [("close", 4000, "bye")]


def test_an_empty_close_frame_is_answered_with_an_empty_one() -> None:
    """Section 5.5.1: there is no code to echo; 1005 is reported, never sent."""
    server, transport, _ = open_server()
    server.data_received(masked(CLOSE))
    assert read_frames(transport.written) == [Frame(CLOSE, b"")]
    assert server.events == [("close", 1005, "")]


def test_after_a_close_frame_nothing_is_processed() -> None:
    """Section 5.5.1, and there is never a second close frame."""
    server, transport, _ = open_server()
    server.data_received(masked(CLOSE) + masked(CLOSE) + masked(TEXT, b"x") + masked(PING) + b"\xff\xff\xff")
    server.data_received(masked(TEXT, b"later"))
    assert read_frames(transport.written) == [Frame(CLOSE, b"")]
    assert server.events == [("close", 1005, "")]


def test_our_close_waits_for_the_peers() -> None:
    """Section 7.1.2: what comes in between is read over; then the connection ends, without a second close."""
    server, transport, _ = open_server()
    server.close(4008, "too slow")
    server.close(1000)
    server.send_text(b"not sent")
    server.data_received(masked(TEXT, b"in flight") + masked(PING, b"x") + masked(TEXT, b"y", fin=False))
    assert not transport.ended
    server.data_received(masked(CLOSE, close_payload(4008)))
    assert read_frames(transport.written) == [Frame(CLOSE, close_payload(4008, "too slow"))]
    assert transport.ended
    assert server.events == [("close", 4008, "")]


def test_writing_after_the_end_is_nothing_and_no_error() -> None:
    """A fan-out need not ask every connection whether it is closing; nothing may follow a close frame."""
    server, transport, _ = open_server()
    server.close()
    assert server.write(b"\x81\x01x")
    server.data_received(masked(CLOSE))
    assert server.write(b"\x81\x01x")
    assert len(read_frames(transport.written)) == 1


def test_a_peer_that_does_not_answer_our_close_is_cut_off() -> None:
    """After close_timeout seconds."""
    server, transport, scheduler = open_server(close_timeout=2.0)
    server.close()
    scheduler.advance(1.9)
    assert not transport.aborted
    scheduler.advance(0.2)
    assert transport.aborted


def test_a_peer_that_does_not_end_the_connection_is_cut_off() -> None:
    """The TCP connection is bounded too, after the handshake is done."""
    server, transport, scheduler = open_server(close_timeout=2.0)
    server.data_received(masked(CLOSE))
    scheduler.advance(2.1)
    assert transport.aborted


def test_a_client_waits_for_the_server_to_end_the_connection() -> None:
    """Section 7.1.1, within close_timeout."""
    client, transport, scheduler = open_client(close_timeout=2.0)
    client.data_received(b"\x88\x02\x03\xe8")
    assert read_frames(transport.written) == [Frame(CLOSE, close_payload(1000), masked=True)]
    assert not transport.ended
    assert not transport.closed
    scheduler.advance(2.1)
    assert transport.aborted


def test_the_timer_ends_with_the_connection() -> None:
    """Nothing is left behind."""
    server, transport, scheduler = open_server()
    server.close()
    server.connection_lost(None)
    scheduler.advance(100)
    assert not transport.aborted
    assert server.events == [("disconnected",)]


def test_breaking_the_protocol_is_told_and_ends_the_connection() -> None:
    """Section 7.1.7: close frame with the code, our direction ended, nothing read any more."""
    server, transport, _ = open_server()
    server.data_received(masked(TEXT, b"\xff") + masked(TEXT, b"ok"))
    (frame,) = read_frames(transport.written)
    assert frame.payload[:2] == (1007).to_bytes(2, "big")
    assert transport.ended
    assert server.events == [("error", 1007)]


def test_over_tls_the_connection_is_closed_as_a_whole() -> None:
    """TLS cannot end one direction alone."""
    server, transport, _ = open_server(tls=True)
    server.data_received(masked(CLOSE))
    assert transport.closed


def test_a_protocol_error_while_closing_ends_the_connection_without_a_second_close() -> None:
    """Section 5.5.1: only one close frame."""
    server, transport, _ = open_server()
    server.close(NORMAL)
    server.data_received(b"\xff\xff")
    assert len(read_frames(transport.written)) == 1
    assert transport.ended


@pytest.mark.parametrize("payload", [b"\x03", b"\x03\xed", b"\x03\xe8\xff"])
def test_a_wrong_close_frame_is_a_protocol_error(payload: bytes) -> None:
    """Sections 5.5.1 and 7.4.1."""
    server, transport, _ = open_server()
    server.data_received(masked(CLOSE, payload))
    assert [event[0] for event in server.events] == ["error"]
    assert len(read_frames(transport.written)) == 1


def test_a_callback_that_fails_closes_its_connection_alone_with_1011(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Our defect: logged, told, and no exception reaches the event loop."""

    class Failing(RecordingServer):
        def on_text(self, data: bytes) -> None:
            raise RuntimeError("defect")

    failing, transport, _ = open_server(Failing)
    with caplog.at_level(logging.ERROR):
        failing.data_received(masked(TEXT, b"x"))
        failing.data_received(masked(TEXT, b"x"))
    assert read_frames(transport.written)[0].payload[:2] == (1011).to_bytes(2, "big")
    assert len(caplog.records) == 1


def test_a_client_masks_with_a_key_of_its_own_for_every_frame() -> None:
    """Section 5.3."""
    client, transport, _ = open_client()
    client.send_text(b"a")
    client.ping(b"p")
    client.data_received(b"\x89\x01x")
    client.close(1000)
    frames = read_frames(transport.written)
    assert [frame.opcode for frame in frames] == [TEXT, PING, PONG, CLOSE]
    assert all(frame.masked for frame in frames)


def test_a_ping_has_a_bound() -> None:
    """Section 5.5."""
    server, _, _ = open_server()
    with pytest.raises(ValueError, match="125"):
        server.ping(bytes(126))


def test_sending_compressed_is_possible_when_agreed() -> None:
    """RFC 7692 section 6.1: RSV1."""
    server, transport, _ = open_server(compression=True)
    assert server.compression is not None
    server.send_frame(TEXT, b"\x00", rsv1=True)
    assert read_frames(transport.written) == [Frame(TEXT, b"\x00", rsv1=True)]
