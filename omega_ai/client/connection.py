"""One WebSocket connection: opened within a time, strict in what it takes, closed within a time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from omega_ai.client.errors import (
    ConnectError,
    ConnectTimeout,
    HandshakeFailed,
    HandshakeRejected,
    ServerUnavailable,
    TlsError,
)
from omega_ai.client.messages import SUBPROTOCOL
from omega_ai.client.retry import parse_retry_after
from omega_ai.core.client_tls import client_context, explain
from omega_ai.core.clock import Clock
from omega_ai.core.scheduler import LoopScheduler
from omega_ai.core.websocket.client import ClientProtocol, Opening
from omega_ai.core.websocket.close import ABNORMAL, UNSUPPORTED_DATA
from omega_ai.core.websocket.endpoint import Options
from omega_ai.core.websocket.handshake import HandshakeError, build_request, new_key

BODY_SHOWN = 200
"""Characters of a refusal's body that are put into the error."""


class Url:
    """A WebSocket URL, taken apart and checked.

    Raises:
        ValueError: not ws:// or wss://, no host, a bad port, a fragment, or a password in it.
    """

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"{url!r} is not a URL: {error}") from None
        if parts.scheme not in ("ws", "wss"):
            raise ValueError(f"{url!r} is not a WebSocket URL: it must begin with ws:// or wss://")
        if not parts.hostname:
            raise ValueError(f"{url!r} names no host")
        if parts.username is not None:
            raise ValueError(
                f"the URL for {parts.hostname} holds a user name: hand a token over as token=... instead"
            )
        if parts.fragment:
            raise ValueError(
                f"{url!r} has a fragment (#...), which a WebSocket URL must not (RFC 6455 section 3)"
            )
        query = parse_qsl(parts.query, keep_blank_values=True)
        self.text = url
        self.secure = parts.scheme == "wss"
        self.host = parts.hostname
        self.port = port if port is not None else (443 if self.secure else 80)
        self.channels: tuple[str, ...] | None = None
        """What ``?channels=`` asks for; None if it is not there."""
        for name, value in query:
            if name == "channels":
                self.channels = tuple(channel for channel in value.split(",") if channel)
        # Channels are asked for by message, where the last position can be given with them.
        rest = [(name, value) for name, value in query if name != "channels"]
        query_text = urlencode([*rest, ("channels", "")])
        self.target = urlunsplit(("", "", parts.path or "/", query_text, ""))
        """Path and query of the request."""
        default = 443 if self.secure else 80
        name = f"[{self.host}]" if ":" in self.host else self.host
        self.authority = name if self.port == default else f"{name}:{self.port}"
        """The Host header (RFC 6455 section 4.1)."""


class Connection(ClientProtocol):
    """A connection. ``on_message`` gets every text message, ``on_life`` is called for every pong and ping.

    ``opened`` is done when the handshake is, or fails with ``HandshakeError``. ``ended`` is the future of
    ``(code, reason, ours)``: why the connection is over, and whether this side decided so; it is done when
    the socket is closed.
    """

    __slots__ = ("_cause", "_drained", "_on_life", "_on_message", "ended", "opened")

    def __init__(
        self,
        options: Options,
        opening: Opening,
        on_message: Callable[[bytes], None],
        on_life: Callable[[], None],
    ) -> None:
        super().__init__(options, opening)
        loop = asyncio.get_running_loop()
        self._on_message = on_message
        self._on_life = on_life
        self._cause: tuple[int, str, bool] | None = None
        self._drained: asyncio.Event | None = None
        self.opened: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[tuple[int, str, bool]] = loop.create_future()

    # Events

    def on_open(self) -> None:
        """The handshake is done."""
        if not self.opened.done():
            self.opened.set_result(None)

    def on_refused(self, error: HandshakeError) -> None:
        """The handshake has failed."""
        if not self.opened.done():
            self.opened.set_exception(error)

    def on_text(self, data: bytes) -> None:
        """A message of the contract."""
        self._on_message(data)

    def on_binary(self, _data: bytes) -> None:
        """The contract knows text only."""
        self.give_up(UNSUPPORTED_DATA, "binary message, text was expected")

    def on_ping(self, _payload: bytes) -> None:
        """The server is there."""
        self._on_life()

    def on_pong(self, _payload: bytes) -> None:
        """The server is there."""
        self._on_life()

    def on_close(self, code: int, reason: str) -> None:
        """The server closes, or answers our close."""
        self._cause = self._cause or (code, reason, False)

    def on_protocol_error(self, code: int, reason: str) -> None:
        """The server broke the protocol, or a limit."""
        self._cause = self._cause or (code, reason, True)

    def on_drained(self) -> None:
        """The kernel has taken everything."""
        if self._drained is not None:
            self._drained.set()

    def connection_lost(self, exc: BaseException | None) -> None:
        """The socket is closed."""
        super().connection_lost(exc)
        if self._drained is not None:
            self._drained.set()
        if not self.ended.done():
            self.ended.set_result(self._cause or (ABNORMAL, "cut without a close frame", False))

    # Acts

    def give_up(self, code: int, reason: str) -> None:
        """End the connection for a reason of our own: 1006 cuts it, any other code is told to the server."""
        self._cause = self._cause or (code, reason, True)
        if code == ABNORMAL:
            self.abort()
        else:
            self.close(code, reason)

    def pause_reading(self, paused: bool) -> None:
        """Stop reading the socket, or go on: TCP then holds the server back."""
        transport = cast(asyncio.Transport, self.transport)
        if not transport.is_closing():
            if paused:
                transport.pause_reading()
            else:
                transport.resume_reading()

    async def drain(self) -> None:
        """Wait while the kernel does not take what was sent."""
        while self.blocked and not self.ended.done():
            if self._drained is None:
                self._drained = asyncio.Event()
            self._drained.clear()
            await self._drained.wait()


def client_options(message_limit: int, open_timeout: float, close_timeout: float) -> Options:
    """What all connections of one feed have in common. Within a running event loop."""
    return Options(
        scheduler=LoopScheduler(asyncio.get_running_loop()),
        message_limit=message_limit,
        handshake_timeout=2 * open_timeout,  # never first: ``open_connection`` has one time for everything
        close_timeout=close_timeout,
        mask_key=lambda: os.urandom(4),  # unpredictable, RFC 6455 section 5.3
    )


async def open_connection(
    url: Url,
    options: Options,
    *,
    clock: Clock,
    on_message: Callable[[bytes], None],
    on_life: Callable[[], None],
    tls: ssl.SSLContext | None = None,
    headers: Mapping[str, str] | None = None,
    compression: bool = False,
    open_timeout: float = 10.0,
) -> Connection:
    """Connect over TCP, TLS if the URL says so, and WebSocket, all within ``open_timeout`` seconds.

    Redirects are not followed: a token must not go on to where somebody else points.

    Raises:
        ConnectError: as one of its kinds, see ``errors``.
    """
    opening = Opening(
        host=url.authority,
        target=url.target,
        key=new_key(os.urandom(16)),
        subprotocols=(SUBPROTOCOL,),
        compression=compression,
        headers=tuple((headers or {}).items()),
    )
    try:
        build_request(url.authority, url.target, opening.key, headers=opening.headers)
    except ValueError as error:
        raise HandshakeFailed(url.text, f"the request cannot be made: {error}") from None
    if url.secure and tls is None:
        tls = client_context(host=url.host)
    attempt = _Attempt(url, clock)
    connection = Connection(options, opening, on_message, on_life)
    timer = asyncio.timeout(open_timeout)
    try:
        async with timer:
            await attempt.connect(connection, tls)
    except BaseException as error:
        await attempt.abandon(connection)
        if timer.expired():
            raise ConnectTimeout(url.text, f"{attempt.stage} within {open_timeout:g} s") from None
        translated = attempt.translate(error)
        if translated is None:
            raise
        raise translated from error
    return connection


class _Attempt:
    """One try to connect, which can be called off at any moment without leaving a socket behind."""

    def __init__(self, url: Url, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._socket: socket.socket | None = None
        self.stage = f"no TCP connection to {url.host} port {url.port}"

    async def connect(self, connection: Connection, tls: ssl.SSLContext | None) -> None:
        """TCP, TLS, WebSocket."""
        self._socket = await self._connect_tcp()
        self.stage = "connected, but the TLS handshake was not answered"
        if tls is None:
            await self._hand_over(connection, self._socket)
        else:
            await self._hand_over(connection, self._socket, ssl=tls, server_hostname=self._url.host)
        self.stage = "connected, but the WebSocket handshake was not answered"
        await asyncio.shield(connection.opened)

    async def _hand_over(self, connection: Connection, sock: socket.socket, **tls: object) -> None:
        loop = asyncio.get_running_loop()
        # The engine does not import asyncio, so its protocols do not derive from asyncio's.
        await loop.create_connection(lambda: connection, sock=sock, **tls)  # type: ignore[call-overload]

    async def _connect_tcp(self) -> socket.socket:
        """A connected socket, to whichever of the host's addresses answers first in their order."""
        loop = asyncio.get_running_loop()
        infos = await loop.getaddrinfo(self._url.host, self._url.port, type=socket.SOCK_STREAM)
        errors: list[OSError] = []
        for family, kind, protocol, _name, address in infos:
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setblocking(False)
                # An address that swallows packets must not use up the time of the next one.
                async with asyncio.timeout(None if len(infos) == 1 else 3.0):
                    await loop.sock_connect(sock, address)
            except OSError as error:  # TimeoutError too
                sock.close()
                errors.append(error)
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise errors[0] if errors else OSError(f"{self._url.host} has no address")

    async def abandon(self, connection: Connection) -> None:
        """Let go of the socket, and see it closed."""
        # Nobody will look at it any more: cancelled, the event loop does not complain of what it fails with.
        if not connection.opened.cancel() and not connection.opened.cancelled():
            connection.opened.exception()
        if hasattr(connection, "transport"):
            connection.abort()
            await asyncio.shield(connection.ended)
        elif self._socket is not None:
            # Handed over, but TLS has not come about: whoever owns it now closes it when it is shut down.
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def translate(self, error: BaseException) -> ConnectError | None:
        """The engine's, ssl's and the system's errors in our words; None for what is none of theirs."""
        url = self._url.text
        if isinstance(error, HandshakeError):
            return self._refused(error)
        if isinstance(error, ssl.SSLError):
            return TlsError(url, explain(error, self._url.host))
        if isinstance(error, socket.gaierror):
            return ServerUnavailable(url, f"the host name {self._url.host!r} is not known ({error.strerror})")
        if isinstance(error, ConnectionRefusedError):
            return ServerUnavailable(
                url, f"connection refused: nothing listens on {self._url.host} port {self._url.port}"
            )
        if isinstance(error, ConnectionError) and self._socket is not None:
            return HandshakeFailed(url, f"the connection was cut during the handshake ({error})")
        if isinstance(error, OSError):
            return ServerUnavailable(url, error.strerror or str(error) or type(error).__name__)
        return None

    def _refused(self, error: HandshakeError) -> ConnectError:
        url, response = self._url.text, error.response
        if response is None or response.status == 101:
            return HandshakeFailed(url, error.reason)
        body = error.body.decode("utf-8", "replace").strip()[:BODY_SHOWN]
        wait = parse_retry_after(response.header("retry-after"), self._clock.time_ns())
        return HandshakeRejected(url, response.status, body, wait)
