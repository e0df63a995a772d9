"""Messages in several frames, and what may and may not stand between them (RFC 6455 section 5.4)."""

from __future__ import annotations

import itertools
from typing import Final

from omega_ai.testkit.case import Need
from omega_ai.testkit.conformance.exchange import Check, Exchange, pause
from omega_ai.testkit.conformance.family import Family
from omega_ai.testkit.conformance.frames import BINARY, CONTINUATION, PING, TEXT, frame

FAMILY: Final = Family("fragment", "fragmentation", "RFC 6455 section 5.4")

_KINDS: Final = ((TEXT, "text"), (BINARY, "binary"))


def cut(payload: bytes, parts: int) -> list[bytes]:
    """``payload`` in so many parts of about the same size; some may be empty."""
    bounds = [len(payload) * n // parts for n in range(parts + 1)]
    return [payload[a:b] for a, b in itertools.pairwise(bounds)]


def _good(opcode: int, size: int, parts: int, *, pings: bool = False, pieces: bool = False) -> Check:
    async def check(x: Exchange) -> None:
        payload = x.speech.payload(opcode, size)
        wire = await x.open()
        pinged = []
        for place, part in enumerate(cut(payload, parts)):
            data = frame(CONTINUATION if place else opcode, part, fin=place == parts - 1, mask=x.mask())
            if pieces:
                for start in range(0, len(data), 5):
                    wire.send(data[start : start + 5], text="a piece of a fragment")
                    await pause(0.001)
            else:
                wire.send_frame(data)
            if pings and place < parts - 1:
                pinged.append(b"ping %d" % place)
                x.send(wire, PING, pinged[-1])
        if pings:
            await x.pong(wire, pinged[-1])
        await x.answers(wire, [(opcode, payload)])
        await x.finish(wire)
        await x.nothing_more(wire)

    return check


for _opcode, _kind in _KINDS:
    for _size, _parts in ((300, 2), (300, 3), (300, 300), (70_000, 2), (70_000, 70)):
        for _pings in (False, True):
            if _pings and _parts > 100:
                continue
            FAMILY.add(
                f"{_kind}-{_size}-in-{_parts}" + ("-pings" if _pings else ""),
                f"A {_kind} message of {_size} bytes in {_parts} fragments"
                + (", pings between them" if _pings else ""),
                _good(_opcode, _size, _parts, pings=_pings),
                expectation="The message comes back whole; pings are answered without waiting for its end.",
                needs=[Need.ECHO],
                destructive=False,
            )
FAMILY.add(
    "pieces",
    "A fragmented text with pings, in TCP segments of five bytes",
    _good(TEXT, 300, 4, pings=True, pieces=True),
    expectation="The message comes back whole.",
    needs=[Need.ECHO],
    destructive=False,
)


async def _pong_at_once(x: Exchange) -> None:
    """The pong must not wait for the message's end, for which the ping waits here."""
    payload = x.speech.sized(200)
    wire = await x.open()
    x.send(wire, TEXT, payload[:100], fin=False)
    x.send(wire, PING, b"now")
    await x.pong(wire, b"now")
    x.send(wire, CONTINUATION, payload[100:])
    await x.answers(wire, [(TEXT, payload)])
    await x.finish(wire)


FAMILY.add(
    "pong-at-once",
    "A ping in the middle of a message whose end waits for the pong",
    _pong_at_once,
    expectation="The pong comes before the message is complete.",
    needs=[Need.ECHO],
    destructive=False,
)


def _empty_parts(opcode: int, shape: tuple[int, ...]) -> Check:
    """``shape``: bytes of each fragment but the last, which takes the rest."""

    async def check(x: Exchange) -> None:
        payload = x.speech.payload(opcode, 200)
        parts, start = [], 0
        for size in shape:
            parts.append(payload[start : start + size])
            start += size
        parts.append(payload[start:])
        if shape[-1:] == (200,):
            parts[-1] = b""
        wire = await x.open()
        for place, part in enumerate(parts):
            x.send(wire, CONTINUATION if place else opcode, part, fin=place == len(parts) - 1)
        await x.answers(wire, [(opcode, payload)])
        await x.finish(wire)

    return check


for _name, _shape in (("first", (0,)), ("middle", (100, 0)), ("last", (200,)), ("many", (0, 0, 100, 0, 0))):
    FAMILY.add(
        f"empty-{_name}",
        f"Fragments without payload: {_name}",
        _empty_parts(TEXT, _shape),
        expectation="The message comes back whole: a fragment may be empty.",
        needs=[Need.ECHO],
        destructive=False,
    )


async def _all_empty(x: Exchange) -> None:
    payload = x.speech.payload(BINARY, 0)
    wire = await x.open()
    for place in range(3):
        x.send(wire, BINARY if place == 0 else CONTINUATION, fin=place == 2)
    await x.answers(wire, [(BINARY, payload)])
    await x.finish(wire)


FAMILY.add(
    "all-empty",
    "A message of three empty fragments",
    _all_empty,
    expectation="One empty message comes back.",
    needs=[Need.ECHO],
    destructive=False,
)


async def _several(x: Exchange) -> None:
    wire = await x.open()
    sent = []
    for number in range(12):
        payload = x.speech.sized(150 + number)
        for place, part in enumerate(cut(payload, 1 + number % 4)):
            last = place == number % 4
            x.send(wire, CONTINUATION if place else TEXT, part, fin=last)
        sent.append((TEXT, payload))
    await x.answers(wire, sent)
    await x.finish(wire)
    await x.nothing_more(wire)


FAMILY.add(
    "several",
    "Twelve messages of one to four fragments, one after another",
    _several,
    expectation="All come back, in order.",
    needs=[Need.ECHO],
    destructive=False,
)

# Wrong sequences: (opcode, payload, fin); None stands for a whole good message before.
_T, _B, _C, _P = TEXT, BINARY, CONTINUATION, PING
Step = tuple[int, bytes, bool]
_WRONG: Final[tuple[tuple[str, str, bool, tuple[Step, ...]], ...]] = (
    ("lone-continuation", "A continuation without a message", False, ((_C, b"lone", True),)),
    ("lone-continuation-open", "A continuation without a message, FIN clear", False, ((_C, b"lone", False),)),
    ("lone-continuation-empty", "An empty continuation without a message", False, ((_C, b"", True),)),
    ("continuation-after-message", "A continuation after a whole message", True, ((_C, b"late", True),)),
    ("continuation-after-message-open", "The same, FIN clear", True, ((_C, b"late", False),)),
    (
        "continuation-after-end",
        "A continuation after a fragmented message has ended",
        False,
        ((_T, b"one", False), (_C, b"two", True), (_C, b"three", True)),
    ),
    (
        "text-inside-text",
        "A text inside of a fragmented text",
        False,
        ((_T, b"one", False), (_T, b"two", True)),
    ),
    (
        "text-inside-text-open",
        "Two fragmented texts, one inside of the other",
        False,
        ((_T, b"one", False), (_T, b"two", False), (_C, b"three", True)),
    ),
    (
        "binary-inside-text",
        "A binary message inside of a fragmented text",
        False,
        ((_T, b"one", False), (_B, b"two", True)),
    ),
    (
        "text-inside-binary",
        "A text inside of a fragmented binary message",
        False,
        ((_B, b"one", False), (_T, b"two", True)),
    ),
    (
        "text-inside-after-ping",
        "A text inside of a fragmented text, after a ping that may be there",
        False,
        ((_T, b"one", False), (_P, b"between", True), (_T, b"two", True)),
    ),
    (
        "text-after-continuation",
        "A new text after a continuation that was not the last",
        False,
        ((_T, b"one", False), (_C, b"two", False), (_T, b"three", True)),
    ),
    (
        "empty-text-inside",
        "An empty text inside of a fragmented text",
        False,
        ((_T, b"one", False), (_T, b"", True)),
    ),
)


def _wrong(steps: tuple[Step, ...], after_message: bool, pieces: bool) -> Check:
    async def check(x: Exchange) -> None:
        await x.bystander()
        wire = await x.open()
        before = []
        if after_message:
            before = [(TEXT, x.speech.text("before"))]
            x.send(wire, *before[0])
        else:
            first = next((n for n, step in enumerate(steps) if step[0] == _C and step[2]), None)
            if first == 1 and steps[0][0] == _T:
                before = [(TEXT, b"onetwo")]
        data = b"".join(frame(op, body, fin=fin, mask=x.mask()) for op, body, fin in steps)
        for start in range(0, len(data), 1 if pieces else len(data)):
            wire.send(data[start : start + (1 if pieces else len(data))], text="the wrong sequence")
            await pause(0.001 if pieces else 0)
        await x.fails(wire, (1002,), before=before, what="the wrong sequence")

    return check


for _name, _title, _after, _steps in _WRONG:
    for _flag in (False, True):
        FAMILY.add(
            _name + ("-pieces" if _flag else ""),
            _title + (", a byte at a time" if _flag else ""),
            _wrong(_steps, _after, _flag),
            expectation="The connection is failed with 1002; nothing of the wrong sequence is delivered.",
        )
