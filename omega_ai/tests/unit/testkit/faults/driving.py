"""Drives faults in virtual time, as a simulation does: what goes in when, and what comes out when."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from omega_ai.core.websocket.frames import BINARY, TEXT, build_frame
from omega_ai.testkit.faults import build
from omega_ai.testkit.faults.chain import Chain, Faults
from omega_ai.testkit.faults.frame import Frame, FrameParser
from omega_ai.testkit.faults.model import Item, Signal, Stream, Toxic, place

REQUEST = (
    b"GET /feed HTTP/1.1\r\nHost: example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
ANSWER = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
NEVER = 1e6

Timed = tuple[float, Item]


def toxic(kind: str, stream: Stream = "downstream", **attributes: object) -> Toxic:
    return place(build(kind, attributes), stream=stream)


def chain_of(*toxics: Toxic, seed: int = 1, connection: int = 0, stream: Stream = "downstream") -> Chain:
    faults = Faults(seed=seed)
    for each in toxics:
        faults.add(each)
    return faults.circuit(connection, 0.0).chain(stream)


def drive(chain: Chain, sent: Iterable[Timed], *, until: float = NEVER) -> list[Timed]:
    """Feed what was ``sent`` at its times, wake the chain when it wants, and note what it gives."""
    out: list[Timed] = []
    now = 0.0

    def wake(limit: float) -> None:
        nonlocal now
        while (at := chain.next_wake()) is not None and at <= limit:
            now = max(now, at)
            out.extend((now, item) for item in chain.tick(now))

    for at, item in sent:
        wake(at)
        now = max(now, at)
        given = chain.finish(item, now) if isinstance(item, Signal) else chain.feed(item, now)
        out.extend((now, each) for each in given)
    wake(until)
    return out


def data_of(out: Sequence[Timed]) -> bytes:
    return b"".join(item for _, item in out if not isinstance(item, Signal))


def signals_of(out: Sequence[Timed]) -> list[Signal]:
    return [item for _, item in out if isinstance(item, Signal)]


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """``data`` in pieces, cut at ``places`` (any numbers)."""
    edges = [0, *sorted({place % len(data) for place in places} - {0}), len(data)] if data else [0]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def frames_of(data: bytes, stream: Stream = "downstream") -> list[bytes]:
    """The frames behind the handshake in ``data``, as they stand there."""
    parser = FrameParser(stream, fresh=True)
    return [piece.raw for piece in parser.feed(data) if isinstance(piece, Frame)]


def texts(count: int, stream: Stream = "downstream", size: int = 0) -> list[bytes]:
    """Numbered text frames, masked if the client sends them."""
    return [
        build_frame(
            TEXT if number % 3 else BINARY,
            f"message {number} ".encode().ljust(size, b"."),
            mask=bytes((number, 7, 99, 250)) if stream == "upstream" else None,
        )
        for number in range(count)
    ]
