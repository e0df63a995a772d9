"""Stamps: a message that says who sent it, as which, when it was meant to be sent, and whether it is whole.

A stamp is plain ASCII without a character that JSON escapes, so that it survives in any text:
``o1:RUN:CLIENT:NUMBER:INTENDED_NS:PADDING:CRC``. RUN tells runs apart, so that another test on the same
channel is not taken for ours; the CRC-32 (hexadecimal) is over everything before its colon.

Load has stamps of fixed width (``testkit/load/stamps.py`` makes them), which are read here too:
``o2:RUN:CLIENTNUMBERINTENDED_NSPADDING:CRC``, with client and number as 8 and the intended time as 16
hexadecimal digits. There the intended time counts from the start of the run.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from zlib import crc32

RUN_LENGTH: Final = 8
MAX_STAMP: Final = 1 << 24
"""Characters that a stamp may have, padding included."""

MARK: Final = b"o1:"
"""How every stamp begins."""
_FIND: Final = re.compile(rb"o1:([0-9A-Za-z]{8}):([0-9]{1,9}):([0-9]{1,15}):([0-9]{1,20}):(x*):([0-9a-f]{8})")
_FIND_FIXED: Final = re.compile(
    rb"o2:([0-9A-Za-z]{8}):([0-9a-f]{8})([0-9a-f]{8})([0-9a-f]{16})x*:([0-9a-f]{8})"
)
_LOOSE: Final = re.compile(rb"o[12]:([0-9A-Za-z]{8}):")
# What is left of a stamp whose end was cut or whose digits were damaged: enough to say that it was ours.


class Stamp(NamedTuple):
    """What a message says of itself. ``intended_ns`` is the sender's monotonic time, or that of the run."""

    run: str
    client: int
    number: int
    intended_ns: int


class Damaged(NamedTuple):
    """A stamp of run ``run`` that is not whole; ``client`` and ``number`` as far as they can be read."""

    run: str
    client: int | None
    number: int | None


def make_stamp(run: str, client: int, number: int, intended_ns: int, size: int = 0) -> bytes:
    """A stamp, padded to ``size`` bytes if it is shorter."""
    head = b"%s%s:%d:%d:%d:" % (MARK, run.encode("ascii"), client, number, intended_ns)
    padding = b"x" * max(0, min(size, MAX_STAMP) - len(head) - 9)
    body = head + padding
    return b"%s:%08x" % (body, crc32(body))


def read_stamp(data: bytes) -> Stamp | Damaged | None:
    """The first stamp in ``data``: whole, damaged, or none."""
    match = _FIND.search(data)
    if match is not None:
        run, client, number, intended, _, crc = match.groups()
        if crc32(match.group()[:-9]) == int(crc, 16):
            return Stamp(run.decode(), int(client), int(number), int(intended))
        return Damaged(run.decode(), int(client), int(number))
    match = _FIND_FIXED.search(data)
    if match is not None:
        run, client, number, intended, crc = match.groups()
        if crc32(match.group()[:-9]) == int(crc, 16):
            return Stamp(run.decode(), int(client, 16), int(number, 16), int(intended, 16))
        return Damaged(run.decode(), int(client, 16), int(number, 16))
    loose = _LOOSE.search(data)
    return None if loose is None else Damaged(loose[1].decode(), None, None)
