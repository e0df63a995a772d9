"""Pings and pongs, reserved bits, opcodes (RFC 6455 sections 5.2 and 5.5)."""

from __future__ import annotations

from typing import Final

from omega_ai.testkit.case import Need
from omega_ai.testkit.conformance.exchange import Check, Exchange, pause
from omega_ai.testkit.conformance.family import Family
from omega_ai.testkit.conformance.frames import BINARY, CLOSE, PING, PONG, TEXT, frame

PINGS: Final = Family("ping", "pings and pongs", "RFC 6455 section 5.5.2")
RESERVED: Final = Family("rsv", "reserved bits", "RFC 6455 section 5.2")
OPCODES: Final = Family("opcode", "reserved opcodes", "RFC 6455 section 5.2")

HELLO: Final = "Hello, world"


def _ping(payload: bytes) -> Check:
    async def check(x: Exchange) -> None:
        wire = await x.open()
        x.send(wire, PING, payload)
        await x.pong(wire, payload)
        await x.finish(wire)
        if len(wire.reader.pongs) > 1:
            x.wrong("unexpected", f"one ping was answered with {len(wire.reader.pongs)} pongs")

    return check


for _name, _payload in (
    ("empty", b""),
    ("text", b"Hello"),
    ("one-byte", b"\x00"),
    ("binary", bytes((0, 0xFF, 0xFE, 0xFD, 0xFC, 0xFB, 0, 0xFF))),
    ("124", b"\xfe" * 124),
    ("125", b"\xfe" * 125),
):
    PINGS.add(
        _name,
        f"A ping with {len(_payload)} bytes ({_name})",
        _ping(_payload),
        expectation="One pong with the same payload.",
        destructive=False,
    )


async def _in_pieces(x: Exchange) -> None:
    wire = await x.open()
    payload = b"\xfe" * 125
    for byte in frame(PING, payload, mask=x.mask()):
        wire.send(bytes((byte,)), text="a byte of a ping")
        await pause(0.001)
    await x.pong(wire, payload)
    await x.finish(wire)


PINGS.add(
    "in-pieces",
    "A ping of 125 bytes, one byte a TCP segment",
    _in_pieces,
    expectation="One pong with the same payload.",
    destructive=False,
)


def _unsolicited(payload: bytes, then: bool) -> Check:
    async def check(x: Exchange) -> None:
        wire = await x.open()
        x.send(wire, PONG, payload)
        if then:
            x.send(wire, PING, b"after the pong")
            await x.pong(wire, b"after the pong")
        else:
            await x.settled(wire)
        await x.finish(wire)
        if len(wire.reader.pongs) != 1:
            x.wrong("unexpected", f"one ping was answered with {len(wire.reader.pongs)} pongs")

    return check


for _name, _payload, _then in (
    ("pong-empty", b"", False),
    ("pong-payload", b"unsolicited", False),
    ("pong-then-ping", b"unsolicited", True),
):
    PINGS.add(
        _name,
        f"A pong that nothing asked for ({len(_payload)} bytes)",
        _unsolicited(_payload, _then),
        expectation="It is ignored; the connection goes on.",
        spec="RFC 6455 section 5.5.3",
        destructive=False,
    )


def _many(pieces: bool) -> Check:
    async def check(x: Exchange) -> None:
        wire = await x.open()
        payloads = [b"ping %d" % number for number in range(10)]
        for payload in payloads:
            data = frame(PING, payload, mask=x.mask())
            if pieces:
                for start in range(0, len(data), 3):
                    wire.send(data[start : start + 3], text="a piece of a ping")
                    await pause(0.001)
            else:
                wire.send_frame(data)
        await x.pong(wire, payloads[-1])
        pongs = [one for one in wire.reader.pongs if one in payloads]
        if pongs != sorted(pongs):
            x.wrong("reordered", "pongs came in another order than their pings")
        if len(pongs) < len(payloads):
            # Section 5.5.3: of several pings, only the newest needs an answer.
            x.may(f"of 10 pings, {len(pongs)} were answered; the last one is enough (section 5.5.3)")
        await x.finish(wire)

    return check


for _name, _flag in (("ten", False), ("ten-in-pieces", True)):
    PINGS.add(
        _name,
        "Ten pings, sent without waiting" + (", in pieces" if _flag else ""),
        _many(_flag),
        expectation="Pongs in the order of the pings, the last one answered in any case.",
        destructive=False,
    )


def _oversized(opcode: int) -> Check:
    async def check(x: Exchange) -> None:
        await x.bystander()
        wire = await x.open()
        payload = b"\xfe" * 126 if opcode != CLOSE else b"\x03\xe8" + b"*" * 124
        x.send(wire, opcode, payload)
        await x.fails(wire, (1002,), what="the control frame of 126 bytes")

    return check


def _fragmented(opcode: int, *, parts: int) -> Check:
    async def check(x: Exchange) -> None:
        await x.bystander()
        wire = await x.open()
        x.send(wire, opcode, b"\x03\xe8" if opcode == CLOSE else b"frag", fin=False)
        if parts > 1:
            x.send(wire, 0, b"ment")
        await x.fails(wire, (1002,), what="the fragmented control frame")
        if wire.reader.pongs and b"frag" in wire.reader.pongs[0]:
            x.wrong("accepted", "it answered a fragmented ping")

    return check


for _name, _opcode in (("ping", PING), ("pong", PONG), ("close", CLOSE)):
    PINGS.add(
        f"{_name}-126",
        f"A {_name} with a payload of 126 bytes",
        _oversized(_opcode),
        expectation="The connection is failed with 1002: a control frame has at most 125 bytes.",
        spec="RFC 6455 section 5.5",
    )
    for _parts in (1, 2):
        PINGS.add(
            f"{_name}-fragmented-{_parts}",
            f"A {_name} without its FIN bit" + (" and a continuation" if _parts > 1 else ""),
            _fragmented(_opcode, parts=_parts),
            expectation="The connection is failed with 1002: control frames are never fragmented.",
            spec="RFC 6455 section 5.5",
        )


# Reserved bits and opcodes: alone, after a message, in the same packet, in pieces.


def _bad_frame(opcode: int, rsv: int, payload: bytes, how: str) -> Check:
    async def check(x: Exchange) -> None:
        await x.bystander()
        wire = await x.open()
        bad = frame(opcode, payload, rsv=rsv, mask=x.mask())
        before: list[tuple[int, bytes]] = []
        if how == "alone":
            wire.send_frame(bad)
        else:
            text = x.speech.text(HELLO)
            before = [(TEXT, text)]
            first = frame(TEXT, text, mask=x.mask())
            ping = frame(PING, b"after", mask=x.mask())
            if how == "after-a-message":
                wire.send_frame(first)
                wire.send_frame(bad)
                wire.send_frame(ping)
            elif how == "in-one-packet":
                wire.send(first + bad + ping, text="text, the bad frame, ping")
            else:
                for byte in first + bad:
                    wire.send(bytes((byte,)), text="a byte")
                    await pause(0.001)
        await x.fails(wire, (1002,), before=before, what="the bad frame")
        if b"after" in wire.reader.pongs:
            x.wrong("accepted", "it answered a ping that came after the bad frame")

    return check


_HOW: Final = {
    "alone": "",
    "after-a-message": ", after a good one",
    "in-one-packet": ", in one packet with a good one",
    "in-pieces": ", after a good one, a byte at a time",
}
for _rsv in range(1, 8):
    for _name, _opcode, _payload, _hows in (
        ("text", TEXT, b"Hello", tuple(_HOW)),
        ("binary", BINARY, b"\x00\xff", ("alone",)),
        ("ping", PING, b"Hello", ("alone",)),
        ("close", CLOSE, b"\x03\xe8", ("alone",)),
    ):
        for _way in _hows:
            RESERVED.add(
                f"{_rsv:03b}-{_name}" + ("" if _way == "alone" else f"-{_way}"),
                f"A {_name} frame with reserved bits {_rsv:03b}{_HOW[_way]}",
                _bad_frame(_opcode, _rsv, _payload, _way),
                expectation="The connection is failed with 1002: no extension was agreed that uses the bits.",
            )
for _opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
    for _way in _HOW:
        for _name, _payload in (("empty", b""), ("payload", b"reserved")):
            if _way != "alone" and _name == "payload":
                continue
            OPCODES.add(
                f"{_opcode}-{_name}" + ("" if _way == "alone" else f"-{_way}"),
                f"A frame with the reserved opcode {_opcode:#x}, {_name}{_HOW[_way]}",
                _bad_frame(_opcode, 0, _payload, _way),
                expectation="The connection is failed with 1002: the opcode is reserved.",
            )


async def _pinging_while_talking(x: Exchange) -> None:
    wire = await x.open()
    sent = []
    for number in range(20):
        text = x.speech.text(f"message {number}")
        x.send(wire, PING, b"p%d" % number)
        x.send(wire, TEXT, text)
        sent.append((TEXT, text))
    await x.answers(wire, sent)
    await x.pong(wire, b"p19")
    await x.finish(wire)


PINGS.add(
    "between-messages",
    "Pings between messages",
    _pinging_while_talking,
    expectation="Every message comes back and the last ping is answered.",
    needs=[Need.ECHO],
    destructive=False,
)
