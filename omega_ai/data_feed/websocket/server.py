"""The WebSocket server: the only module of the feed that owns client sockets.

The plain and the TLS listener serve the same application. Pings for all connections turn on one wheel.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import socket
import ssl
from typing import NamedTuple, cast

import structlog

from omega_ai.core.clock import Clock
from omega_ai.core.scheduler import LoopScheduler
from omega_ai.core.websocket.endpoint import Options
from omega_ai.data_feed.websocket.close_codes import CloseCode
from omega_ai.data_feed.websocket.connection import Connection, Gate
from omega_ai.data_feed.websocket.context import Context
from omega_ai.data_feed.websocket.hub import Hub
from omega_ai.data_feed.websocket.inlet import Inlet
from omega_ai.data_feed.websocket.outbox import Waiting

BACKLOG = 4096

_log = structlog.get_logger(__name__)


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

    __slots__ = ("bytes_in", "closes", "handshakes", "messages_in", "refusals", "slow_closes")

    def __init__(self) -> None:
        self.handshakes: dict[str, int] = {}
        self.refusals: dict[str, int] = {}
        """Clients that were refused before the gate was asked, by reason."""
        self.closes: dict[int, int] = {}
        self.slow_closes = 0
        self.messages_in = 0
        self.bytes_in = 0


class PortBusy(OSError):
    """Another process listens there already."""


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
        self.waiting = Waiting()
        self.connections: set[Connection] = set()
        self._secure = 0  # of them
        self.arriving: set[Connection] = set()
        """In their handshake, or refused and not gone yet."""
        loop = asyncio.get_running_loop()
        self._loop = loop
        self.options = Options(
            scheduler=LoopScheduler(loop),
            message_limit=settings.max_message_size,
            close_timeout=settings.close_timeout,
            handshake_timeout=settings.handshake_timeout,
        )
        self.inlet = Inlet(clock, self.options.scheduler, urgent=hub.send_what_is_live, settle=self._flush)
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
        transport = "wss" if connection.secure else "ws"
        self.stats.handshakes[transport] = self.stats.handshakes.get(transport, 0) + 1
        self.arriving.discard(connection)
        self.connections.add(connection)
        self._secure += connection.secure
        self._empty.clear()
        self._wheel[self._next_slot].add(connection)
        connection.slot = self._next_slot
        self._next_slot = (self._next_slot + 1) % len(self._wheel)
        _log.debug("opened", connection=connection.id, peer=connection.peer)

    def gone(self, connection: Connection) -> None:
        """A client has left."""
        if connection in self.connections:
            self.connections.remove(connection)
            self._secure -= connection.secure
        self._wheel[connection.slot].discard(connection)
        closes = self.stats.closes
        closes[connection.close_code] = closes.get(connection.close_code, 0) + 1
        if not self.connections:
            self._empty.set()

    def connections_by_transport(self) -> dict[str, int]:
        """How many are open, plain and over TLS."""
        return {"ws": len(self.connections) - self._secure, "wss": self._secure}

    def outbox_bytes(self) -> int:
        """What waits for all clients together."""
        return self.waiting.bytes

    def mark(self, connection: Connection) -> None:
        """A session has answered something: flush it once what arrived with it is taken in."""
        self._marked.append(connection)

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
        # Whoever is in the middle of its handshake is still let in, and sent away later.
        for server in self._servers:
            server.close()
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
        for connection in list(self.arriving):
            connection.abort()
        await asyncio.sleep(0)  # for their end to reach us
        for server in self._servers:
            await server.wait_closed()
        self._servers.clear()

    def _stop_listening(self) -> None:
        self.closing = True
        for server in self._servers:
            server.close()

    def _flush(self) -> None:
        if not self._marked:
            return
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
