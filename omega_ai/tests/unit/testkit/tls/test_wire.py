"""Records, handshake messages and vectors: whole, in pieces, and what is none."""

from __future__ import annotations

import pytest

from omega_ai.testkit.tls.wire import (
    ALERT,
    APPLICATION_DATA,
    HANDSHAKE,
    MESSAGE_LIMIT,
    RECORD_LIMIT,
    Cursor,
    Malformed,
    Messages,
    Records,
    message,
    read_extensions,
    record,
    vector,
)


class TestCursor:
    """Reads vectors, never beyond the end."""

    def test_numbers_bytes_and_vectors_come_in_turn(self) -> None:
        """And then nothing is left."""
        cursor = Cursor(b"\x01\x02" + vector(2, b"abc") + b"z")
        assert cursor.number(2) == 0x0102
        assert cursor.vector(2) == b"abc"
        assert cursor.left == 1
        assert cursor.take(1) == b"z"
        cursor.end()

    def test_more_than_there_is_is_refused(self) -> None:
        """A length that lies."""
        with pytest.raises(Malformed, match="5 bytes announced, 2 there"):
            Cursor(b"\x05ab").vector(1)

    def test_what_is_too_much_is_refused(self) -> None:
        """By who wants the end there."""
        with pytest.raises(Malformed, match="1 bytes too many"):
            Cursor(b"x").end()


def test_extensions_are_found_by_number() -> None:
    """Each once."""
    data = b"\x00\x05" + vector(2, b"x") + b"\xff\x01" + vector(2, b"")
    assert read_extensions(data) == {5: b"x", 0xFF01: b""}
    with pytest.raises(Malformed, match="extension 5 twice"):
        read_extensions(data[:5] * 2)


class TestRecords:
    """A stream, cut into records."""

    def test_it_does_not_matter_where_the_stream_is_cut(self) -> None:
        """Byte by byte, or at once."""
        stream = record(HANDSHAKE, b"abc") + record(ALERT, b"\x02\x28") + record(APPLICATION_DATA, b"")
        whole = list(Records().feed(stream))
        assert [(item.kind, item.data) for item in whole] == [
            (HANDSHAKE, b"abc"),
            (ALERT, b"\x02\x28"),
            (APPLICATION_DATA, b""),
        ]
        pieces = Records()
        assert [item for byte in stream for item in pieces.feed(bytes([byte]))] == whole

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            (b"HTTP/1.1 400 Bad Request", "no TLS record: it begins with 48 54 54 50 2f"),
            (b"\x16\x02\x00\x00\x01x", "no TLS record"),
            (record(HANDSHAKE, b""), "an empty record"),
            (
                b"\x16\x03\x03" + (RECORD_LIMIT + 1).to_bytes(2, "big"),
                f"a record of {RECORD_LIMIT + 1} bytes",
            ),
        ],
    )
    def test_what_is_none_is_refused_at_once(self, data: bytes, words: str) -> None:
        """Before more of it is waited for."""
        with pytest.raises(Malformed, match=words):
            list(Records().feed(data))


def test_what_came_before_rubbish_is_handed_out() -> None:
    """Also in the same piece: where a stream is cut makes no difference."""
    records = Records().feed(record(ALERT, b"\x02\x28") + b"rubbish")
    assert next(records).data == b"\x02\x28"
    with pytest.raises(Malformed, match="no TLS record"):
        next(records)


class TestMessages:
    """Handshake messages, in as many records as they like."""

    def test_several_in_one_record_and_one_in_several(self) -> None:
        """In their order."""
        messages = Messages()
        stream = message(2, b"abc") + message(14, b"") + message(11, b"long")
        assert [item.kind for item in messages.feed(stream[:-2])] == [2, 14]
        (last,) = messages.feed(stream[-2:])
        assert (last.kind, last.body) == (11, b"long")
        assert last.whole == stream[-8:]

    def test_one_that_is_too_long_is_refused_by_its_head(self) -> None:
        """Not when it is there."""
        with pytest.raises(Malformed, match=f"a handshake message of {MESSAGE_LIMIT + 1} bytes"):
            list(Messages().feed(b"\x0b" + (MESSAGE_LIMIT + 1).to_bytes(3, "big")))
