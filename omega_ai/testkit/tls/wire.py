"""Bytes of TLS: records, handshake messages and the vectors in them (RFC 5246 sections 4, 6.2.1 and 7.4).

Sans I/O, and every length has a bound, since what is read here is whatever a stranger sends.
"""

from __future__ import annotations

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
        self._rest = b""

    def feed(self, data: bytes) -> list[Record]:
        """The records that ``data`` completes.

        Raises:
            Malformed: this is no TLS.
        """
        stream = self._rest + data
        found = []
        at = 0
        while len(stream) - at >= 5:
            kind, version = stream[at], int.from_bytes(stream[at + 1 : at + 3], "big")
            size = int.from_bytes(stream[at + 3 : at + 5], "big")
            if not CHANGE_CIPHER_SPEC <= kind <= APPLICATION_DATA or version >> 8 != 3:
                raise Malformed(f"no TLS record: it begins with {stream[at : at + 5].hex(' ')}")
            if size > RECORD_LIMIT:
                raise Malformed(f"a record of {size} bytes; {RECORD_LIMIT} are the most")
            if not size and kind != APPLICATION_DATA:
                raise Malformed("an empty record")
            if len(stream) - at - 5 < size:
                break
            found.append(Record(kind, version, stream[at + 5 : at + 5 + size]))
            at += 5 + size
        self._rest = stream[at:]
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
        self._rest = b""

    def feed(self, data: bytes) -> list[Message]:
        """The messages that the content of one more record completes.

        Raises:
            Malformed: one that is too long.
        """
        stream = self._rest + data
        found = []
        at = 0
        while len(stream) - at >= 4:
            kind, size = stream[at], int.from_bytes(stream[at + 1 : at + 4], "big")
            if size > MESSAGE_LIMIT:
                raise Malformed(f"a handshake message of {size} bytes; {MESSAGE_LIMIT} are the most")
            if len(stream) - at - 4 < size:
                break
            found.append(Message(kind, stream[at + 4 : at + 4 + size]))
            at += 4 + size
        self._rest = stream[at:]
        return found
