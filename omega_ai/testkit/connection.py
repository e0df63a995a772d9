"""A client that records: the strict engine on a socket, every message and control frame noted with its time.

Nothing that arrives is ever dropped between two waits: ``receive`` looks on from where it last stopped.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import SplitResult, urlsplit

from omega_ai.core.client_tls import explain
from omega_ai.core.clock import Clock
from omega_ai.core.websocket.client import ClientProtocol, Opening
from omega_ai.core.websocket.close import ABNORMAL, NORMAL
from omega_ai.core.websocket.deflate import compress_once
from omega_ai.core.websocket.endpoint import CLOSING, OPEN, Options
from omega_ai.core.websocket.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_payload
from omega_ai.core.websocket.handshake import HandshakeError, Response
from omega_ai.testkit.case import Failed
from omega_ai.testkit.history import ClientHistory, Event, Happening, Received, Sent

DEFAULT_WAIT: Final = 5.0
PRECONDITION_WAIT: Final = 15.0
"""Seconds for what a case only needs to begin, and does not judge."""


class ConnectFailed(Exception):
    """There is no connection. ``stage`` is ``address``, ``tcp``, ``tls``, ``handshake`` or ``timeout``."""

    def __init__(self, stage: str, text: str, response: Response | None = None, body: bytes = b"") -> None:
        super().__init__(text)
        self.stage = stage
        self.response = response
        self.body = body

    @property
    def status(self) -> int | None:
        """The HTTP status that the server answered with, if it did."""
        return None if self.response is None else self.response.status

    @property
    def late(self) -> bool:
        """Whether it took too long, for us or (HTTP 408) for the server: a busy machine may explain that."""
        return self.stage == "timeout" or self.status == 408


@dataclass(frozen=True, slots=True)
class Ended:
    """How a connection ended: the peer's close code (1006: there was no close frame), and its reason."""

    code: int
    reason: str
    violation: str | None = None
    """How the peer broke the protocol, if it did."""

    def __str__(self) -> str:
        if self.violation is not None:
            return f"a breach of the protocol: {self.violation}"
        if self.code == ABNORMAL:
            return "the TCP connection ended without a close frame"
        return f"close {self.code}" + (f" {self.reason!r}" if self.reason else "")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a URL leads."""

    url: str
    host: str
    port: int
    secure: bool
    target: str
    host_header: str

    @classmethod
    def of(cls, url: str, query: str = "") -> Address:
        """Take ``url`` apart, ``query`` added to its own.

        Raises:
            ConnectFailed: it is no ws or wss URL.
        """
        try:
            parts: SplitResult = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ConnectFailed("address", f"{url!r} is no URL: {error}") from None
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise ConnectFailed(
                "address", f"{url!r} is no WebSocket URL: it is ws://HOST:PORT/ or wss://HOST:PORT/"
            )
        if parts.username is not None or parts.fragment:
            raise ConnectFailed("address", f"{url!r}: a WebSocket URL has no user and no fragment")
        secure = parts.scheme == "wss"
        joined = "&".join(part for part in (parts.query, query) if part)
        target = (parts.path or "/") + (f"?{joined}" if joined else "")
        return cls(url, parts.hostname, port or (443 if secure else 80), secure, target, parts.netloc)


class _Wire(ClientProtocol):
    """The engine's callbacks, handed on to the connection that records them."""

    __slots__ = ("owner",)

    owner: Connection

    def on_open(self) -> None:
        self.owner._opened()

    def on_text(self, data: bytes) -> None:
        self.owner._note(TEXT, data)

    def on_binary(self, data: bytes) -> None:
        self.owner._note(BINARY, data)

    def on_ping(self, payload: bytes) -> None:
        self.owner._note(PING, payload)

    def on_pong(self, payload: bytes) -> None:
        self.owner._note(PONG, payload)

    def on_close(self, code: int, reason: str) -> None:
        self.owner._closed_by_peer(code, reason)

    def on_protocol_error(self, code: int, reason: str) -> None:
        self.owner._violated(code, reason)

    def on_drained(self) -> None:
        self.owner._wake()

    def on_refused(self, error: HandshakeError) -> None:
        self.owner._refused(error)

    def on_disconnected(self) -> None:
        self.owner._disconnected()


class Connection:
    """One connection of one client. Made by ``connect``."""

    def __init__(self, history: ClientHistory, life: int, clock: Clock) -> None:
        self.history = history
        self.life = life
        self.clock = clock
        self.ended: Ended | None = None
        self.held_up: Callable[[float], float] = lambda _: 0.0
        """For how many seconds we were held up at most since a monotonic time: we wait longer then."""
        self.over = False
        """The TCP connection has ended."""
        self.tls: ssl.SSLObject | None = None
        self._wire: _Wire
        self._cursor = len(history.received)
        self._waiter: asyncio.Future[None] | None = None
        self._failure: HandshakeError | None = None
        self._close: tuple[int, str] | None = None
        self._violation: str | None = None
        self._numbers = sum(sent.number is not None for sent in history.sent)

    # What the server answered.

    @property
    def name(self) -> str:
        """The client's name."""
        return self.history.name

    @property
    def response(self) -> Response:
        """The server's answer to the handshake."""
        assert self._wire.response is not None  # noqa: S101 - it is open, so it was answered
        return self._wire.response

    @property
    def subprotocol(self) -> str | None:
        """What the server chose."""
        return self._wire.subprotocol

    @property
    def compressed(self) -> bool:
        """Whether permessage-deflate was agreed on."""
        return self._wire.compression is not None

    @property
    def open(self) -> bool:
        """Whether messages may be sent."""
        return self._wire.state == OPEN

    # Sending.

    def now_ns(self) -> int:
        """The clock of the history."""
        return round(self.clock.monotonic() * 1e9)

    def send(
        self,
        data: bytes | str,
        *,
        opcode: int = TEXT,
        intended_ns: int | None = None,
        number: int | None = None,
        published: bool = False,
        compress: bool = False,
    ) -> Sent:
        """Send one message in one frame, now; what the transport cannot take yet waits in memory.

        Raises:
            Failed: the connection is closed, which the target did, as we did not.
        """
        payload = data.encode() if isinstance(data, str) else data
        if not self.open:
            raise Failed(
                f"{self.name}: the connection had ended ({self.ended or 'closing'}) before all was sent"
            )
        now = self.now_ns()
        sent = Sent(
            now, now if intended_ns is None else intended_ns, self.life, opcode, payload, number, published
        )
        self.history.sent.append(sent)
        agreed = self._wire.compression
        if compress and agreed is not None:
            packed = compress_once(payload, window_bits=agreed.send_window_bits)
            self._wire.send_frame(opcode, packed, rsv1=True)
        else:
            self._wire.send_frame(opcode, payload)
        return sent

    def send_fragments(
        self, parts: list[bytes], *, data: bytes, number: int | None = None, fin: bool = True
    ) -> Sent:
        """Begin the text message ``data``, one frame for each part; not ``fin``: ``send_more`` ends it."""
        now = self.now_ns()
        sent = Sent(now, now, self.life, TEXT, data, number)
        self.history.sent.append(sent)
        for place, part in enumerate(parts):
            self._wire.send_frame(CONTINUATION if place else TEXT, part, fin=fin and place == len(parts) - 1)
        return sent

    def send_more(self, parts: list[bytes]) -> None:
        """End the message that ``send_fragments`` began."""
        for place, part in enumerate(parts):
            self._wire.send_frame(CONTINUATION, part, fin=place == len(parts) - 1)

    def next_number(self) -> int:
        """The next number for a stamp of this client, over all its connections."""
        self._numbers += 1
        return self._numbers - 1

    def send_raw(self, data: bytes, note: str) -> None:
        """Send bytes that need not be frames, past the engine; ``note`` says in the history what they are."""
        self.event(Happening.NOTE, f"sent {note}: {data[:40].hex(' ')}", by_us=True)
        self._wire.write(data)

    async def drain(self, within: float = DEFAULT_WAIT) -> bool:
        """Wait until the transport has no backlog; False if it still has one after ``within`` seconds."""
        return await self._until(lambda: not self._wire.blocked or self.over, within)

    async def ping(self, payload: bytes = b"", within: float = DEFAULT_WAIT) -> float | None:
        """Seconds until the pong with ``payload`` came; None if it did not, or another one."""
        now = self.now_ns()
        self.history.sent.append(Sent(now, now, self.life, PING, payload))
        self._wire.ping(payload)
        pong = await self.receive(lambda item: item.opcode == PONG and item.data == payload, within=within)
        return None if pong is None else (pong.at_ns - now) / 1e9

    def pong(self, payload: bytes = b"") -> None:
        """Send a pong that nobody asked for."""
        now = self.now_ns()
        self.history.sent.append(Sent(now, now, self.life, PONG, payload))
        self._wire.send_frame(PONG, payload)

    def event(self, kind: Happening, text: str = "", code: int | None = None, *, by_us: bool = False) -> None:
        """Note that something happened to this connection."""
        self.history.events.append(Event(self.now_ns(), self.life, kind, text, code, by_us))

    # Receiving.

    async def receive(
        self, where: Callable[[Received], bool] | None = None, *, within: float = DEFAULT_WAIT
    ) -> Received | None:
        """The next item that ``where`` accepts (default: a data message); None if none came in time.

        What is passed over stays in the history, for the checkers. None at once when the connection is over.
        """
        accept = where or is_data
        found: list[Received] = []

        def look() -> bool:
            received = self.history.received
            while self._cursor < len(received):
                item = received[self._cursor]
                self._cursor += 1
                if item.life == self.life and accept(item):
                    found.append(item)
                    return True
            return self.over

        await self._until(look, within)
        return found[0] if found else None

    def rewind(self) -> None:
        """Let the next ``receive`` look at everything again."""
        self._cursor = 0

    def pause_reading(self, buffer: int | None = None) -> None:
        """Take nothing more from the socket: a slow consumer. ``buffer``: bytes that it may hold."""
        cast(asyncio.ReadTransport, self._wire.transport).pause_reading()
        sock = self._wire.transport.get_extra_info("socket")
        if buffer is not None and sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)

    def resume_reading(self) -> None:
        """Read on."""
        cast(asyncio.ReadTransport, self._wire.transport).resume_reading()

    # Ending.

    async def close(
        self, code: int | None = NORMAL, reason: str = "", within: float = DEFAULT_WAIT
    ) -> Ended | None:
        """Close with a handshake; None if the server has not ended the connection ``within`` seconds."""
        if self.open:
            now = self.now_ns()
            self.history.sent.append(Sent(now, now, self.life, CLOSE, close_payload(code, reason)))
            self.event(Happening.CLOSE_SENT, reason, code, by_us=True)
            self._wire.close(code, reason)
        return await self.wait_ended(within)

    async def wait_ended(self, within: float = DEFAULT_WAIT) -> Ended | None:
        """Wait until the TCP connection is over; None if it was not after ``within`` seconds."""
        await self._until(lambda: self.over, within)
        return self.ended if self.over else None

    def abort(self) -> None:
        """Cut the TCP connection."""
        if not self.over:
            self.event(Happening.NOTE, "cut by us", by_us=True)
            self._wire.abort()

    async def release(self) -> None:
        """Leave nothing behind: say good-bye if that goes quickly, else cut."""
        if not self.over and self._wire.state in (OPEN, CLOSING):
            await self.close(within=0.5)
        if not self.over:
            self._wire.abort()
            await self._until(lambda: self.over, 1.0)

    # What the engine calls.

    def _opened(self) -> None:
        self.event(Happening.OPEN)
        self._wake()

    def _note(self, opcode: int, data: bytes) -> None:
        self.history.receive(Received(self.now_ns(), self.clock.time_ns(), self.life, opcode, data))
        self._wake()

    def _closed_by_peer(self, code: int, reason: str) -> None:
        self._close = (code, reason)
        self.event(Happening.CLOSE_RECEIVED, reason, code)

    def _violated(self, code: int, reason: str) -> None:
        self._violation = reason
        self.event(Happening.VIOLATION, reason, code)

    def _refused(self, error: HandshakeError) -> None:
        self._failure = error
        self.over = True
        self.event(Happening.REFUSED, error.reason)
        self._wake()

    def _disconnected(self) -> None:
        code, reason = self._close or (ABNORMAL, "")
        self.ended = Ended(code, reason, self._violation)
        self.over = True
        self.event(Happening.END, str(self.ended))
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _until(self, condition: Callable[[], bool], within: float) -> bool:
        """Wait until ``condition``, which is asked whenever something happened."""
        if self._waiter is not None:
            raise RuntimeError(f"{self.name}: two waits at once on one connection")
        loop = asyncio.get_running_loop()
        begin = self.clock.monotonic()
        deadline = loop.time() + within
        try:
            while not condition():
                left = deadline - loop.time()
                if left <= 0:
                    # A machine that holds us up holds up a server beside us: only once, or it had no end.
                    deadline += 2 * self.held_up(begin) if begin >= 0 else 0.0
                    begin = -1.0
                    left = deadline - loop.time()
                if left <= 0:
                    return False
                self._waiter = loop.create_future()
                await asyncio.wait((self._waiter,), timeout=left)
            return True
        finally:
            self._waiter = None


def is_data(item: Received) -> bool:
    """Whether it is a text or binary message."""
    return item.opcode in (TEXT, BINARY)


async def open_connection(
    address: Address,
    opening: Opening,
    *,
    history: ClientHistory,
    life: int,
    clock: Clock,
    options: Options,
    tls: ssl.SSLContext | None,
    server_hostname: str | None = None,
    source: str | None = None,
    within: float = DEFAULT_WAIT,
) -> Connection:
    """Connect, and return once the handshake is over.

    Raises:
        ConnectFailed: and why.
    """
    connection = Connection(history, life, clock)
    connection._wire = wire = _Wire(options, opening)
    wire.owner = connection
    loop = asyncio.get_running_loop()
    timer = asyncio.timeout(within)
    try:
        async with timer:
            await loop.create_connection(
                lambda: cast(asyncio.BaseProtocol, wire),
                address.host,
                address.port,
                ssl=tls if address.secure else None,
                server_hostname=(server_hostname or address.host) if address.secure else None,
                local_addr=None if source is None else (source, 0),
            )
            connection.tls = wire.transport.get_extra_info("ssl_object")
            await connection._until(lambda: connection.over or wire.state == OPEN, within)
    except TimeoutError:
        _abandon(wire)
        raise _failure(connection, "timeout", f"no connection within {within:g} s") from None
    except ssl.SSLError as error:
        raise _failure(connection, "tls", explain(error, address.host)) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise _failure(
            connection, "tcp", f"no TCP connection to {address.host}:{address.port}: {reason}"
        ) from None
    except asyncio.CancelledError:
        _abandon(wire)
        raise
    if connection._failure is not None:
        failure = connection._failure
        raise ConnectFailed("handshake", failure.reason, failure.response, failure.body)
    if wire.state < OPEN:
        _abandon(wire)
        raise _failure(connection, "timeout", f"the handshake was not answered within {within:g} s")
    return connection


def _abandon(wire: _Wire) -> None:
    """Nobody will use it: leave no socket behind."""
    if hasattr(wire, "transport"):
        wire.abort()


def _failure(connection: Connection, stage: str, text: str) -> ConnectFailed:
    connection.event(Happening.REFUSED, text)
    return ConnectFailed(stage, text)
