"""Counts as short texts: for files that hold thousands of histograms and are read back exactly.

Numbers are LEB128 varints, packed by zlib (RFC 1950) and written in base64 (RFC 4648).
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterable, Iterator
from typing import Final

LARGEST_TEXT: Final = 32 << 20
"""Characters of a packed text that are read, and bytes that it may unpack to."""
LARGEST_NUMBER: Final = 1 << 62


class PackingError(ValueError):
    """A text that was not packed here, or is damaged; ``str(error)`` says how that shows."""


def put_number(into: bytearray, number: int) -> None:
    """Append ``number`` (0 or more) as a varint: seven bits a byte, the lowest first."""
    while number > 0x7F:
        into.append(number & 0x7F | 0x80)
        number >>= 7
    into.append(number)


def numbers(data: bytes) -> Iterator[int]:
    """The varints in ``data``.

    Raises:
        PackingError: the last one is cut off, or one is larger than ``LARGEST_NUMBER``.
    """
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        if byte > 0x7F:
            shift += 7
            if shift > 63:
                raise PackingError("it has a number that is too large")
            continue
        if value > LARGEST_NUMBER:
            raise PackingError("it has a number that is too large")
        yield value
        value = shift = 0
    if shift:
        raise PackingError("it ends within a number")


def squeezed(data: bytes) -> bytes:
    """Packed by zlib."""
    return zlib.compress(data, 9)


def unsqueezed(data: bytes) -> bytes:
    """What ``squeezed`` was given.

    Raises:
        PackingError: it is not that, or more than ``LARGEST_TEXT`` bytes.
    """
    unpacker = zlib.decompressobj()
    try:
        found = unpacker.decompress(data, LARGEST_TEXT)
    except zlib.error as error:
        raise PackingError(f"it cannot be unpacked: {error}") from None
    if unpacker.unconsumed_tail:
        raise PackingError(f"it unpacks to more than {LARGEST_TEXT} bytes")
    if not unpacker.eof:
        raise PackingError("it is cut off")
    return found


def text_of(data: bytes) -> str:
    """As base64."""
    return base64.b64encode(data).decode("ascii")


def data_of(text: str) -> bytes:
    """What ``text_of`` was given.

    Raises:
        PackingError: it is no base64, or too long.
    """
    if len(text) > LARGEST_TEXT:
        raise PackingError(f"it has more than {LARGEST_TEXT} characters")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise PackingError(f"it is no base64: {error}") from None


def pack_pairs(pairs: Iterable[tuple[int, int]]) -> str:
    """(value, how often), values from 0 and rising, as a text: the steps between values, and the counts."""
    data = bytearray()
    before = 0
    for value, times in pairs:
        if value < before or times < 0:
            raise ValueError(f"values rise and counts are 0 or more, not {value}: {times}")
        put_number(data, value - before)
        put_number(data, times)
        before = value
    return text_of(squeezed(bytes(data)))


def unpack_pairs(text: str) -> tuple[tuple[int, int], ...]:
    """What ``pack_pairs`` was given.

    Raises:
        PackingError: it was made by something else, or is damaged.
    """
    found = list(numbers(unsqueezed(data_of(text))))
    if len(found) % 2:
        raise PackingError("it has a value without a count")
    value = 0
    pairs = []
    for step, times in zip(found[::2], found[1::2], strict=True):
        value += step
        pairs.append((value, times))
    return tuple(pairs)
