"""What each client sent and saw, in order, append-only: what every verdict is drawn from.

Times are nanoseconds of monotonic time (``Clock.monotonic``), the same clock for all clients of a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from omega_ai.core.websocket.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT
from omega_ai.testkit.result import FaultWindow, WireLine
from omega_ai.testkit.stamp import MARK

RETAINED_BYTES: Final = 256 << 20
"""Bytes of payload that one client's history keeps; what comes later is counted, and leaves verdicts open."""
EXCERPT: Final = 160
"""Characters of a payload that a wire line shows."""

RECOVERED: Final = "recovered"
NOT_RECOVERED: Final = "not recovered"
"""Text of the event SUBSCRIBED, if the server said so."""

_KINDS: Final = {
    CONTINUATION: "continuation",
    TEXT: "text",
    BINARY: "binary",
    CLOSE: "close",
    PING: "ping",
    PONG: "pong",
}


class Sent(NamedTuple):
    """A message or control frame given to the transport at ``at_ns``, meant to go at ``intended_ns``."""

    at_ns: int
    intended_ns: int
    life: int
    """Which of the client's connections: 0, 1, 2 ..."""
    opcode: int
    data: bytes
    number: int | None = None
    """The stamp's number, if the payload is stamped."""
    published: bool = False
    """Others are to see it; else its sender alone."""


class Received(NamedTuple):
    """A message or control frame as it came."""

    at_ns: int
    utc_ns: int
    life: int
    opcode: int
    data: bytes


class Happening(StrEnum):
    """What can happen to a connection."""

    OPEN = "open"
    SUBSCRIBED = "subscribed"
    """From here on, the client is to see what is published."""
    UNSUBSCRIBED = "unsubscribed"
    REFUSED = "refused"
    CLOSE_SENT = "close sent"
    CLOSE_RECEIVED = "close received"
    VIOLATION = "protocol violation"
    END = "end"
    """The TCP connection is over."""
    NOTE = "note"


class Event(NamedTuple):
    """Something that happened to a connection. ``code`` is a close code."""

    at_ns: int
    life: int
    kind: Happening
    text: str = ""
    code: int | None = None
    by_us: bool = False
    """We caused it on purpose."""


@dataclass(slots=True)
class ClientHistory:
    """What one client did and saw, over all its connections."""

    name: str
    number: int
    """Its number in stamps."""
    listens: bool = True
    """It is to see what others publish."""
    sent: list[Sent] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    retained: int = 0
    overflowed: int = 0
    """Messages that were not kept, because RETAINED_BYTES were full."""

    def receive(self, item: Received) -> bool:
        """Append; False if there was no room and it was only counted."""
        self.retained += len(item.data)
        if self.retained > RETAINED_BYTES:
            self.overflowed += 1
            return False
        self.received.append(item)
        return True


@dataclass(slots=True)
class History:
    """All clients of one case or run."""

    run: str
    """In every stamp: RUN_LENGTH letters and digits."""
    start_ns: int
    clients: dict[str, ClientHistory] = field(default_factory=dict)
    faults: list[FaultWindow] = field(default_factory=list)

    def client(self, name: str, *, listens: bool = True) -> ClientHistory:
        """The history of the client ``name``, a new one if there is none."""
        found = self.clients.get(name)
        if found is None:
            found = self.clients[name] = ClientHistory(name, len(self.clients), listens)
        return found

    def by_number(self, number: int) -> ClientHistory | None:
        """The client whose stamps say ``number``."""
        return next((client for client in self.clients.values() if client.number == number), None)

    @property
    def messages(self) -> int:
        """Data messages that were received by all clients together."""
        return sum(
            item.opcode in (TEXT, BINARY) for client in self.clients.values() for item in client.received
        )

    def arrived(self, *, stamped: bool) -> int:
        """As ``messages``; ``stamped``: without those that carry no stamp."""
        if not stamped:
            return self.messages
        return sum(MARK in item.data for client in self.clients.values() for item in client.received)

    def wire(self, *, limit: int = 200, clients: Iterable[str] | None = None) -> tuple[WireLine, ...]:
        """The wire log in order of time; of a longer one, the beginning and the end."""
        names = list(self.clients) if clients is None else [n for n in clients if n in self.clients]
        lines = sorted(
            (line for name in names for line in _lines(self.clients[name], self.start_ns)),
            key=lambda line: line.at_ns,
        )
        if len(lines) <= limit:
            return tuple(lines)
        head, tail = lines[: limit // 2], lines[len(lines) - limit // 2 :]
        cut = WireLine(
            at_ns=head[-1].at_ns,
            client="",
            direction="event",
            kind="note",
            data=f"{len(lines) - len(head) - len(tail)} lines are left out here",
        )
        return (*head, cut, *tail)


def _lines(client: ClientHistory, start_ns: int) -> Iterator[WireLine]:
    for sent in client.sent:
        yield wire_line(client.name, "sent", sent.at_ns - start_ns, sent.opcode, sent.data)
    for received in client.received:
        yield received_line(client.name, received, start_ns)
    for event in client.events:
        text = event.text if event.code is None else f"{event.code} {event.text}".rstrip()
        yield WireLine(
            at_ns=event.at_ns - start_ns,
            client=client.name,
            direction="event",
            kind=event.kind.value,
            data=text[: 2 * EXCERPT],
        )


def received_line(client: str, item: Received, start_ns: int) -> WireLine:
    """A received frame as evidence."""
    return wire_line(client, "received", item.at_ns - start_ns, item.opcode, item.data)


def wire_line(client: str, direction: str, at_ns: int, opcode: int, data: bytes) -> WireLine:
    """A frame as a line of the wire log."""
    return WireLine(
        at_ns=at_ns,
        client=client,
        direction=direction,
        kind=_KINDS.get(opcode, f"opcode {opcode:#x}"),
        size=len(data),
        data=excerpt(opcode, data),
    )


def _is_text(data: bytes) -> bool:
    return data.isascii() and data.decode().isprintable()


def excerpt(opcode: int, data: bytes) -> str:
    """The beginning of a payload: text as it is, a close frame's code and reason, else hexadecimal."""
    if opcode == CLOSE and len(data) >= 2:
        return f"{int.from_bytes(data[:2], 'big')} {data[2:].decode('utf-8', 'backslashreplace')}".rstrip()
    if opcode == BINARY or not data or (opcode in (PING, PONG) and not _is_text(data)):
        return data[: EXCERPT // 2].hex(" ")
    text = data[: EXCERPT * 4].decode("utf-8", "backslashreplace")
    shown = (
        text[:EXCERPT].encode("unicode_escape").decode()
        if not text[:EXCERPT].isprintable()
        else text[:EXCERPT]
    )
    return shown + ("…" if len(data) > len(text[:EXCERPT].encode()) else "")
