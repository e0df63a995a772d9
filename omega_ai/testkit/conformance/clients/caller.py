"""A client under test that has come: its request, our answer, and then frames in both directions."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from omega_ai.core.websocket.handshake import accept_value
from omega_ai.testkit.conformance.wire import HEAD_LIMIT, Log, Wire, readable

if TYPE_CHECKING:
    from omega_ai.testkit.context import Context

Headers = list[tuple[str, str]]


class Caller(Wire):
    """One connection of a client under test."""

    def __init__(self, arrived: Callable[[Caller], None]) -> None:
        super().__init__("client", cast(Log, _NOBODY), from_client=True)
        self._arrived = arrived
        self.target = ""
        self.number = 0
        """Which connection of its process it is: 1, 2 ..."""
        self.early = b""
        """What it sent before it was answered."""

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        if self.upgraded:
            self._frames(data)
            self._notify()
        elif self.head is not None:
            self.early = (self.early + data)[:HEAD_LIMIT]
        else:
            self._pending += data
            head, mark, rest = self._pending.partition(b"\r\n\r\n")
            if not mark and len(self._pending) < HEAD_LIMIT:
                return
            self.head, self.early, self._pending = head, rest, b""
            words = head.split(b"\r\n")[0].split(b" ")
            self.target = words[1].decode("latin-1") if len(words) > 1 else ""
            self._arrived(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        self._transport = cast(asyncio.Transport, transport)

    def adopt(self, name: str, context: Context, log: Log) -> None:
        """From now on it belongs to a case."""
        del context
        self.name, self._log = name, log
        head = self.head or b""
        log.add(name, "event", "open")
        log.add(name, "received", "bytes", head, readable(head))

    def answer(self, data: bytes, text: str = "our answer") -> None:
        """Send the answer to its request; what comes from now on are frames."""
        self.upgraded = True
        self.send(data, text=text)
        if self.early:
            self._frames(self.early)
            self.early = b""

    @property
    def headers(self) -> Headers:
        """Of its request, as they came."""
        found = []
        for line in (self.head or b"").split(b"\r\n")[1:]:
            name, colon, value = line.partition(b":")
            if colon:
                found.append((name.decode("latin-1"), value.strip(b" \t").decode("latin-1")))
        return found

    def values(self, name: str) -> list[str]:
        """The values of one header."""
        return [value for known, value in self.headers if known.lower() == name]

    @property
    def key(self) -> str:
        """Its Sec-WebSocket-Key, be it right or not."""
        return next(iter(self.values("sec-websocket-key")), "")

    @property
    def offers(self) -> str:
        """The extensions that it offers."""
        return ", ".join(self.values("sec-websocket-extensions"))


def right_answer(caller: Caller) -> Headers:
    """The headers of a right answer: no extension, no subprotocol."""
    return [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accept_value(caller.key)),
    ]


STATUS_LINE: Final = "HTTP/1.1 101 Switching Protocols"


def response(headers: Headers, line: str = STATUS_LINE) -> bytes:
    """The bytes of an answer."""
    return ("\r\n".join([line, *(f"{name}: {value}" for name, value in headers)]) + "\r\n\r\n").encode(
        "latin-1"
    )


def faults_of_request(caller: Caller) -> list[str]:
    """What is wrong with a client's request (RFC 6455 section 4.1)."""
    found = []
    line = (caller.head or b"").split(b"\r\n")[0]
    words = line.split(b" ")
    if len(words) != 3 or words[0] != b"GET":
        found.append(f"its request line is {readable(line)}, not GET ... (point 2)")
    elif words[2] != b"HTTP/1.1":
        found.append(f"its request is {readable(words[2])}, not HTTP/1.1 (point 2)")
    for name, point in (("host", 4), ("sec-websocket-key", 7), ("sec-websocket-version", 9)):
        count = len(caller.values(name))
        if count != 1:
            found.append(f"it sends {count or 'no'} {name} header{'s' if count > 1 else ''} (point {point})")
    if "websocket" not in _words(caller, "upgrade"):
        found.append("its Upgrade header does not say websocket (point 5)")
    if "upgrade" not in _words(caller, "connection"):
        found.append("its Connection header does not say Upgrade (point 6)")
    if caller.values("sec-websocket-version")[:1] not in ([], ["13"]):
        found.append(f"its version is {caller.values('sec-websocket-version')[0]!r}, not 13 (point 9)")
    if caller.key and not _is_key(caller.key):
        found.append(f"its key {caller.key[:60]!r} is not the base64 of 16 bytes (point 7)")
    offered = [one.strip() for one in ",".join(caller.values("sec-websocket-protocol")).split(",")]
    if len(set(offered)) < len(offered):
        found.append("it offers one subprotocol twice (point 10)")
    if caller.early:
        found.append("it sends something before its handshake is answered (section 4.1)")
    return found


def _words(caller: Caller, name: str) -> list[str]:
    return [word.strip().lower() for value in caller.values(name) for word in value.split(",")]


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


class _NoLog:
    """For a client that waits until a case takes it."""

    def add(self, *_: object, **__: object) -> None:
        """Drop it."""


_NOBODY: Final = _NoLog()
