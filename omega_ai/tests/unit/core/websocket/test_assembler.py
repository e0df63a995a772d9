"""Messages out of data frames (RFC 6455 sections 5.2, 5.4 and 8.1)."""

from __future__ import annotations

import pytest

from omega_ai.core.websocket.assembler import MessageAssembler, check_utf8
from omega_ai.core.websocket.close import ProtocolError
from omega_ai.core.websocket.deflate import DeflateParams, compress_once
from omega_ai.core.websocket.frames import BINARY, CONTINUATION, TEXT

RSV1, RSV2, RSV3 = 4, 2, 1


def error_code(assembler: MessageAssembler, *frames: tuple[int, bool, int, bytes]) -> int:
    """Feed frames, of which the last must be refused; returns the close code."""
    for frame in frames[:-1]:
        assembler.feed(*frame)
    with pytest.raises(ProtocolError) as caught:
        assembler.feed(*frames[-1])
    return caught.value.code


def test_one_frame_is_a_message() -> None:
    """Text and binary."""
    assembler = MessageAssembler()
    assert assembler.feed(TEXT, True, 0, b"hi") == (TEXT, b"hi")
    assert assembler.feed(BINARY, True, 0, b"\xff") == (BINARY, b"\xff")
    assert assembler.stateless


def test_fragments_make_one_message_of_the_first_ones_kind() -> None:
    """Section 5.4; empty fragments count as fragments."""
    assembler = MessageAssembler()
    assert assembler.feed(TEXT, False, 0, b"a") is None
    assert not assembler.idle
    assert assembler.feed(CONTINUATION, False, 0, b"") is None
    assert assembler.feed(CONTINUATION, True, 0, b"b") == (TEXT, b"ab")
    assert assembler.idle


def test_a_continuation_needs_something_to_continue() -> None:
    """Section 5.4: 1002."""
    assert error_code(MessageAssembler(), (CONTINUATION, True, 0, b"x")) == 1002


def test_a_new_message_must_not_begin_inside_another() -> None:
    """Section 5.4: 1002."""
    assert error_code(MessageAssembler(), (TEXT, False, 0, b"x"), (TEXT, True, 0, b"y")) == 1002
    assert error_code(MessageAssembler(), (TEXT, False, 0, b"x"), (BINARY, True, 0, b"y")) == 1002


@pytest.mark.parametrize("rsv", [RSV1, RSV2, RSV3, RSV1 | RSV2, 7])
def test_reserved_bits_are_refused_without_an_extension(rsv: int) -> None:
    """Section 5.2: 1002."""
    assert error_code(MessageAssembler(), (TEXT, True, rsv, b"x")) == 1002


@pytest.mark.parametrize("rsv", [RSV2, RSV3, RSV1 | RSV3])
def test_compression_uses_rsv1_alone(rsv: int) -> None:
    """RFC 7692 section 6."""
    assert error_code(MessageAssembler(deflate=DeflateParams()), (TEXT, True, rsv, b"x")) == 1002


def test_rsv1_stands_on_the_first_fragment_only() -> None:
    """RFC 7692 section 6.1."""
    packed = compress_once(b"abcabc")
    frames = ((TEXT, False, RSV1, packed[:2]), (CONTINUATION, True, RSV1, packed[2:]))
    assert error_code(MessageAssembler(deflate=DeflateParams()), *frames) == 1002


def test_compressed_messages_come_whole_or_in_fragments() -> None:
    """RFC 7692 section 6.2; nothing is kept from one to the next."""
    assembler = MessageAssembler(deflate=DeflateParams())
    packed = compress_once(b"abc" * 100)
    assert assembler.feed(TEXT, True, RSV1, packed) == (TEXT, b"abc" * 100)
    assert assembler.feed(BINARY, False, RSV1, packed[:5]) is None
    assert assembler.feed(CONTINUATION, False, 0, packed[5:6]) is None
    assert assembler.feed(CONTINUATION, True, 0, packed[6:]) == (BINARY, b"abc" * 100)
    assert assembler.stateless
    assert assembler.feed(TEXT, True, 0, b"plain") == (TEXT, b"plain")


@pytest.mark.parametrize("data", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"ok\xe2\x82"])
def test_text_that_is_not_utf8_is_refused(data: bytes) -> None:
    """Section 8.1: 1007, for stray bytes, overlong forms, surrogates, beyond U+10FFFF, and cut characters."""
    with pytest.raises(ProtocolError) as caught:
        check_utf8(data)
    assert caught.value.code == 1007
    assert error_code(MessageAssembler(), (TEXT, True, 0, data)) == 1007


def test_text_is_refused_at_the_first_wrong_byte() -> None:
    """Section 8.1: not only when the message ends. F4 90 cannot become a character any more."""
    assert (
        error_code(MessageAssembler(), (TEXT, False, 0, b"ok\xf4"), (CONTINUATION, False, 0, b"\x90")) == 1007
    )
    assert error_code(MessageAssembler(), (TEXT, False, 0, b"ok\xf4\x90")) == 1007


@pytest.mark.parametrize("second", [b"\xa0", b"\xbf"])
def test_a_surrogate_is_refused_at_its_second_byte(second: bytes) -> None:
    """ED A0 and up cannot become a character any more (RFC 3629 section 4), wherever it was cut."""
    assert error_code(MessageAssembler(), (TEXT, False, 0, b"ok\xed" + second)) == 1007
    cut = (TEXT, False, 0, b"ok\xed"), (CONTINUATION, False, 0, second)
    assert error_code(MessageAssembler(), *cut) == 1007
    assembler = MessageAssembler()
    assert assembler.feed(TEXT, False, 0, b"\xed\x9f") is None, "U+D7FF is a character"


def test_a_character_may_be_cut_between_fragments() -> None:
    """A fragment need not be UTF-8, the message must be (section 5.6)."""
    assembler = MessageAssembler()
    euro = "€".encode()
    assert assembler.feed(TEXT, False, 0, euro[:1]) is None
    assert assembler.feed(CONTINUATION, False, 0, euro[1:2]) is None
    assert assembler.feed(CONTINUATION, True, 0, euro[2:]) == (TEXT, euro)


def test_text_must_not_end_inside_a_character() -> None:
    """Section 8.1."""
    assert error_code(MessageAssembler(), (TEXT, False, 0, b"\xe2\x82"), (CONTINUATION, True, 0, b"")) == 1007


def test_binary_is_not_looked_at() -> None:
    """Any bytes are right."""
    assert MessageAssembler().feed(BINARY, True, 0, b"\xff\xfe") == (BINARY, b"\xff\xfe")


def test_a_message_over_the_limit_is_refused_by_its_announced_length() -> None:
    """1009, before its payload is there; exactly the limit is allowed."""
    assert MessageAssembler(message_limit=4).feed(TEXT, True, 0, b"1234") == (TEXT, b"1234")
    with pytest.raises(ProtocolError) as caught:
        MessageAssembler(message_limit=4).begin(TEXT, True, 0, 5)
    assert caught.value.code == 1009


def test_fragments_together_must_keep_the_limit() -> None:
    """1009, with the fragment that exceeds it."""
    frames = ((TEXT, False, 0, b"123"), (CONTINUATION, False, 0, b"45"))
    assert error_code(MessageAssembler(message_limit=4), *frames) == 1009


def test_a_message_may_have_only_so_many_fragments() -> None:
    """1009: empty fragments would otherwise go on for ever."""
    assembler = MessageAssembler(fragments_limit=3)
    frames = ((BINARY, False, 0, b""), *((CONTINUATION, False, 0, b""),) * 3)
    assert error_code(assembler, *frames) == 1009


def test_a_decompression_bomb_is_refused() -> None:
    """1009: the limit holds for what comes out, and no more than it is ever made."""
    bomb = compress_once(bytes(10_000_000))
    assert len(bomb) < 11_000
    assembler = MessageAssembler(message_limit=1000, deflate=DeflateParams())
    assert error_code(assembler, (BINARY, True, RSV1, bomb)) == 1009


def test_compressed_input_is_bounded_as_well() -> None:
    """1009: empty blocks inflate to nothing, and could be sent without end."""
    assembler = MessageAssembler(message_limit=1000, deflate=DeflateParams())
    empty_block = b"\x00\x00\x00\xff\xff"
    assert error_code(assembler, (BINARY, False, RSV1, empty_block * 1000)) == 1009


def test_text_in_a_compressed_message_is_checked_too() -> None:
    """1007."""
    assembler = MessageAssembler(deflate=DeflateParams())
    assert error_code(assembler, (TEXT, True, RSV1, compress_once(b"\xff\xff"))) == 1007


def test_a_frame_may_come_in_pieces() -> None:
    """The same checks, as early as the bytes are there."""
    assembler = MessageAssembler()
    assembler.begin(TEXT, True, 0, 6)
    assembler.piece(b"ab\xe2")
    assembler.piece(b"\x82\xac")
    assembler.piece(b"c")
    assert assembler.end() == (TEXT, "ab€c".encode())
    assembler.begin(TEXT, True, 0, 100)
    with pytest.raises(ProtocolError):
        assembler.piece(b"\xff")
