"""A bare connection to a server under test: bytes out, bytes in, both in a bounded log."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from omega_ai.core.client_tls import explain
from omega_ai.core.websocket.handshake import HandshakeError, Response, parse_response
from omega_ai.testkit.conformance.frames import NAMES, TEXT, Frame, FrameReader
from omega_ai.testkit.connection import Address, ConnectFailed
from omega_ai.testkit.result import WireLine

if TYPE_CHECKING:
    from omega_ai.testkit.context import Context

CONNECT_WAIT: Final = 10.0
HEAD_LIMIT: Final = 65_536
LOG_LIMIT: Final = 160
"""Lines that the log of one case keeps, half of them the first and half the last."""
HEX_BYTES: Final = 24
TEXT_CHARACTERS: Final = 72


class Log:
    """What went over the wires of one case, in order."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._head: list[WireLine] = []
        self._tail: list[WireLine] = []
        self._left_out = 0

    def add(self, client: str, direction: str, kind: str, raw: bytes = b"", text: str = "") -> None:
        """One line: the bytes' beginning in hexadecimal, and what they mean."""
        shown = raw[:HEX_BYTES].hex(" ") + ("…" if len(raw) > HEX_BYTES else "")
        line = WireLine(
            at_ns=self._context.now_ns() - self._context.history.start_ns,
            client=client,
            direction=direction,
            kind=kind,
            size=len(raw),
            data=" | ".join(part for part in (shown, text) if part),
        )
        if len(self._head) < LOG_LIMIT // 2:
            self._head.append(line)
            return
        self._tail.append(line)
        if len(self._tail) > LOG_LIMIT // 2:
            del self._tail[0]
            self._left_out += 1

    def lines(self, limit: int = LOG_LIMIT) -> tuple[WireLine, ...]:
        """At most ``limit`` lines and one that says how many are left out."""
        everything = [*self._head, *self._tail]
        left_out = self._left_out
        if not left_out and len(everything) <= limit:
            return tuple(everything)
        half = limit // 2
        head, tail = everything[:half], everything[max(half, len(everything) - half) :]
        left_out += len(everything) - len(head) - len(tail)
        cut = WireLine(
            at_ns=head[-1].at_ns,
            client="",
            direction="event",
            kind="note",
            data=f"{left_out} lines are left out here",
        )
        return (*head, cut, *tail)


def readable(data: bytes) -> str:
    """The beginning of ``data`` with everything unprintable escaped."""
    text = data[: TEXT_CHARACTERS * 2].decode("utf-8", "backslashreplace")
    shown = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:TEXT_CHARACTERS]
    )
    return f"'{shown}'" + ("…" if len(data) > TEXT_CHARACTERS else "")


def describe(one: Frame) -> str:
    """A frame in words."""
    bits = ("" if one.fin else " more follows") + (f" rsv={one.rsv:03b}" if one.rsv else "")
    if one.opcode == 8 and len(one.payload) > 1:
        code = int.from_bytes(one.payload[:2], "big")
        return f"close {code} {readable(one.payload[2:])}{bits}"
    what = readable(one.payload) if one.opcode == TEXT or one.opcode > 7 else ""
    return f"{one.name} {len(one.payload)} bytes{bits} {what}".rstrip()


class Wire(asyncio.Protocol):
    """One connection. ``closed`` and ``ended`` say who ended it, and how."""

    def __init__(self, name: str, log: Log, *, from_client: bool = False) -> None:
        self.name = name
        self.reader = FrameReader(from_client=from_client)
        self.head: bytes | None = None
        """The head of the server's answer, without the blank line."""
        self.body = b""
        """What follows the head of an answer that is no upgrade."""
        self.upgraded = False
        self.ended: str | None = None
        """How the TCP connection ended: ``clean`` (the server's FIN), ``reset``, ``ours``."""
        self._log = log
        self._told = 0
        self._pending = b""
        self._changed: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._mine = False
        self._writable = asyncio.Event()
        self._writable.set()

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        self._transport = cast(asyncio.Transport, transport)
        self._log.add(self.name, "event", "open")

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        if self.upgraded:
            self._frames(data)
        elif self.head is None:
            self._answer(data)
        else:
            self.body = (self.body + data)[:HEAD_LIMIT]
        self._notify()

    def eof_received(self) -> bool:
        """The server ended its side; we do not end ours yet, so that a case may still look."""
        self._end("clean")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.Protocol``."""
        if exc is not None and not self._mine:
            self._salvage()
        self._end("ours" if self._mine else "reset" if exc is not None else "clean")
        self._transport = None
        self._writable.set()

    def _salvage(self) -> None:
        """Read what had arrived when a write failed: a transport throws that away, a close frame with it."""
        transport = self._transport
        if transport is None or transport.get_extra_info("ssl_object") is not None:
            return
        with contextlib.suppress(OSError, ValueError):
            number = os.dup(transport.get_extra_info("socket").fileno())
            with socket.socket(fileno=number) as twin:
                twin.setblocking(False)
                while data := twin.recv(65_536):
                    self.data_received(data)

    def pause_writing(self) -> None:
        """See ``asyncio.Protocol``."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """See ``asyncio.Protocol``."""
        self._writable.set()

    def _end(self, how: str) -> None:
        if self.ended is None:
            self.ended = how
            told = {"clean": "the server ended the TCP connection", "reset": "the TCP connection was reset"}
            self._log.add(self.name, "event", "end", text=told.get(how, "we ended the TCP connection"))
        self._notify()

    def _answer(self, data: bytes) -> None:
        self._pending += data
        head, mark, rest = self._pending.partition(b"\r\n\r\n")
        if not mark and len(self._pending) < HEAD_LIMIT:
            return
        self.head, self._pending = head, b""
        self._log.add(self.name, "received", "bytes", head + mark, readable(head))
        response = self.response
        if response is not None and response.status == 101:
            self.upgraded = True
            if rest:
                self._frames(rest)
        else:
            self.body = rest

    def _frames(self, data: bytes) -> None:
        for one in self.reader.feed(data):
            self._log.add(self.name, "received", one.name, one.payload, describe(one))
        for text in self.reader.violations[self._told :]:
            self._log.add(self.name, "event", "protocol violation", text=text)
        self._told = len(self.reader.violations)

    def _notify(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None and not changed.done():
            changed.set_result(None)

    # A case's side.

    @property
    def response(self) -> Response | None:
        """The head of the answer, parsed; None if there is none or it is not HTTP."""
        if self.head is None:
            return None
        try:
            return parse_response(self.head)
        except HandshakeError:
            return None

    @property
    def status(self) -> int | None:
        """The status of the answer, be its first line right or not; None if there is none."""
        words = (self.head or b"").split(b"\r\n")[0].split()
        return int(words[1]) if len(words) > 1 and len(words[1]) == 3 and words[1].isdigit() else None

    @property
    def heard(self) -> bytes:
        """Bytes that came where an answer was to come, but make none yet."""
        return self._pending

    @property
    def over(self) -> bool:
        """Whether the server closed or the connection is gone."""
        return self.reader.close is not None or self.ended is not None

    def send(self, data: bytes, kind: str = "bytes", text: str = "") -> None:
        """Send bytes as they are."""
        if self._transport is None or self._transport.is_closing():
            self._log.add(self.name, "event", "note", text="not sent: the connection is gone")
            return
        self._log.add(self.name, "sent", kind, data, text)
        self._transport.write(data)

    def send_frame(self, data: bytes) -> None:
        """Send a frame built by ``frame``; the log says what it is."""
        first = data[0]
        kind = NAMES.get(first & 15, f"opcode {first & 15:#x}")
        bits = ("" if first & 0x80 else " more follows") + (
            f" rsv={first >> 4 & 7:03b}" if first & 0x70 else ""
        )
        self.send(data, kind, f"{kind}{bits}")

    async def drain(self, within: float) -> bool:
        """Wait until most of what was sent is out of our hands."""
        try:
            async with asyncio.timeout(within):
                await self._writable.wait()
        except TimeoutError:
            return False
        return True

    async def until(self, condition: Callable[[], object], within: float) -> bool:
        """Wait until ``condition()`` holds, at most ``within`` seconds; whether it does."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        while not condition():
            left = deadline - loop.time()
            if left <= 0 or self.ended is not None:
                return False
            self._changed = self._changed or loop.create_future()
            try:
                async with asyncio.timeout(left):
                    await asyncio.shield(self._changed)
            except TimeoutError:
                return bool(condition())
        return True

    def half_close(self) -> bool:
        """End our side of TCP, and go on listening; whether the transport can do that (TLS cannot)."""
        if self._transport is None or not self._transport.can_write_eof():
            return False
        self._log.add(self.name, "event", "note", text="we end our side of the TCP connection")
        self._transport.write_eof()
        return True

    def hang_up(self, *, rudely: bool = False) -> None:
        """End the connection from our side: in order, or by a reset."""
        self._mine = True
        if self._transport is None:
            return
        if rudely:
            self._transport.abort()
        else:
            self._transport.close()


async def connect(context: Context, log: Log, address: Address, name: str) -> Wire:
    """Connect by TCP, and TLS for a wss address; closed when the case is over.

    Raises:
        ConnectFailed: there is no connection.
    """
    tls = context.target.tls_context() if address.secure else None
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_WAIT):
            _, wire = await loop.create_connection(
                lambda: Wire(name, log),
                address.host,
                address.port,
                ssl=tls,
                server_hostname=address.host if tls else None,
            )
    except TimeoutError:
        raise ConnectFailed("timeout", f"no connection within {CONNECT_WAIT:g} s") from None
    except ssl.SSLError as error:
        raise ConnectFailed("tls", explain(error, address.host)) from None
    except OSError as error:
        raise ConnectFailed("tcp", f"no TCP connection: {error.strerror or error}") from None
    context.cleanup.append(lambda: wire.hang_up(rudely=True))
    return wire
