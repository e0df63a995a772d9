"""Frames as bytes (RFC 6455 section 5.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega_ai.core.websocket.frames import (
    BINARY,
    CLOSE,
    EMPTY_CLOSE,
    EMPTY_PING,
    EMPTY_PONG,
    PING,
    PONG,
    TEXT,
    apply_mask,
    build_frame,
    close_frame,
    close_payload,
    text_frame,
)
from omega_ai.core.websocket.masking import xor


def test_the_examples_of_the_rfc() -> None:
    """Section 5.7."""
    assert text_frame(b"Hello") == bytes.fromhex("810548656c6c6f")
    mask = bytes.fromhex("37fa213d")
    assert build_frame(TEXT, b"Hello", mask=mask) == bytes.fromhex("818537fa213d7f9f4d5158")
    assert build_frame(TEXT, b"Hel", fin=False) == bytes.fromhex("010348656c")
    assert build_frame(BINARY, bytes(256))[:4] == bytes.fromhex("827e0100")
    assert build_frame(BINARY, bytes(65536))[:10] == bytes.fromhex("827f0000000000010000")


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536])
def test_a_text_frame_is_the_general_frame_built_faster(size: int) -> None:
    """At every width of the length."""
    assert text_frame(b"x" * size) == build_frame(TEXT, b"x" * size)


def test_the_ready_made_frames_are_right() -> None:
    """They are what the builder builds."""
    assert build_frame(PING, b"") == EMPTY_PING
    assert build_frame(PONG, b"") == EMPTY_PONG
    assert build_frame(CLOSE, b"") == EMPTY_CLOSE == close_frame()


def test_rsv1_marks_a_compressed_message() -> None:
    """RFC 7692 section 6."""
    assert build_frame(TEXT, b"", rsv1=True) == b"\xc1\x00"


@pytest.mark.parametrize("offset", range(6))
def test_masking_can_go_on_in_the_middle(offset: int) -> None:
    """Byte i of a payload is masked with byte i modulo 4 of the key (section 5.3)."""
    mask, payload = b"\x01\x02\x03\x04", bytes(range(200))
    assert apply_mask(payload, mask)[offset:] == apply_mask(payload[offset:], mask, offset)


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_masking_is_the_same_with_and_without_the_extension(payload: bytes, mask: bytes) -> None:
    """Both are what the RFC says, byte for byte (section 5.3)."""
    expected = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    assert apply_mask(payload, mask) == expected
    assert xor(payload, mask) == expected


def test_masking_twice_gives_the_payload_back() -> None:
    """Also for an empty one."""
    for payload in (b"", b"a", b"abcd", b"abcdefghi"):
        assert apply_mask(apply_mask(payload, b"\xff\x00\xaa\x55"), b"\xff\x00\xaa\x55") == payload


def test_a_long_reason_is_cut_between_characters() -> None:
    """A control frame carries 125 bytes at most (section 5.5), and the reason is UTF-8 (section 5.5.1)."""
    payload = close_payload(1000, "ä" * 100)
    assert len(payload) == 124
    assert payload[2:].decode() == "ä" * 61
    assert len(close_payload(1000, "x" * 200)) == 125


def test_a_code_that_must_not_be_sent_is_refused() -> None:
    """Section 7.4.1; and a reason needs a code."""
    with pytest.raises(ValueError, match="1005"):
        close_payload(1005)
    with pytest.raises(ValueError, match="without a code"):
        close_payload(None, "because")
