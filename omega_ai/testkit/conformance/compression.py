"""permessage-deflate: messages of many kinds, and what breaks the agreement (RFC 7692)."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from typing import Final

from omega_ai.testkit.case import Need, NotApplicable
from omega_ai.testkit.conformance.deflating import NAME, TAIL, Packer, open_deflated
from omega_ai.testkit.conformance.exchange import Check, Exchange
from omega_ai.testkit.conformance.family import Family
from omega_ai.testkit.conformance.fragmentation import cut
from omega_ai.testkit.conformance.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    RSV1,
    TEXT,
    close_body,
)

PACKED: Final = Family("deflate", "compressed messages", "RFC 7692 section 7.2")

# Right messages.

Maker = Callable[[Exchange, int], tuple[int, bytes]]
SIZES: Final = (0, 1, 16, 64, 256, 1024, 4096, 8192, 16_384, 32_768, 65_536, 131_072)
ROUNDS: Final = 2


def _json_like(x: Exchange, size: int) -> tuple[int, bytes]:
    rows = '{"symbol":"BTC-USD","price":61800.01,"volume":1234.5},'
    return TEXT, x.speech.sized(size, rows.replace('"', "'") if not x.speech.identical else rows)


def _letters(x: Exchange, size: int) -> tuple[int, bytes]:
    text = "".join(x.rng.choices("abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=min(size, 4096)))
    return TEXT, x.speech.sized(size, text or "*")


def _noise(x: Exchange, size: int) -> tuple[int, bytes]:
    x.speech.payload(BINARY, 0)
    return BINARY, x.rng.randbytes(size)


def _zeros(x: Exchange, size: int) -> tuple[int, bytes]:
    x.speech.payload(BINARY, 0)
    return BINARY, bytes(size)


_MAKERS: Final[tuple[tuple[str, Maker], ...]] = (
    ("json", _json_like),
    ("letters", _letters),
    ("noise", _noise),
    ("zeros", _zeros),
)
_AGREEMENTS: Final = (
    ("plain", NAME),
    ("client-bits", f"{NAME}; client_max_window_bits"),
    ("no-takeover", f"{NAME}; server_no_context_takeover; client_no_context_takeover"),
    ("server-no-takeover", f"{NAME}; server_no_context_takeover"),
    ("client-no-takeover", f"{NAME}; client_no_context_takeover"),
    ("bits-9", f"{NAME}; server_max_window_bits=9; client_max_window_bits=9"),
    ("bits-15", f"{NAME}; server_max_window_bits=15; client_max_window_bits=15"),
    (
        "bits-9-no-takeover",
        f"{NAME}; server_no_context_takeover; client_no_context_takeover; "
        "server_max_window_bits=9; client_max_window_bits=9",
    ),
)


def _messages(offer: str, make: Maker, parts: int) -> Check:
    async def check(x: Exchange) -> None:
        wire, agreed = await open_deflated(x, offer)
        packer = Packer(agreed)
        for _ in range(ROUNDS):
            for size in SIZES:
                try:
                    opcode, payload = make(x, size)
                except NotApplicable:
                    if size > 1024 or make in (_noise, _zeros):
                        raise
                    continue
                if packer.can_send:
                    packed = cut(packer.pack(payload), parts)
                    for place, part in enumerate(packed):
                        last = place == parts - 1
                        x.send(
                            wire, CONTINUATION if place else opcode, part, fin=last, rsv=0 if place else RSV1
                        )
                else:
                    x.send(wire, opcode, payload)
                await x.answers(wire, [(opcode, payload)])
        await x.finish(wire)
        await x.nothing_more(wire)
        if not any(one.compressed for one in wire.reader.messages):
            x.may("it never compresses what it sends, as it may (section 6)")

    return check


for _name, _line in _AGREEMENTS:
    for _kind, _make in _MAKERS:
        for _parts in (1, 7):
            PACKED.add(
                f"{_name}-{_kind}" + ("" if _parts == 1 else "-fragments"),
                f"Messages ({_kind}) of {SIZES[0]} to {SIZES[-1]} bytes"
                + ("" if _parts == 1 else ", in fragments")
                + f", agreed: {_name}",
                _messages(_line, _make, _parts),
                expectation="All come back, compressed within the window and the contexts agreed on.",
                needs=[Need.ECHO],
                destructive=False,
            )  # fmt: skip


def _window(offer: str) -> Check:
    """Data that repeats itself at every distance, so that a window too large shows in the answer."""

    async def check(x: Exchange) -> None:
        wire, agreed = await open_deflated(x, offer)
        packer = Packer(agreed)
        rng = random.Random(7)
        block = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=1 << agreed.server_bits))
        for text in (block + block, block, block[::-1] + block):
            payload = x.speech.text(text)
            x.send(wire, TEXT, packer.pack(payload) if packer.can_send else payload,
                   rsv=RSV1 if packer.can_send else 0)  # fmt: skip
            await x.answers(wire, [(TEXT, payload)])
        await x.finish(wire)

    return check


for _bits in range(8, 16):
    PACKED.add(
        f"window-{_bits}",
        f"Texts that repeat themselves beyond a server's window of {1 << _bits} bytes",
        _window(f"{NAME}; server_max_window_bits={_bits}"),
        expectation="The answers need no larger window than that.",
        spec="RFC 7692 section 7.1.2.1",
        needs=[Need.ECHO],
        destructive=False,
    )


def _raw(make: Callable[[bytes], bytes]) -> Check:
    """A message compressed in an unusual but right way."""

    async def check(x: Exchange) -> None:
        wire, _ = await open_deflated(x, f"{NAME}; client_no_context_takeover")
        payload = x.speech.text("unusual but right " * 20)
        for _ in range(2):
            x.send(wire, TEXT, make(payload), rsv=RSV1)
            await x.answers(wire, [(TEXT, payload)])
        await x.finish(wire)

    return check


def _deflate(data: bytes, level: int = 6, end: int = zlib.Z_SYNC_FLUSH, strategy: int = 0) -> bytes:
    deflater = zlib.compressobj(level, zlib.DEFLATED, -15, 8, strategy)
    return (deflater.compress(data) + deflater.flush(end)).removesuffix(TAIL)


def _two_blocks(data: bytes) -> bytes:
    deflater = zlib.compressobj(6, zlib.DEFLATED, -15)
    half = len(data) // 2
    first = deflater.compress(data[:half]) + deflater.flush(zlib.Z_SYNC_FLUSH)
    return (first + deflater.compress(data[half:]) + deflater.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


for _name, _title, _how in (
    ("stored-block", "in a block that is not compressed (section 7.2.3.3)", lambda d: _deflate(d, level=0)),
    ("final-block", "with BFINAL set (section 7.2.3.4)", lambda d: _deflate(d, end=zlib.Z_FINISH) + b"\x00"),
    ("two-blocks", "in two blocks (section 7.2.3.5)", _two_blocks),
    ("fixed-codes", "with fixed Huffman codes", lambda d: _deflate(d, strategy=zlib.Z_FIXED)),
    ("huffman-only", "with Huffman codes alone", lambda d: _deflate(d, strategy=zlib.Z_HUFFMAN_ONLY)),
    ("full-flush", "ended by a full flush", lambda d: _deflate(d, end=zlib.Z_FULL_FLUSH)),
):
    PACKED.add(
        f"form-{_name}",
        f"A text compressed {_title}",
        _raw(_how),
        expectation="It comes back: every DEFLATE stream is right.",
        spec="RFC 7692 section 7.2.3",
        needs=[Need.ECHO],
        destructive=False,
    )


async def _plain_between(x: Exchange) -> None:
    wire, agreed = await open_deflated(x)
    packer = Packer(agreed)
    sent = []
    for number in range(8):
        payload = x.speech.text(f"number {number} " * 30)
        packed = number % 2 == 0
        x.send(wire, TEXT, packer.pack(payload) if packed else payload, rsv=RSV1 if packed else 0)
        sent.append((TEXT, payload))
    await x.answers(wire, sent)
    await x.finish(wire)


PACKED.add(
    "plain-between",
    "Messages that are not compressed between those that are",
    _plain_between,
    expectation="All come back: each message says by RSV1 whether it is compressed.",
    spec="RFC 7692 section 6",
    needs=[Need.ECHO],
    destructive=False,
)


async def _cut_everywhere(x: Exchange) -> None:
    wire, agreed = await open_deflated(x)
    packer = Packer(agreed)
    for pings in (False, True):
        payload = x.speech.text("κόσμε, cut at every byte 🚀" * 3)
        packed = packer.pack(payload)
        for place, byte in enumerate(packed):
            x.send(wire, CONTINUATION if place else TEXT, bytes((byte,)), fin=False, rsv=0 if place else RSV1)
            if pings:
                x.send(wire, PING, b"%d" % place)
        x.send(wire, CONTINUATION)
        await x.answers(wire, [(TEXT, payload)])
    await x.finish(wire)


PACKED.add(
    "cut-everywhere",
    "A compressed text, every byte a fragment, with pings between them",
    _cut_everywhere,
    expectation="It comes back whole.",
    needs=[Need.ECHO],
    destructive=False,
)


async def _takeover(x: Exchange) -> None:
    """Messages that only a shared context can read."""
    wire, agreed = await open_deflated(x)
    if not agreed.client_takeover:
        raise NotApplicable("it wants no context kept between messages")
    packer = Packer(agreed, level=9)
    block = "".join(x.rng.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=(1 << agreed.client_bits) - 1200))
    for number in range(6):
        payload = x.speech.text(block if number % 2 == 0 else block[:200])
        x.send(wire, TEXT, packer.pack(payload), rsv=RSV1)
        await x.answers(wire, [(TEXT, payload)])
    await x.finish(wire)


PACKED.add(
    "takeover",
    "Messages that refer back to those before, as far as the window reaches",
    _takeover,
    expectation="All come back: the server keeps the context that it agreed to keep.",
    spec="RFC 7692 section 7.1.1.2",
    needs=[Need.ECHO],
    destructive=False,
)

# Wrong ones.


def _bad(
    *frames: tuple[int, bytes, bool, int], codes: tuple[int, ...] = (1002,), lenient: bool = False
) -> Check:
    async def check(x: Exchange) -> None:
        await x.bystander()
        wire, _ = await open_deflated(x, f"{NAME}; client_no_context_takeover")
        for opcode, payload, fin, rsv in frames:
            x.send(wire, opcode, payload, fin=fin, rsv=rsv)
        await x.fails(wire, codes, what="the misuse of compression", lenient=lenient)

    return check


_P: Final = _deflate(b"Hello, Hello, Hello")
_HALF: Final = len(_P) // 2
_FAR: Final = zlib.compressobj(
    9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, b"a dictionary that nobody has"
)
_DANGLING: Final = (
    _FAR.compress(b"a dictionary that nobody has") + _FAR.flush(zlib.Z_SYNC_FLUSH)
).removesuffix(TAIL)
_DATA_CODES: Final = (1002, 1003, 1007)
for _name, _title, _check, _expect in (
    ("bad-data", "DEFLATE data that is none",
     _bad((TEXT, b"\xff" * 40, True, RSV1), codes=_DATA_CODES), "1007"),
    ("bad-block-type", "A block of the reserved type",
     _bad((BINARY, b"\x07\x00", True, RSV1), codes=_DATA_CODES),
     "1007"),
    ("bad-stored-length", "A stored block whose lengths disagree",
     _bad((BINARY, b"\x00\x05\x00\x00\x00abcde", True, RSV1), codes=_DATA_CODES), "1007"),
    ("bad-distance", "A distance beyond the beginning",
     _bad((TEXT, _DANGLING, True, RSV1), codes=_DATA_CODES),
     "1007"),
    ("bad-fragment", "Bad data in the second of two fragments",
     _bad((TEXT, _P[:_HALF], False, RSV1), (CONTINUATION, b"\xff" * 40, True, 0), codes=_DATA_CODES), "1007"),
    ("bad-utf8", "Compressed text that is not UTF-8",
     _bad((TEXT, _deflate(b"text \xed\xa0\x80 text"), True, RSV1), codes=(1007,)), "1007"),
    ("bad-utf8-end", "Compressed text that ends inside of a character",
     _bad((TEXT, _deflate(b"text \xe2\x82"), True, RSV1), codes=(1007,)), "1007"),
    ("rsv1-continuation", "RSV1 on a continuation",
     _bad((TEXT, _P[:_HALF], False, RSV1), (CONTINUATION, _P[_HALF:], True, RSV1)), "1002"),
    ("rsv1-continuation-plain", "RSV1 on the continuation of a plain message",
     _bad((TEXT, b"plain", False, 0), (CONTINUATION, _P, True, RSV1)), "1002"),
    ("rsv1-ping", "RSV1 on a ping", _bad((PING, b"x", True, RSV1)), "1002"),
    ("rsv1-pong", "RSV1 on a pong", _bad((PONG, b"x", True, RSV1)), "1002"),
    ("rsv1-close", "RSV1 on a close frame", _bad((CLOSE, close_body(1000), True, RSV1)), "1002"),
    ("rsv2", "RSV2 beside RSV1", _bad((TEXT, _P, True, RSV1 | 2)), "1002"),
    ("rsv3", "RSV3 on a plain message", _bad((TEXT, b"plain", True, 1)), "1002"),
):  # fmt: skip
    PACKED.add(
        _name,
        _title,
        _check,
        expectation=f"The connection is failed with {_expect}, and nothing of it is delivered.",
        spec="RFC 7692 sections 6 and 7.2.2",
    )


async def _forgotten(x: Exchange) -> None:
    """A reference to a message before, though it was agreed that none is kept."""
    await x.bystander()
    wire, agreed = await open_deflated(x, f"{NAME}; client_no_context_takeover")
    if agreed.client_takeover:
        raise NotApplicable("it keeps the client's context, as it may")
    block = bytes(x.rng.choices(b"abcdefghijklmnopqrstuvwxyz", k=500))
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    for _ in range(2):
        packed = (deflater.compress(block) + deflater.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)
        x.send(wire, TEXT, packed, rsv=RSV1)
    # A server that keeps more context than it has to understands this; nothing forbids that.
    await x.fails(
        wire, _DATA_CODES, before=[(TEXT, block)], what="the reference to a forgotten context", lenient=True
    )


PACKED.add(
    "forgotten-context",
    "A message that refers to the one before, where client_no_context_takeover was agreed",
    _forgotten,
    expectation="The connection should be failed with 1007: the context is gone.",
    spec="RFC 7692 section 7.1.1.2",
)


async def _bomb(x: Exchange) -> None:
    """16 MiB out of 16 KiB."""
    await x.bystander()
    wire, _ = await open_deflated(x, f"{NAME}; client_no_context_takeover")
    size = 16 << 20
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = (deflater.compress(b"\x20" * size) + deflater.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)
    x.send(wire, TEXT, packed, rsv=RSV1)
    await wire.until(lambda: wire.over or wire.reader.messages, 3 * x.patience)
    x.examined += 1
    close = wire.reader.close
    if close is not None and close[0] != 1009:
        x.wrong("close code", f"it closed with {close[0]} where 1009 is right (section 7.4.1)")
    elif wire.reader.messages:
        x.may(f"{len(packed)} bytes were inflated to {size}; a limit would be safer")
    elif close is None:
        x.should(f"no answer and no close frame: {x.ending(wire) or 'the connection is open'}")
    x.saw(x.ending(wire) or "taken")
    await x.unharmed()


PACKED.add(
    "bomb",
    "16 KiB that inflate to 16 MiB",
    _bomb,
    expectation="It is taken, or refused with 1009; nobody else is harmed.",
    spec="RFC 7692 section 8; RFC 6455 section 10.4",
)


async def _not_agreed(x: Exchange) -> None:
    await x.bystander()
    wire = await x.open()
    x.send(wire, TEXT, _P, rsv=RSV1)
    await x.fails(wire, (1002,), what="the compressed message")


PACKED.add(
    "not-agreed",
    "A compressed message where nothing was agreed",
    _not_agreed,
    expectation="The connection is failed with 1002.",
    spec="RFC 7692 section 6; RFC 6455 section 5.2",
)
