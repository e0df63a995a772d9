"""Messages in one frame, of sizes around every bound of the length field (RFC 6455 section 5.2)."""

from __future__ import annotations

import itertools
from typing import Final

from omega_ai.testkit.case import Need, NotApplicable
from omega_ai.testkit.conformance.exchange import Check, Exchange, pause
from omega_ai.testkit.conformance.family import Family
from omega_ai.testkit.conformance.frames import BINARY, PING, TEXT, frame

FAMILY: Final = Family("framing", "messages in one frame", "RFC 6455 section 5.2")
LENGTHS: Final = Family("length", "the length field", "RFC 6455 section 5.2")
MASKING: Final = Family("mask", "masking", "RFC 6455 section 5.1")

SIZES: Final = (0, 1, 2, 64, 124, 125, 126, 127, 128, 129, 255, 256, 32_768, 65_534, 65_535, 65_536, 65_537)
_KINDS: Final = ((TEXT, "text"), (BINARY, "binary"))
_STEP_PAUSE: Final = 0.002
"""Seconds between pieces, so that they arrive as pieces."""


def _echo(opcode: int, size: int) -> Check:
    async def check(x: Exchange) -> None:
        payload = x.speech.payload(opcode, size)
        wire = await x.open()
        x.send(wire, opcode, payload)
        await x.answers(wire, [(opcode, payload)])
        await x.finish(wire)
        await x.nothing_more(wire)

    return check


def _pieces(opcode: int, size: int, piece: int) -> Check:
    async def check(x: Exchange) -> None:
        payload = x.speech.payload(opcode, size)
        wire = await x.open()
        data = frame(opcode, payload, mask=x.mask())
        for start in range(0, len(data), piece):
            wire.send(data[start : start + piece], text="a piece of a frame")
            await pause(_STEP_PAUSE)
        await x.answers(wire, [(opcode, payload)])
        await x.finish(wire)

    return check


async def _burst(x: Exchange) -> None:
    """All sizes on one connection, in one packet where that fits."""
    wire = await x.open()
    sent = []
    for size, opcode in itertools.product((*range(120, 131), 0, 1, 65_535, 65_536), (TEXT, BINARY)):
        try:
            sent.append((opcode, x.speech.payload(opcode, size)))
        except NotApplicable:
            continue
    wire.send(b"".join(frame(op, data, mask=x.mask()) for op, data in sent), text="many frames")
    await x.answers(wire, sent)
    await x.finish(wire)
    await x.nothing_more(wire)


for _opcode, _kind in _KINDS:
    for _size in SIZES:
        FAMILY.add(
            f"{_kind}-{_size}",
            f"A {_kind} message of {_size} bytes",
            _echo(_opcode, _size),
            expectation="It comes back as it was sent, and the connection is closed in order.",
            needs=[Need.ECHO],
            destructive=False,
        )
for _size, _piece in ((200, 1), (65_536, 997), (125, 1)):
    FAMILY.add(
        f"pieces-{_size}-by-{_piece}",
        f"A text of {_size} bytes in TCP segments of {_piece} bytes",
        _pieces(TEXT, _size, _piece),
        expectation="It comes back as it was sent: where segments end means nothing.",
        needs=[Need.ECHO],
        destructive=False,
    )
FAMILY.add(
    "burst",
    "Messages of all sizes, sent without waiting",
    _burst,
    expectation="All come back, in order.",
    needs=[Need.ECHO],
    destructive=False,
)


def _bad_length(opcode: int, size: int, wide: int, claimed: int | None = None) -> Check:
    async def check(x: Exchange) -> None:
        await x.bystander()
        wire = await x.open()
        payload = b"*" * size
        data = frame(opcode, payload, wide=wide, claimed=claimed, mask=x.mask())
        wire.send_frame(data)
        # The RFC says what a sender must write; a receiver that also understands other forms does no harm.
        short = claimed is None
        await x.fails(
            wire, (1002,) if short else (1002, 1009), whole=short, lenient=short, what="the wrong length"
        )

    return check


_LONG_FORMS: Final = (
    ("text-0-in-2", TEXT, 0, 2),
    ("text-1-in-2", TEXT, 1, 2),
    ("text-125-in-2", TEXT, 125, 2),
    ("text-0-in-8", TEXT, 0, 8),
    ("text-125-in-8", TEXT, 125, 8),
    ("text-126-in-8", TEXT, 126, 8),
    ("binary-65535-in-8", BINARY, 65_535, 8),
)
for _name, _opcode, _size, _wide in _LONG_FORMS:
    LENGTHS.add(
        f"not-shortest-{_name}",
        f"A length of {_size} written in {_wide} bytes",
        _bad_length(_opcode, _size, _wide),
        expectation="The connection should be failed with 1002: a sender must use the shortest form.",
    )
for _name, _claimed in (("2-63", 1 << 63), ("2-64-1", (1 << 64) - 1)):
    LENGTHS.add(
        f"sign-bit-{_name}",
        f"A length of {_claimed}, its highest bit set",
        _bad_length(BINARY, 0, 8, _claimed),
        expectation="The connection is failed, with 1002 (or 1009): the most significant bit must be 0.",
    )


async def _huge(x: Exchange) -> None:
    """A length that no memory holds, announced and never sent."""
    await x.bystander()
    wire = await x.open()
    wire.send_frame(frame(BINARY, b"*" * 100, wide=8, claimed=(1 << 63) - 1))
    if await wire.until(lambda: wire.over, 5 * 0.4):
        x.saw(x.ending(wire) or "")
        close = wire.reader.close
        if close is not None and close[0] not in (1009, 1002, 1008, 1011):
            x.wrong("close code", f"it closed with {close[0]} where 1009 is right (section 7.4.1)")
    else:
        x.should(
            "it waits for a message of 2^63-1 bytes; with a limit it would close with 1009 (section 10.4)"
        )
    x.examined += 1
    await x.unharmed()


LENGTHS.add(
    "2-63-1",
    "A length of 2^63-1, the greatest there is",
    _huge,
    expectation="Legal, so no protocol error; a server with a limit closes with 1009, and nobody is harmed.",
    spec="RFC 6455 sections 5.2 and 10.4",
)


def _unmasked(opcode: int, payload: bytes, *, fin: bool = True) -> Check:
    async def check(x: Exchange) -> None:
        await x.bystander()
        wire = await x.open()
        wire.send_frame(frame(opcode, payload, fin=fin, mask=None))
        await x.fails(wire, (1002,), what="the unmasked frame")
        if payload in wire.reader.pongs:
            x.wrong("accepted", "it answered an unmasked ping")

    return check


for _name, _opcode, _payload in (
    ("text", TEXT, b"Hello"),
    ("text-empty", TEXT, b""),
    ("binary", BINARY, b"\x00\xff"),
    ("ping", PING, b"unmasked"),
    ("continuation", 0, b"x"),
    ("long", TEXT, b"*" * 300),
):
    MASKING.add(
        f"unmasked-{_name}",
        f"An unmasked frame from a client: {_name}",
        _unmasked(_opcode, _payload),
        expectation="The connection is closed, with 1002: a client's frames must be masked.",
    )


async def _unmasked_close(x: Exchange) -> None:
    """The answer may be the same code: only that the connection ends can be seen."""
    await x.bystander()
    wire = await x.open()
    wire.send_frame(frame(8, b"\x03\xe8", mask=None))
    await wire.until(lambda: wire.over, x.patience)
    if not wire.over:
        x.wrong("accepted", "an unmasked close frame ended nothing")
    elif wire.reader.close is not None and wire.reader.close[0] == 1000:
        x.should("an unmasked close frame was answered as if it were right")
    x.examined += 1
    x.saw(x.ending(wire) or "open")
    await x.unharmed()


MASKING.add(
    "unmasked-close",
    "An unmasked close frame from a client",
    _unmasked_close,
    expectation="The connection is closed, with 1002.",
)


def _masks(mask: bytes) -> Check:
    async def check(x: Exchange) -> None:
        wire = await x.open()
        payload = x.speech.sized(200)
        wire.send_frame(frame(TEXT, payload, mask=mask))
        await x.answers(wire, [(TEXT, payload)])
        await x.finish(wire)

    return check


for _mask in (b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\x00\x00\x00\x01", b"\x80\x00\x00\x00"):
    MASKING.add(
        f"key-{_mask.hex()}",
        f"The masking key {_mask.hex()}",
        _masks(_mask),
        expectation="Any key is right; the text comes back.",
        spec="RFC 6455 section 5.3",
        needs=[Need.ECHO],
        destructive=False,
    )
