"""What a server sent, read without trusting it."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega_ai.core.websocket.deflate import compress_once
from omega_ai.core.websocket.frames import build_frame
from omega_ai.testkit.conformance.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    RSV1,
    RSV2,
    TEXT,
    Agreed,
    FrameReader,
    Message,
    close_body,
    fragments,
    frame,
)


def read(*frames: bytes, agreed: Agreed | None = None) -> FrameReader:
    """A reader that was given ``frames``."""
    reader = FrameReader()
    reader.agreed = agreed
    reader.feed(b"".join(frames))
    return reader


def server(opcode: int, payload: bytes = b"", **more: object) -> bytes:
    """A frame as a server sends it."""
    return frame(opcode, payload, mask=None, **more)  # type: ignore[arg-type] # passed on as given


@given(
    st.lists(st.tuples(st.sampled_from([TEXT, BINARY]), st.text(max_size=300)), max_size=8),
    st.integers(1, 40),
)
def test_messages_are_read_however_the_stream_is_cut(messages: list[tuple[int, str]], step: int) -> None:
    """Nothing is lost, nothing is accused."""
    stream = b"".join(server(opcode, text.encode()) for opcode, text in messages)
    reader = FrameReader()
    for start in range(0, len(stream), step):
        reader.feed(stream[start : start + step])
    assert reader.messages == [Message(opcode, text.encode()) for opcode, text in messages]
    assert not reader.violations
    assert reader.idle


@given(st.integers(0, 15), st.binary(max_size=70_000), st.booleans(), st.binary(min_size=4, max_size=4))
def test_what_is_right_is_built_as_the_engine_builds_it(
    opcode: int, payload: bytes, fin: bool, mask: bytes
) -> None:
    """Two writers of frames, one result."""
    assert frame(opcode, payload, fin=fin, mask=mask) == build_frame(opcode, payload, fin=fin, mask=mask)


@pytest.mark.parametrize(
    ("frames", "word"),
    [
        (frame(TEXT, b"x"), "masked"),
        (server(TEXT, b"x", rsv=RSV1), "reserved bits"),
        (server(TEXT, b"x", rsv=RSV2), "reserved bits"),
        (server(PING, b"x", rsv=RSV1), "reserved bits"),
        (server(3), "opcode 0x3"),
        (server(11), "opcode 0xb"),
        (server(PONG, b"x", fin=False), "fragmented"),
        (server(PING, b"x" * 126), "126 bytes"),
        (server(TEXT, b"x", wide=2), "shortest"),
        (server(TEXT, b"x" * 200, wide=8), "shortest"),
        (server(CONTINUATION, b"x"), "without a message"),
        (server(TEXT, b"x", fin=False) + server(TEXT, b"y"), "inside of"),
        (server(TEXT, b"\xff"), "not UTF-8"),
        (server(CLOSE, b"\x03"), "one byte"),
        (server(CLOSE, close_body(1005)), "1005"),
        (server(CLOSE, close_body(1000, b"\xff")), "not UTF-8"),
        (server(CLOSE) + server(TEXT, b"x"), "after its close"),
        (server(BINARY, claimed=1 << 62, wide=8), "of which nothing more is read"),
    ],
)
def test_every_breach_is_told_in_words(frames: bytes, word: str) -> None:
    """One breach, one sentence."""
    violations = read(frames).violations
    assert len(violations) == 1
    assert word in violations[0]


def test_close_codes_that_the_rfc_does_not_rule_on_accuse_nobody() -> None:
    """Autobahn calls them informational as well."""
    reader = read(server(CLOSE, close_body(5000)))
    assert reader.close == (5000, "")
    assert not reader.violations


def test_compressed_messages_are_inflated_and_a_window_too_large_is_seen() -> None:
    """The agreed window is what counts, and not what zlib would forgive."""
    block = bytes(range(256)) * 4 + zlib.compress(bytes(range(200)) * 9)
    data = block + bytes(3000) + block
    packed = compress_once(data, window_bits=15)
    wide = read(server(BINARY, packed, rsv=RSV1), agreed=Agreed(server_takeover=False))
    assert wide.messages == [Message(BINARY, data, compressed=True)]
    narrow = read(server(BINARY, packed, rsv=RSV1), agreed=Agreed(server_takeover=False, server_bits=9))
    assert "does not inflate" in narrow.violations[0]
    right = compress_once(data, window_bits=9)
    narrow = read(server(BINARY, right, rsv=RSV1), agreed=Agreed(server_takeover=False, server_bits=9))
    assert narrow.messages == [Message(BINARY, data, compressed=True)]


def test_context_that_was_not_to_be_kept_is_not_kept() -> None:
    """The second message refers to the first."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    frames = []
    for _ in range(2):
        packed = deflater.compress(b"the very same words") + deflater.flush(zlib.Z_SYNC_FLUSH)
        frames.append(server(TEXT, packed.removesuffix(b"\0\0\xff\xff"), rsv=RSV1))
    assert len(read(*frames, agreed=Agreed()).messages) == 2
    assert "does not inflate" in read(*frames, agreed=Agreed(server_takeover=False)).violations[0]


def test_fragments_make_the_message() -> None:
    """Whatever their number, control frames between them."""
    parts = [frame_.replace(b"", b"") for frame_ in fragments(TEXT, [b"a", b"", b"bc"])]
    assert len(parts) == 3
    reader = read(server(TEXT, b"a", fin=False), server(PING, b"p"), server(CONTINUATION, b"bc"))
    assert reader.messages == [Message(TEXT, b"abc")]
    assert reader.pings == [b"p"]
