"""Frames out of bytes (RFC 6455 section 5.2)."""

from __future__ import annotations

import pytest

from omega_ai.core.websocket.deflate import compress_once
from omega_ai.core.websocket.frames import BINARY, CLOSE, CONTINUATION, PING, TEXT, build_frame
from omega_ai.tests.unit.core.websocket.wire import MASK, masked, open_client, open_server, read_frames


def failure(data: bytes, **how: object) -> int:
    """The close code with which a server fails a connection on ``data``."""
    server, transport, _ = open_server(**how)  # type: ignore[arg-type]
    server.data_received(data)
    (frame,) = read_frames(transport.written)
    assert frame.opcode == CLOSE
    assert transport.ended
    return int.from_bytes(frame.payload[:2], "big")


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70000])
def test_every_width_of_length_is_read(size: int) -> None:
    """7, 16 and 64 bits."""
    server, _, _ = open_server()
    server.data_received(masked(TEXT, b"x" * size) + masked(TEXT, b"next"))
    assert server.events == [("text", b"x" * size), ("text", b"next")]


def test_a_stream_may_come_byte_by_byte() -> None:
    """However TCP cuts it."""
    server, _, _ = open_server(compression=True)
    stream = (
        masked(TEXT, "€".encode() * 60)
        + masked(PING, b"p")
        + masked(BINARY, compress_once(b"z" * 500), rsv1=True)
    )
    for byte in stream:
        server.data_received(bytes([byte]))
    assert server.events == [("text", "€".encode() * 60), ("ping", b"p"), ("binary", b"z" * 500)]


def test_a_frame_that_is_not_masked_is_refused_by_a_server() -> None:
    """Section 5.1: 1002."""
    assert failure(build_frame(TEXT, b"x")) == 1002


def test_a_frame_that_is_masked_is_refused_by_a_client() -> None:
    """Section 5.1: 1002."""
    client, _, _ = open_client()
    client.data_received(masked(TEXT, b"x"))
    assert client.events == [("error", 1002)]


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_reserved_opcodes_are_refused(opcode: int) -> None:
    """Section 5.2: 1002, on the head alone, whatever length it announces."""
    assert failure(bytes([0x80 | opcode, 0xFF])) == 1002


@pytest.mark.parametrize("opcode", [8, 9, 10])
def test_control_frames_are_short_whole_and_plain(opcode: int) -> None:
    """Section 5.5: 1002."""
    assert failure(bytes([0x80 | opcode, 0x80 | 126])) == 1002
    assert failure(bytes([opcode, 0x80])) == 1002
    assert failure(bytes([0xC0 | opcode, 0x80]), compression=True) == 1002


@pytest.mark.parametrize(
    "length",
    [b"\xfe\x00\x7d", b"\xff" + (0xFFFF).to_bytes(8, "big"), b"\xff" + (1 << 63).to_bytes(8, "big")],
)
def test_lengths_have_one_right_form(length: bytes) -> None:
    """Section 5.2: the shortest, and without the highest bit."""
    assert failure(b"\x81" + length + MASK) == 1002


def test_a_message_too_big_is_refused_by_its_head() -> None:
    """1009: nothing of it is stored."""
    head = b"\x82\xff" + (1 << 40).to_bytes(8, "big") + MASK
    assert failure(head + b"x", message_limit=1000) == 1009
    assert failure(masked(TEXT, b"x" * 1001), message_limit=1000) == 1009


def test_wrong_text_is_refused_inside_a_frame_that_has_not_ended() -> None:
    """Section 8.1, and no later than the byte that makes it wrong."""
    frame = masked(TEXT, b"ok\xffmore")
    server, transport, _ = open_server()
    server.data_received(frame[: 2 + 4 + 2])
    assert transport.written == b""
    server.data_received(frame[2 + 4 + 2 : 2 + 4 + 3])
    assert read_frames(transport.written)[0].payload[:2] == (1007).to_bytes(2, "big")


def test_what_came_before_an_error_is_answered_before_it() -> None:
    """The messages in the same read are handed on first."""
    server, transport, _ = open_server()
    server.data_received(masked(TEXT, b"a") + masked(PING, b"p") + b"\x83\x80" + masked(TEXT, b"never"))
    assert server.events == [("text", b"a"), ("ping", b"p"), ("error", 1002)]
    assert [frame.opcode for frame in read_frames(transport.written)] == [10, CLOSE]


def test_frames_sent_with_the_handshake_are_read() -> None:
    """A client may not wait, and the server's first message may share a packet with its answer."""
    client, _, _ = open_client(answer="")
    client.data_received(build_frame(TEXT, b"early"))
    assert client.events == [("text", b"early")]


def test_nothing_is_kept_between_messages() -> None:
    """An idle connection owns no buffer, no parser and no inflater."""
    server, _, _ = open_server(compression=True)
    frames = masked(TEXT, b"a", fin=False) + masked(CONTINUATION, b"b" * 70000)
    server.data_received(frames[:1000])
    server.data_received(frames[1000:] + masked(TEXT, compress_once(b"c"), rsv1=True))
    assert (server._rest, server._partial, server._assembler) == (b"", None, None)


def test_a_split_frame_is_skipped_while_closing() -> None:
    """The peer's close frame is found behind what we no longer read."""
    server, transport, _ = open_server()
    server.close()
    frame = masked(BINARY, b"x" * 1000) + masked(CLOSE)
    server.data_received(frame[:500])
    server.data_received(frame[500:])
    assert transport.ended
    assert server.events == [("close", 1005, "")]


def test_a_message_begun_before_our_close_is_dropped() -> None:
    """Its rest is read over."""
    server, transport, _ = open_server()
    frame = masked(TEXT, b"x" * 1000) + masked(CLOSE)
    server.data_received(frame[:500])
    server.close()
    server.data_received(frame[500:])
    assert transport.ended
    assert server.events == [("close", 1005, "")]
