"""One WebSocket connection: opened within a time, strict in what it takes, closed within a time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import picows

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
from omega_ai.core.websocket.close import ABNORMAL
from omega_ai.core.websocket.deflate import OFFER
from omega_ai.core.websocket.endpoint import Options
from omega_ai.core.websocket.listener import StrictListener, agreed_deflate

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
        self.bare = urlunsplit((parts.scheme, parts.netloc, parts.path or "/", query_text, ""))


class Connection(StrictListener):
    """An open connection. ``on_message`` gets every text message, ``on_life`` is called for every pong and
    ping.

    ``ended`` is the future of ``(code, reason, ours)``: why the connection is over, and whether this side
    decided so; it is done when the socket is closed.
    """

    __slots__ = ("_cause", "_drained", "_on_life", "_on_message", "ended")

    def __init__(
        self, options: Options, on_message: Callable[[bytes], None], on_life: Callable[[], None]
    ) -> None:
        super().__init__(options)
        self._on_message = on_message
        self._on_life = on_life
        self._cause: tuple[int, str, bool] | None = None
        self._drained: asyncio.Event | None = None
        self.ended: asyncio.Future[tuple[int, str, bool]] = asyncio.get_running_loop().create_future()

    # Events

    def on_text(self, data: bytes) -> None:
        """A message of the contract."""
        self._on_message(data)

    def on_binary(self, _data: bytes) -> None:
        """The contract knows text only."""
        self.give_up(1003, "binary message, text was expected")

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

    def on_disconnected(self) -> None:
        """The socket is closed."""
        if self._drained is not None:
            self._drained.set()
        if not self.ended.done():
            self.ended.set_result(
                self._cause or (ABNORMAL, "the connection was cut without a close frame", False)
            )

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
        transport = self.transport.underlying_transport
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


def client_options(message_limit: int, close_timeout: float) -> Options:
    """What all connections of one feed have in common. Within a running event loop."""
    return Options(
        scheduler=LoopScheduler(asyncio.get_running_loop()),
        message_limit=message_limit,
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

    Raises:
        ConnectError: as one of its kinds, see ``errors``.
    """
    attempt = _Attempt(url, clock)
    extra = {"Sec-WebSocket-Protocol": SUBPROTOCOL, **(headers or {})}
    if compression:
        extra["Sec-WebSocket-Extensions"] = OFFER
    if url.secure and tls is None:
        tls = client_context(host=url.host)

    def listener(_request: picows.WSUpgradeRequest, response: picows.WSUpgradeResponse) -> Connection:
        connection = Connection(options, on_message, on_life)
        connection._deflate = _check_answer(response, compression)
        return connection

    timer = asyncio.timeout(open_timeout)
    try:
        async with timer:
            _transport, connection = await picows.ws_connect(
                listener,
                url.bare,
                ssl_context=tls,
                websocket_handshake_timeout=None,  # ours covers the whole
                enable_auto_pong=False,
                max_frame_size=options.message_limit,
                extra_headers=extra,
                max_redirects=0,  # a token must not be sent on to where somebody else points
                read_buffer_init_size=16 * 1024,
                socket_factory=attempt.connect,
            )
    except BaseException as error:
        attempt.abandon()
        if timer.expired():
            raise ConnectTimeout(url.text, f"{attempt.stage} within {open_timeout:g} s") from None
        translated = attempt.translate(error)
        if translated is None:
            raise
        raise translated from error
    if connection is None:  # this is how picows tells that the connection went during the handshake
        raise HandshakeFailed(url.text, "the connection was closed in the middle of the WebSocket handshake")
    assert isinstance(connection, Connection)  # noqa: S101 - what ``listener`` made
    return connection


class _Attempt:
    """One try to connect, which can be called off at any moment without leaving a socket behind."""

    def __init__(self, url: Url, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._socket: socket.socket | None = None
        self.stage = f"no TCP connection to {url.host} port {url.port}"

    async def connect(self, _parsed: picows.WSParsedURL) -> socket.socket:
        """A connected socket, whichever of the host's addresses answers first in their order."""
        loop = asyncio.get_running_loop()
        infos = await loop.getaddrinfo(self._url.host, self._url.port, type=socket.SOCK_STREAM)
        errors: list[OSError] = []
        for family, kind, protocol, _name, address in infos:
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setblocking(False)
                # An address that swallows packets must not use up the time of the next one.
                bound = None if len(infos) == 1 else 3.0
                async with asyncio.timeout(bound):
                    await loop.sock_connect(sock, address)
            except OSError as error:  # TimeoutError too
                sock.close()
                errors.append(error)
            except BaseException:
                sock.close()
                raise
            else:
                self._socket = sock
                tls = "TLS or WebSocket" if self._url.secure else "WebSocket"
                self.stage = f"connected, but the {tls} handshake was not answered"
                return sock
        raise errors[0] if errors else OSError(f"{self._url.host} has no address")

    def abandon(self) -> None:
        """The transport, if there is one, owns the socket: shutting it down makes it close by itself."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def translate(self, error: BaseException) -> ConnectError | None:
        """picows', ssl's and the system's errors in our words; None for what is none of theirs."""
        url = self._url.text
        if isinstance(error, ConnectError):
            return error
        if isinstance(error, picows.WSHandshakeError):
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
            return HandshakeFailed(url, f"the connection was cut in the middle of the handshake ({error})")
        if isinstance(error, OSError):
            return ServerUnavailable(url, error.strerror or str(error) or type(error).__name__)
        return None

    def _refused(self, error: picows.WSHandshakeError) -> ConnectError:
        url, response = self._url.text, error.response
        if response is None or response.status == 101:
            return HandshakeFailed(url, f"what answers there does not speak WebSocket: {error}")
        raw: Any = error.raw_body or response.body or b""
        body = bytes(raw).decode("utf-8", "replace").strip()[:BODY_SHOWN]
        wait = parse_retry_after(response.headers.get("Retry-After"), self._clock.time_ns())
        return HandshakeRejected(url, int(response.status), body, wait)


def _check_answer(response: picows.WSUpgradeResponse, compression: bool) -> Any:
    """What RFC 6455 section 4.1 asks of a client and picows leaves to us."""
    protocol = response.headers.get("Sec-WebSocket-Protocol")
    if protocol not in (None, SUBPROTOCOL):
        raise picows.WSHandshakeError(
            f"the server chose a subprotocol that was not offered: {protocol[:40]!r}"
        )
    extensions = response.headers.get("Sec-WebSocket-Extensions")
    if extensions is None:
        return None
    if not compression:
        raise picows.WSHandshakeError(
            f"the server chose an extension that was not offered: {extensions[:40]!r}"
        )
    try:
        return agreed_deflate(response)
    except ValueError as error:
        raise picows.WSHandshakeError(f"Sec-WebSocket-Extensions: {error}") from None
