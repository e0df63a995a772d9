"""permessage-deflate (RFC 7692)."""

from __future__ import annotations

import zlib

import pytest

from omega_ai.core.websocket.close import ProtocolError
from omega_ai.core.websocket.deflate import (
    NAME,
    OFFER,
    DeflateParams,
    Inflater,
    accept_answer,
    compress_once,
    negotiate,
)
from omega_ai.core.websocket.headers import parse_extensions

ANSWER = f"{NAME}; server_no_context_takeover; client_no_context_takeover"


def answer(header: str) -> str | None:
    """What a server answers to an offer."""
    chosen = negotiate(parse_extensions([header]))
    return chosen[0] if chosen else None


def inflate(data: bytes, limit: int = 1 << 20) -> bytes:
    """Inflate one message."""
    inflater = Inflater(DeflateParams())
    out = inflater.feed(data, limit)
    return out + inflater.finish(limit - len(out))


@pytest.mark.parametrize(
    "offer",
    [
        NAME,
        f"{NAME}; client_max_window_bits",
        f"{NAME}; client_max_window_bits=8",
        f"{NAME}; server_no_context_takeover; client_no_context_takeover",
        f'{NAME}; client_max_window_bits="12"',
    ],
)
def test_an_offer_is_accepted_without_context_takeover(offer: str) -> None:
    """Sections 7.1.1 and 7.1.2: both parameters may be answered whether they were offered or not."""
    assert answer(offer) == ANSWER


def test_a_smaller_server_window_is_confirmed_and_kept() -> None:
    """Section 7.1.2.1."""
    chosen = negotiate(parse_extensions([f"{NAME}; server_max_window_bits=10"]))
    assert chosen == (f"{ANSWER}; server_max_window_bits=10", DeflateParams(send_window_bits=10))


@pytest.mark.parametrize(
    "offer",
    [
        "x-webkit-deflate-frame",
        f"{NAME}; unknown",
        f"{NAME}; server_no_context_takeover=1",
        f"{NAME}; client_no_context_takeover; client_no_context_takeover",
        f"{NAME}; server_max_window_bits",
        f"{NAME}; server_max_window_bits=7",
        f"{NAME}; server_max_window_bits=16",
        f"{NAME}; server_max_window_bits=010",
        f"{NAME}; client_max_window_bits=x",
        f"{NAME}; server_max_window_bits=8",
    ],
)
def test_a_wrong_offer_is_declined(offer: str) -> None:
    """Section 7.1: unknown, repeated or invalid parameters; and 8 bits, which zlib cannot write."""
    assert answer(offer) is None


def test_the_first_acceptable_offer_is_taken() -> None:
    """Section 5.1: in the client's order of preference."""
    assert answer(f"{NAME}; bad, {NAME}; server_max_window_bits=12, {NAME}") == (
        f"{ANSWER}; server_max_window_bits=12"
    )


def test_the_client_reads_the_answer() -> None:
    """Section 7.1: declined, accepted as offered, and a server that keeps its context."""
    assert accept_answer([]) is None
    assert accept_answer(parse_extensions([ANSWER])) == DeflateParams()
    assert accept_answer(parse_extensions([NAME])) == DeflateParams(receive_takeover=True)
    bits = accept_answer(parse_extensions([f"{ANSWER}; server_max_window_bits=9; client_max_window_bits=10"]))
    assert bits == DeflateParams(send_window_bits=10, receive_window_bits=9)
    narrow = accept_answer(parse_extensions([f"{ANSWER}; client_max_window_bits=8"]))
    assert narrow is not None
    assert not narrow.can_send


def test_our_client_and_our_server_agree() -> None:
    """The client's offer, answered by the server, read by the client."""
    chosen = negotiate(parse_extensions([OFFER]))
    assert chosen is not None
    assert accept_answer(parse_extensions([chosen[0]])) == DeflateParams() == chosen[1]


@pytest.mark.parametrize(
    "header",
    [
        "other",
        f"{NAME}, {NAME}",
        f"{NAME}; client_max_window_bits",
        f"{NAME}; client_max_window_bits=16",
        f"{NAME}; server_max_window_bits",
        f"{NAME}; server_no_context_takeover=yes",
        f"{NAME}; server_no_context_takeover; server_no_context_takeover",
    ],
)
def test_an_answer_that_was_not_asked_for_fails_the_handshake(header: str) -> None:
    """RFC 6455 section 4.1 and RFC 7692 section 7.1: in an answer, a window has its size."""
    with pytest.raises(ValueError, match=NAME if header != "other" else "not offered"):
        accept_answer(parse_extensions([header]))


@pytest.mark.parametrize("payload", [b"", b"Hello", b"abc" * 1000, bytes(range(256)) * 300])
@pytest.mark.parametrize("bits", [9, 15])
def test_what_is_compressed_inflates_to_itself(payload: bytes, bits: int) -> None:
    """Sections 7.2.1 and 7.2.2, with the smallest and the largest window."""
    packed = compress_once(payload, window_bits=bits)
    assert not packed.endswith(b"\x00\x00\xff\xff")
    assert inflate(packed) == payload
    assert zlib.decompressobj(-bits).decompress(packed + b"\x00\x00\xff\xff") == payload


def test_the_examples_of_the_rfc() -> None:
    """Section 7.2.3: compressed, not compressed, and a final block."""
    assert compress_once(b"Hello") == bytes.fromhex("f248cdc9c90700")
    assert inflate(bytes.fromhex("f248cdc9c90700")) == b"Hello"
    assert inflate(bytes.fromhex("000500faff48656c6c6f00")) == b"Hello"
    assert inflate(bytes.fromhex("f348cdc9c9070000")) == b"Hello"
    assert inflate(bytes.fromhex("f24805000000ffffcac9c90700")) == b"Hello"


def test_a_peer_that_keeps_its_context_is_understood() -> None:
    """Section 7.2.3.2: the second Hello refers back to the first."""
    inflater = Inflater(DeflateParams(receive_takeover=True))
    for packed in ("f248cdc9c90700", "f200110000"):
        out = inflater.feed(bytes.fromhex(packed), 100)
        assert out + inflater.finish(100 - len(out)) == b"Hello"


def test_without_takeover_nothing_is_referred_back_to() -> None:
    """Section 7.1.1.1: the second Hello alone is not valid."""
    inflater = Inflater(DeflateParams())
    inflater.feed(bytes.fromhex("f248cdc9c90700"), 100)
    inflater.finish(100)
    with pytest.raises(ProtocolError) as caught:
        inflater.feed(bytes.fromhex("f200110000"), 100)
    assert caught.value.code == 1007


def test_what_is_not_deflate_is_refused() -> None:
    """1007."""
    with pytest.raises(ProtocolError) as caught:
        inflate(b"\xff\xff\xff\xff")
    assert caught.value.code == 1007


def test_the_limit_is_exact() -> None:
    """1009 for one byte more than allowed."""
    packed = compress_once(bytes(1000))
    assert inflate(packed, 1000) == bytes(1000)
    with pytest.raises(ProtocolError) as caught:
        inflate(packed, 999)
    assert caught.value.code == 1009


def test_final_blocks_without_end_are_refused() -> None:
    """1009: each costs an inflater, and none holds anything."""
    final_empty = b"\x03\x00"
    assert inflate(final_empty * 10) == b""
    with pytest.raises(ProtocolError) as caught:
        inflate(final_empty * 1000)
    assert caught.value.code == 1009
