"""Stamps of fixed width, and the messages that carry them, made as fast as Python can.

``o2:RUN:CLIENTNUMBERINTENDED_NSPADDING:CRC``, as ``testkit.stamp`` reads them too: 8, 8 and 16 hexadecimal
digits, then ``x`` for padding. Every stamp of a group is as long as every other, and its parts are found
without looking for them. The intended time counts from the start of the run, which all machines of a run
have in common; no clock that can be set is in it.
"""

from __future__ import annotations

import random
import string
from binascii import hexlify, unhexlify
from collections.abc import Callable
from struct import Struct
from struct import error as StructError  # noqa: N812 - it is a class
from typing import Final, NamedTuple
from zlib import crc32

from omega_ai.core.clock import Clock
from omega_ai.core.timestamps import format_utc
from omega_ai.testkit.stamp import MAX_STAMP, RUN_LENGTH

MARK: Final = b"o2:"
DIGITS_AT: Final = 3 + RUN_LENGTH + 1
"""Where the digits begin, in a stamp."""
PADDING_AT: Final = DIGITS_AT + 32
WIDTH: Final = PADDING_AT + 1 + 8
"""Bytes of a stamp without padding."""
MAX_NUMBER: Final = 0xFFFFFFFF
"""Of one client; nobody sends so many."""

pack_numbers: Final = Struct(">IQ").pack
"""(number, intended) as they go into ``hexlify``."""
pack_crc: Final = Struct(">I").pack
_unpack: Final = Struct(">IIQ").unpack
_PRICES: Final = 64

Maker = Callable[[int, int], bytes]
"""(number, intended ns) -> payload."""


def lead_of(run: str, client: int) -> bytes:
    """What all stamps of one client begin with."""
    return b"%b%b:%08x" % (MARK, run.encode("ascii"), client)


def padding_of(size: int) -> bytes:
    """What fills a stamp up to ``size`` bytes."""
    return b"x" * max(0, min(size, MAX_STAMP) - WIDTH)


def stamp_maker(run: str, client: int, size: int = 0) -> Maker:
    """Makes the stamps of one client, each of ``size`` bytes, at least ``WIDTH``."""
    lead, padding = lead_of(run, client), padding_of(size)

    def make(number: int, intended: int) -> bytes:
        body = lead + hexlify(pack_numbers(number, intended)) + padding
        return body + b":" + hexlify(pack_crc(crc32(body)))

    return make


class Mark(NamedTuple):
    """A stamp as read: whose, which, when it was meant to be sent (ns since the start)."""

    client: int
    number: int
    intended: int


def read_fixed(payload: bytes, at: int) -> Mark | None:
    """The stamp that begins at ``at``; None if it is not whole."""
    end = payload.find(b":", at + PADDING_AT)
    if end < 0:
        return None
    body = payload[at:end]
    try:
        client, number, intended = _unpack(unhexlify(body[DIGITS_AT:PADDING_AT]))
    except (ValueError, StructError):
        return None
    if hexlify(pack_crc(crc32(body))) != payload[end + 1 : end + 9]:
        return None
    return Mark(client, number, intended)


class Template:
    """A profile's text to send, taken apart once."""

    def __init__(self, text: str, clock: Clock, rng: random.Random) -> None:
        self._clock = clock
        self._values: list[str] = []
        parts: list[bytes] = []
        for literal, name in _parts(text):
            parts.append(literal.encode().replace(b"%", b"%%"))
            if name is not None:
                parts.append(b"%b")
                self._values.append(name)
        self._format = b"".join(parts)
        self._prices = [
            b"%d.%02d" % (60_000 + rng.randrange(10_000), rng.randrange(100)) for _ in range(_PRICES)
        ]
        self.bare = self._format == b"%b" and self._values == ["stamp"]
        """The payload is the stamp and nothing else."""
        self.timed = bool({"utc", "utc_ms"} & set(self._values))
        """It says what time it is, besides."""

    def maker(self, run: str, client: int, size: int) -> Maker:
        """Makes the payloads of one client."""
        stamp = stamp_maker(run, client, size)
        if self.bare:
            return stamp
        form, values = self._format, self._values
        if values == ["stamp"]:
            return lambda number, intended: form % stamp(number, intended)
        fill = self._fill

        def make(number: int, intended: int) -> bytes:
            return form % tuple(fill(name, number, intended, stamp) for name in values)

        return make

    def _fill(self, name: str, number: int, intended: int, stamp: Maker) -> bytes:
        match name:
            case "stamp":
                return stamp(number, intended)
            case "id":
                return b"%d" % (number + 1)
            case "utc":
                return format_utc(self._clock.time_ns()).encode()
            case "utc_ms":
                return b"%d" % (self._clock.time_ns() // 1_000_000)
            case "price":
                return self._prices[number % _PRICES]
            case _:
                return b"0"


def _parts(text: str) -> list[tuple[str, str | None]]:
    """(literal, name of the placeholder after it), as ``string.Template`` takes a text apart."""
    parts: list[tuple[str, str | None]] = []
    literal, position = "", 0
    for found in string.Template.pattern.finditer(text):
        literal += text[position : found.start()]
        position = found.end()
        name = found["named"] or found["braced"]
        if found["escaped"] is not None:
            literal += "$"
        elif name:
            parts.append((literal, name))
            literal = ""
    return [*parts, (literal + text[position:], None)]
