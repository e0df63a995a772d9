"""Large messages, many fragments, small segments, many messages (RFC 6455 sections 5.4 and 10.4)."""

from __future__ import annotations

from typing import Final

from omega_ai.testkit.case import Need
from omega_ai.testkit.conformance.exchange import Check, Exchange
from omega_ai.testkit.conformance.family import Family
from omega_ai.testkit.conformance.frames import BINARY, CONTINUATION, TEXT, frame

FAMILY: Final = Family("limit", "large messages and many", "RFC 6455 section 10.4")

PATIENCE: Final = 40.0
"""Seconds for the largest of messages."""
KIB: Final = 1 << 10
MIB: Final = 1 << 20
_KINDS: Final = ((TEXT, "text"), (BINARY, "binary"))


def _large(opcode: int, size: int) -> Check:
    async def check(x: Exchange) -> None:
        payload = x.speech.payload(opcode, size)
        wire = await x.open()
        x.send(wire, opcode, payload)
        await x.answers(wire, [(opcode, payload)], PATIENCE)
        await x.finish(wire)

    return check


def _fragmented(opcode: int, size: int, piece: int) -> Check:
    async def check(x: Exchange) -> None:
        payload = x.speech.payload(opcode, size)
        wire = await x.open()
        mask = x.mask()
        last = (size - 1) // piece
        frames = [
            frame(
                CONTINUATION if place else opcode,
                payload[place * piece : (place + 1) * piece],
                fin=place == last,
                mask=mask,
            )
            for place in range(last + 1)
        ]
        # Some frames a write: one by one, the cost of writing would be measured.
        step = max(1, 65_536 // piece)
        for start in range(0, len(frames), step):
            wire.send(
                b"".join(frames[start : start + step]), text=f"{len(frames[start : start + step])} fragments"
            )
            if wire.over or not await wire.drain(PATIENCE):
                break
        await x.answers(wire, [(opcode, payload)], PATIENCE)
        await x.finish(wire)

    return check


def _segments(opcode: int, size: int, piece: int) -> Check:
    async def check(x: Exchange) -> None:
        payload = x.speech.payload(opcode, size)
        wire = await x.open()
        data = frame(opcode, payload, mask=x.mask())
        for start in range(0, len(data), piece):
            wire.send(data[start : start + piece], text="a segment")
            if wire.over or not await wire.drain(PATIENCE):
                break
        await x.answers(wire, [(opcode, payload)], PATIENCE)
        await x.finish(wire)

    return check


def _round_trips(opcode: int, size: int, count: int) -> Check:
    async def check(x: Exchange) -> None:
        payload = x.speech.payload(opcode, size)
        wire = await x.open()
        begin = x.context.clock.monotonic()
        for _ in range(count):
            x.send(wire, opcode, payload)
            await x.answers(wire, [(opcode, payload)])
        x.figures["round_trip_ms"] = (x.context.clock.monotonic() - begin) / count * 1e3
        await x.finish(wire)

    return check


_EXPECTED: Final = "It comes back whole, or is refused with 1009, which tells of a limit."
for _opcode, _kind in _KINDS:
    for _size in (64 * KIB, 256 * KIB, MIB, 4 * MIB, 8 * MIB, 16 * MIB):
        FAMILY.add(
            f"{_kind}-{_size // KIB}k",
            f"A {_kind} message of {_size // KIB} KiB in one frame",
            _large(_opcode, _size),
            expectation=_EXPECTED,
            needs=[Need.ECHO],
        )
    for _piece in (64, 256, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB):
        FAMILY.add(
            f"{_kind}-4096k-by-{_piece}",
            f"A {_kind} message of 4 MiB in fragments of {_piece} bytes",
            _fragmented(_opcode, 4 * MIB, _piece),
            expectation=_EXPECTED,
            needs=[Need.ECHO],
        )
    for _piece in (64, 256, 1024, 2048):
        FAMILY.add(
            f"{_kind}-1024k-segments-{_piece}",
            f"A {_kind} message of 1 MiB in TCP segments of {_piece} bytes",
            _segments(_opcode, MIB, _piece),
            expectation=_EXPECTED,
            needs=[Need.ECHO],
        )
    for _size in (0, 16, 64, 256, 1024, 4096, 16_384):
        FAMILY.add(
            f"{_kind}-many-{_size}",
            f"200 {_kind} messages of {_size} bytes, one after another",
            _round_trips(_opcode, _size, 200),
            expectation="All come back, in order.",
            needs=[Need.ECHO],
            destructive=False,
        )


async def _automatic(x: Exchange) -> None:
    """A message of one large frame: how it is cut on its way back is the server's affair."""
    payload = x.speech.sized(65_536)
    wire = await x.open()
    for piece in (1300, 65_536):
        for start in range(0, len(payload), piece):
            end = start + piece
            x.send(wire, CONTINUATION if start else TEXT, payload[start:end], fin=end >= len(payload))
    await x.answers(wire, [(TEXT, payload)] * 2)
    await x.finish(wire)


FAMILY.add(
    "text-64k-by-1300",
    "A text of 64 KiB in fragments of 1300 bytes, and in one frame",
    _automatic,
    expectation="Both come back whole.",
    spec="RFC 6455 section 5.4",
    needs=[Need.ECHO],
    destructive=False,
)


async def _endless(x: Exchange) -> None:
    """A message that never ends: somewhere there should be a limit."""
    await x.bystander()
    wire = await x.open()
    part = frame(CONTINUATION, b"*" * 65_536, fin=False, mask=x.mask())
    x.send(wire, BINARY, b"*", fin=False)
    for _ in range(64 * MIB // 65_536):
        wire.send(part, text="64 KiB more")
        if wire.over or not await wire.drain(x.patience):
            break
    await x.settled(wire)
    x.examined += 1
    close = wire.reader.close
    if not wire.over:
        x.may("64 MiB of one message are taken; a limit would be safer (section 10.4)")
    elif close is not None and close[0] not in (1009, 1008, 1003):
        x.wrong("close code", f"it closed with {close[0]} where 1009 is right (section 7.4.1)")
    elif close is None:
        x.should("it cut the connection without a close frame that says why")
    x.saw(x.ending(wire) or "64 MiB taken")
    await x.unharmed()


FAMILY.add(
    "endless",
    "64 MiB of a message that does not end",
    _endless,
    expectation="A server with a limit closes with 1009; nobody else is harmed.",
)
