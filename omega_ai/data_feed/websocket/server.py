"""The WebSocket server: the only module of the feed that owns client sockets.

One ``Connection`` a client ties together the engine's protocol, a ``Session`` and an ``Outbox``; the plain
and the TLS listener serve the same application. Pings for all connections turn on one wheel.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import socket
import ssl
from collections.abc import Mapping
from typing import NamedTuple, Protocol, cast

import structlog

from omega_ai.core.clock import Clock
from omega_ai.core.identifiers import new_connection_id
from omega_ai.core.scheduler import LoopScheduler
from omega_ai.core.websocket.deflate import MAX_WINDOW_BITS
from omega_ai.core.websocket.endpoint import Options
from omega_ai.core.websocket.frames import PING, build_frame
from omega_ai.core.websocket.handshake import Refusal, Request, Upgrade, check_upgrade
from omega_ai.core.websocket.server import ServerProtocol
from omega_ai.data_feed.websocket.close_codes import CloseCode
from omega_ai.data_feed.websocket.hub import Hub
from omega_ai.data_feed.websocket.messages import SUBPROTOCOL
from omega_ai.data_feed.websocket.outbox import Outbox
from omega_ai.data_feed.websocket.session import Context, Identity, Session

BACKLOG = 4096
_PING = build_frame(PING, b"")

_log = structlog.get_logger(__name__)


class Admitted(Protocol):
    """What admission grants to a connection before its upgrade."""

    @property
    def identity(self) -> Identity:
        """Who it is."""
        ...

    @property
    def channels(self) -> tuple[str, ...]:
        """Its first channels."""
        ...


class Gate(Protocol):
    """Decides who comes in, and counts them."""

    @property
    def refusals(self) -> Mapping[str, int]:
        """How many were not let in, by reason."""
        ...

    def admit(self, request: Request, peer: str, *, secure: bool) -> Admitted:
        """Admit the client at address ``peer``, or raise ``Refusal``, before the upgrade."""
        ...

    def identify(self, admitted: Admitted, identity: Identity) -> bool:
        """Whether an admitted client may go on as ``identity``, which it has shown since."""
        ...

    def release(self, admitted: Admitted) -> None:
        """Its connection is over."""
        ...


class ServerSettings(NamedTuple):
    """What the server needs of the settings. Times in seconds, sizes in bytes."""

    max_message_size: int
    outbox_limit: int
    ping_interval: float
    pong_timeout: float
    handshake_timeout: float
    close_timeout: float
    compression: bool = True
    shared_port: bool = False


class ServerStats:
    """Plain counters, read when metrics are asked for."""

    __slots__ = ("bad_handshakes", "bytes_in", "closes", "handshakes", "messages_in", "slow_closes")

    def __init__(self) -> None:
        self.handshakes: dict[str, int] = {}
        self.bad_handshakes = 0
        self.closes: dict[int, int] = {}
        self.slow_closes = 0
        self.messages_in = 0
        self.bytes_in = 0


class PortBusy(OSError):
    """Another process listens there already."""


class Connection(ServerProtocol):
    """One client, from its TCP connection to its end."""

    __slots__ = (
        "_admitted",
        "_heard",
        "_marked",
        "_pinged_at",
        "close_code",
        "id",
        "peer",
        "secure",
        "server",
        "session",
        "slot",
    )

    def __init__(self, server: FeedServer) -> None:
        super().__init__(server.options)
        self.server = server
        self.session: Session | None = None
        self.id = ""
        self.peer = ""
        self.secure = False
        self.slot = 0
        self.close_code = 1006
        self._admitted: Admitted | None = None
        self._heard = True
        self._marked = False
        self._pinged_at = 0.0

    # From the engine

    def on_request(self, request: Request) -> Upgrade:
        """Check the handshake's form first, then whether this client may come in."""
        server = self.server
        if server.closing:
            raise Refusal(503, "the server is stopping: connect again", (("Retry-After", "1"),))
        name = self.transport.get_extra_info("peername")
        self.peer = str(name[0]) if name else ""
        self.secure = self.transport.get_extra_info("ssl_object") is not None
        try:
            upgrade = check_upgrade(
                request, subprotocols=(SUBPROTOCOL,), compression=server.settings.compression
            )
        except Refusal:
            server.stats.bad_handshakes += 1
            raise
        try:
            self._admitted = server.gate.admit(request, self.peer, secure=self.secure)
        except Refusal as refusal:
            _log.debug("refused", peer=self.peer, status=refusal.status, reason=refusal.reason)
            raise
        return upgrade

    def on_open(self) -> None:
        """The upgrade is done: the conversation begins. The server never speaks first."""
        server = self.server
        admitted = self._admitted
        assert admitted is not None  # noqa: S101 - on_request ran, or the upgrade would not have happened
        outbox = Outbox(self.write, limit=server.settings.outbox_limit, on_overflow=self._overflowed)
        # One compressed frame serves all who take the full window; the others get plain frames, which is
        # always allowed (RFC 7692 section 6).
        agreed = self.compression
        deflate = agreed is not None and agreed.send_window_bits == MAX_WINDOW_BITS
        self.session = Session(
            server.context,
            outbox,
            self._close_session,
            identity=admitted.identity,
            identify=self._identify,
            connection=self,
            deflate=deflate,
        )
        server.opened(self)
        self.session.open(admitted.channels)

    def on_text(self, data: bytes) -> None:
        """A message; its answers leave at the end of this turn, in one write."""
        session = self.session
        if session is None:
            return
        self._heard = True
        stats = self.server.stats
        stats.messages_in += 1
        stats.bytes_in += len(data)
        session.receive(data)
        if not self._marked:
            self._marked = True
            self.server.mark(self)

    def on_binary(self, data: bytes) -> None:
        """There are no binary messages in this protocol (RFC 6455 section 7.4.1: 1003)."""
        self.end(CloseCode.UNSUPPORTED_DATA, "binary messages are not supported: send JSON in text frames")

    def on_ping(self, payload: bytes) -> None:
        """The engine has answered it."""
        self._heard = True

    def on_pong(self, payload: bytes) -> None:
        """The client lives."""
        self._heard = True

    def on_drained(self) -> None:
        """The kernel takes bytes again."""
        if self.session is not None:
            self.session.outbox.resume()

    def on_close(self, code: int, reason: str) -> None:
        """The client said goodbye; it gets nothing more."""
        self.close_code = code
        if self.session is not None:
            self.session.end()

    def on_protocol_error(self, code: int, reason: str) -> None:
        """The client broke RFC 6455 or a size limit, and was told."""
        self.close_code = code
        if self.session is not None:
            self.session.end()
        _log.debug("protocol_error", connection=self.id, code=code, reason=reason)

    def on_disconnected(self) -> None:
        """The connection is over, from whichever side."""
        if self.session is not None:
            self.session.end()
        self.server.gone(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give back what admission counted, also for a client that left during its handshake."""
        super().connection_lost(exc)
        if self._admitted is not None:
            self.server.gate.release(self._admitted)
            self._admitted = None

    # From the server

    def flush(self) -> None:
        """Send the answers of this turn."""
        self._marked = False
        if self.session is not None and not self.session.closed:
            self.session.flush()

    def end(self, code: CloseCode, reason: str) -> None:
        """Close in order: what was answered goes out first."""
        if self.session is not None:
            self.session.close(code, reason)

    def turn(self, now: float) -> None:
        """This connection's slot of the ping wheel has come round."""
        session = self.session
        if session is None or session.closed:
            return
        session.tick()
        if self._heard:
            self._heard = False
            self._pinged_at = now
            session.outbox.send_control(_PING)
        elif now - self._pinged_at >= self.server.settings.pong_timeout:
            self.end(CloseCode.NO_PONG, f"no answer to a ping within {self.server.settings.pong_timeout:g} s")

    def _overflowed(self) -> None:
        session = self.session
        if session is None or session.closed:
            return
        self.server.stats.slow_closes += 1
        limit = self.server.settings.outbox_limit
        _log.warning("slow_consumer", connection=self.id, peer=self.peer, limit_bytes=limit)
        session.close(
            CloseCode.SLOW_CONSUMER, f"more than {limit} bytes wait for you: read faster, or use mode latest"
        )

    def _identify(self, identity: Identity) -> bool:
        """A token was shown by message: count its user as if it had come with the upgrade."""
        return self._admitted is not None and self.server.gate.identify(self._admitted, identity)

    def _close_session(self, code: CloseCode, reason: str) -> None:
        self.close_code = code
        self.close(code, reason)


class FeedServer:
    """Listeners, connections and the ping wheel. ``context`` is what sessions share."""

    def __init__(
        self,
        settings: ServerSettings,
        context: Context,
        hub: Hub,
        gate: Gate,
        *,
        clock: Clock,
    ) -> None:
        self.settings = settings
        self.context = context
        self.hub = hub
        self.gate = gate
        self.closing = False
        self.stats = ServerStats()
        self.clock = clock
        self.connections: set[Connection] = set()
        loop = asyncio.get_running_loop()
        self._loop = loop
        self.options = Options(
            scheduler=LoopScheduler(loop),
            message_limit=settings.max_message_size,
            close_timeout=settings.close_timeout,
            handshake_timeout=settings.handshake_timeout,
        )
        self._servers: list[asyncio.Server] = []
        self._tls_server: asyncio.Server | None = None
        self._marked: list[Connection] = []
        slots = max(1, min(64, round(settings.ping_interval)))
        self._wheel: list[set[Connection]] = [set() for _ in range(slots)]
        self._slot = 0
        self._next_slot = 0
        self._timers: list[asyncio.TimerHandle] = []
        self._empty = asyncio.Event()
        self._empty.set()

    async def listen(self, host: str, port: int, *, tls: ssl.SSLContext | None = None) -> int:
        """Open a listener; returns its real port.

        Raises:
            PortBusy: another process listens there.
            OSError: the address cannot be used.
        """
        sock = bind(host, port, shared=self.settings.shared_port, listen=True)
        server = await self._loop.create_server(
            lambda: cast(asyncio.BaseProtocol, Connection(self)),  # the engine does not import asyncio
            sock=sock,
            ssl=tls,
            backlog=BACKLOG,
            ssl_handshake_timeout=self.settings.handshake_timeout if tls is not None else None,
        )
        self._servers.append(server)
        if tls is not None:
            self._tls_server = server
        if not self._timers:
            self._turn_wheel()
            self._beat()
        return int(sock.getsockname()[1])

    def opened(self, connection: Connection) -> None:
        """A client has come in."""
        connection.id = new_connection_id()
        transport = "wss" if connection.secure else "ws"
        self.stats.handshakes[transport] = self.stats.handshakes.get(transport, 0) + 1
        self.connections.add(connection)
        self._empty.clear()
        self._wheel[self._next_slot].add(connection)
        connection.slot = self._next_slot
        self._next_slot = (self._next_slot + 1) % len(self._wheel)
        _log.debug("opened", connection=connection.id, peer=connection.peer)

    def gone(self, connection: Connection) -> None:
        """A client has left."""
        self.connections.discard(connection)
        self._wheel[connection.slot].discard(connection)
        closes = self.stats.closes
        closes[connection.close_code] = closes.get(connection.close_code, 0) + 1
        _log.debug("closed", connection=connection.id, peer=connection.peer, code=connection.close_code)
        if not self.connections:
            self._empty.set()

    def connections_by_transport(self) -> dict[str, int]:
        """How many are open, plain and over TLS. Counted when asked for."""
        secure = sum(connection.secure for connection in self.connections)
        return {"ws": len(self.connections) - secure, "wss": secure}

    def outbox_bytes(self) -> int:
        """What waits for all clients together."""
        return sum(c.session.outbox.queued_bytes for c in self.connections if c.session is not None)

    def mark(self, connection: Connection) -> None:
        """A session has answered something: flush it once this turn is over."""
        self._marked.append(connection)
        if len(self._marked) == 1:
            self._loop.call_soon(self._flush)

    async def listen_again(self, tls: ssl.SSLContext) -> None:
        """Serve TLS with another context, on the same socket; connections that stand are not touched."""
        old = self._tls_server
        if old is None:
            return
        # asyncio's server owns its socket and closes it; a duplicate keeps the port and its queue.
        sock = socket.socket(fileno=os.dup(old.sockets[0].fileno()))
        self._servers.remove(old)
        old.close()
        self._tls_server = server = await self._loop.create_server(
            lambda: cast(asyncio.BaseProtocol, Connection(self)),
            sock=sock,
            ssl=tls,
            backlog=BACKLOG,
            ssl_handshake_timeout=self.settings.handshake_timeout,
        )
        self._servers.append(server)

    async def retire(self, seconds: float, rng: random.Random) -> None:
        """Stop listening, and send clients away in random order over ``seconds``: 1012, come back elsewhere.

        Sending all away at once would make them all come back at once.
        """
        self._stop_listening()
        leaving = list(self.connections)
        rng.shuffle(leaving)
        began = self.clock.monotonic()
        for number, connection in enumerate(leaving):
            due = began + seconds * number / len(leaving)
            if (wait := due - self.clock.monotonic()) > 0.001:
                await asyncio.sleep(wait)
            connection.end(CloseCode.SERVICE_RESTART, "this process is being replaced: connect again")
        await self.close(CloseCode.SERVICE_RESTART, "this process is being replaced: connect again")

    async def close(self, code: CloseCode = CloseCode.GOING_AWAY, reason: str = "server is stopping") -> None:
        """Stop listening, say goodbye to every client, and wait for them within ``close_timeout``."""
        self._stop_listening()
        for timer in self._timers:
            timer.cancel()
        for connection in list(self.connections):
            connection.end(code, reason)
        try:
            async with asyncio.timeout(self.settings.close_timeout + 0.5):
                await self._empty.wait()
        except TimeoutError:
            for connection in list(self.connections):
                connection.abort()
        for server in self._servers:
            await server.wait_closed()
        self._servers.clear()

    def _stop_listening(self) -> None:
        self.closing = True
        for server in self._servers:
            server.close()

    def _flush(self) -> None:
        marked, self._marked = self._marked, []
        for connection in marked:
            connection.flush()

    def _turn_wheel(self) -> None:
        period = self.settings.ping_interval / len(self._wheel)
        self._timers[:1] = [self._loop.call_later(period, self._turn_wheel)]
        slot = self._wheel[self._slot]
        self._slot = (self._slot + 1) % len(self._wheel)
        now = self.clock.monotonic()
        for connection in tuple(slot):
            connection.turn(now)

    def _beat(self) -> None:
        self._timers[1:] = [self._loop.call_later(1.0, self._beat)]
        self.hub.beat()


def bind(host: str, port: int, *, shared: bool = False, listen: bool = False) -> socket.socket:
    """A bound TCP socket. ``shared``: other processes of ours bind the same port (SO_REUSEPORT).

    Raises:
        PortBusy: another process listens there.
        OSError: the address is not this machine's, or may not be used.
    """
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = infos[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
        if listen:
            sock.listen(BACKLOG)  # a busy port shows here at the latest, before anything is promised
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise PortBusy(errno.EADDRINUSE, f"port {port} on {host} is in use") from None
        raise
    sock.setblocking(False)
    return sock
