"""Bytes of TLS: records, handshake messages and the vectors in them (RFC 5246 sections 4, 6.2.1 and 7.4).

Sans I/O, and every length has a bound, since what is read here is whatever a stranger sends.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

CHANGE_CIPHER_SPEC: Final = 20
ALERT: Final = 21
HANDSHAKE: Final = 22
APPLICATION_DATA: Final = 23

TLS_1_0: Final = 0x0301
TLS_1_2: Final = 0x0303
TLS_1_3: Final = 0x0304

RECORD_LIMIT: Final = (1 << 14) + 2048
"""Bytes of a record, encrypted or not (RFC 5246 section 6.2.3)."""
MESSAGE_LIMIT: Final = 1 << 17
"""Bytes of a handshake message; long chains are a tenth of it."""


class Malformed(ValueError):
    """Bytes that are not what they must be; ``str(error)`` says in what."""


class Cursor:
    """Reads from the front of ``data``, and never beyond its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes that were not read yet."""
        return len(self._data) - self._at

    def take(self, size: int) -> bytes:
        """The next bytes.

        Raises:
            Malformed: there are not so many.
        """
        if size > self.left:
            raise Malformed(f"{size} bytes announced, {self.left} there")
        begin = self._at
        self._at += size
        return self._data[begin : self._at]

    def number(self, size: int) -> int:
        """An unsigned number of ``size`` bytes."""
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        """Bytes behind their length, itself a number of ``size`` bytes."""
        return self.take(self.number(size))

    def end(self) -> None:
        """Say that nothing must follow.

        Raises:
            Malformed: something does.
        """
        if self.left:
            raise Malformed(f"{self.left} bytes too many")


def vector(size: int, data: bytes) -> bytes:
    """``data`` behind its length, which takes ``size`` bytes."""
    return len(data).to_bytes(size, "big") + data


def record(kind: int, data: bytes, version: int = TLS_1_2) -> bytes:
    """One record."""
    return bytes([kind]) + version.to_bytes(2, "big") + vector(2, data)


def message(kind: int, body: bytes) -> bytes:
    """One handshake message."""
    return bytes([kind]) + vector(3, body)


def read_extensions(data: bytes) -> dict[int, bytes]:
    """Extensions by their number.

    Raises:
        Malformed: cut off, or one of them twice (RFC 5246 section 7.4.1.4).
    """
    cursor = Cursor(data)
    found: dict[int, bytes] = {}
    while cursor.left:
        number, body = cursor.number(2), cursor.vector(2)
        if number in found:
            raise Malformed(f"extension {number} twice")
        found[number] = body
    return found


class Record(NamedTuple):
    """One record, as it was on the wire."""

    kind: int
    version: int
    data: bytes


class Records:
    """Cuts a stream into records, however it comes in pieces."""

    def __init__(self) -> None:
        self._stream = bytearray()

    def feed(self, data: bytes) -> Iterator[Record]:
        """Take ``data``; the records that are whole now, each read when it is its turn.

        Raises:
            Malformed: this is no TLS. What came before it was handed out by then.
        """
        self._stream += data
        return iter(self._next, None)

    def _next(self) -> Record | None:
        stream = self._stream
        if len(stream) < 5:
            return None
        kind, version = stream[0], int.from_bytes(stream[1:3], "big")
        size = int.from_bytes(stream[3:5], "big")
        if not CHANGE_CIPHER_SPEC <= kind <= APPLICATION_DATA or version >> 8 != 3:
            raise Malformed(f"no TLS record: it begins with {stream[:5].hex(' ')}")
        if size > RECORD_LIMIT:
            raise Malformed(f"a record of {size} bytes; {RECORD_LIMIT} are the most")
        if not size and kind != APPLICATION_DATA:
            raise Malformed("an empty record")
        if len(stream) - 5 < size:
            return None
        found = Record(kind, version, bytes(stream[5 : 5 + size]))
        del stream[: 5 + size]
        return found


class Message(NamedTuple):
    """One handshake message."""

    kind: int
    body: bytes

    @property
    def whole(self) -> bytes:
        """With its head, as it counts for the transcript."""
        return message(self.kind, self.body)


class Messages:
    """Puts handshake messages together from the records that carry them, or parts of them."""

    def __init__(self) -> None:
        self._stream = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """Take the content of one more record; the messages that are whole now, each in its turn.

        Raises:
            Malformed: one that is too long.
        """
        self._stream += data
        return iter(self._next, None)

    def _next(self) -> Message | None:
        stream = self._stream
        if len(stream) < 4:
            return None
        kind, size = stream[0], int.from_bytes(stream[1:4], "big")
        if size > MESSAGE_LIMIT:
            raise Malformed(f"a handshake message of {size} bytes; {MESSAGE_LIMIT} are the most")
        if len(stream) - 4 < size:
            return None
        found = Message(kind, bytes(stream[4 : 4 + size]))
        del stream[: 4 + size]
        return found
