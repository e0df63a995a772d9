"""A proxied service: a port that listens, a server behind it, and the toxics between them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections import deque
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple

from omega_ai.core.clock import Clock, SystemClock
from omega_ai.testkit.faults import build
from omega_ai.testkit.faults.chain import Faults
from omega_ai.testkit.faults.model import Fault, Opening, Stream, Toxic, Window, place
from omega_ai.testkit.proxy.address import Upstream, join_host_port, listen_address, parse_upstream
from omega_ai.testkit.proxy.connection import Connection
from omega_ai.testkit.proxy.flow import BUFFER_SIZE, Flow
from omega_ai.testkit.proxy.tls import Certificates, ProxyTls, TlsWire
from omega_ai.testkit.proxy.wire import READ_SIZE, Pipes, SocketWire, Wire, abort

CONNECT_WAIT: Final = 30.0
"""Seconds in which the server must have accepted."""
SILENT_TAKES: Final = 65_536
BACKLOG: Final = 1024
MAX_CONNECTIONS: Final = 8192
"""Connections at once; more wait in the kernel's queue."""
EVENTS_KEPT: Final = 10_000
PAUSE: Final = 0.1
"""Seconds for which nothing is accepted when descriptors have run out."""
TLS_FORM: Final = {"ws": "wss", "http": "https", "tcp": "tls", "": "tls"}
_OUT_OF_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Event(NamedTuple):
    """Something that a proxy did: ``at`` in seconds of the proxy's clock, ``connection`` -1 for none of
    them."""

    at: float
    connection: int
    what: str
    detail: str = ""


class FaultProxy:
    """``async with FaultProxy("ws://127.0.0.1:8765") as proxy:`` and connect to ``proxy.url``.

    Args:
        upstream: the server: ``host:port``, or a URL (``ws``, ``wss``, ``http``, ``https``, ``tcp``,
        ``tls``). listen: where clients connect; port 0 picks a free one. name: for people and for the HTTP
        API. seed: makes every random decision of the faults repeatable. clock: where time comes from;
        ``monotonic`` is what counts.
    """

    def __init__(
        self,
        upstream: str,
        *,
        listen: str = "127.0.0.1:0",
        name: str = "proxy",
        seed: int = 0,
        tls: ProxyTls | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self.listen = listen
        self.upstream = upstream
        self.enabled = False
        self.accepted = 0
        """Connections accepted so far; each has the number that this was before it."""
        self.events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._target: Upstream = parse_upstream(upstream)
        self._clock = clock or SystemClock()
        self._faults = Faults(seed=seed, origin=self._clock.monotonic())
        self._connections: dict[int, Connection] = {}
        self._opening: dict[int, asyncio.Task[None]] = {}
        self._listener: socket.socket | None = None
        self._accepting = False
        self._buffer = bytearray(BUFFER_SIZE)
        self._pipes = Pipes()
        self._tls = tls
        self._certificates: Certificates | None = None

    async def __aenter__(self) -> FaultProxy:
        await self.enable()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Disable it and let go of everything."""
        await self.disable()
        if self._certificates is not None:
            self._certificates.close()
            self._certificates = None

    @property
    def host(self) -> str:
        """The address that it listens on."""
        return listen_address(self.listen)[1][0]

    @property
    def port(self) -> int:
        """The port that it listens on; the one picked, once it was enabled."""
        return int(self.listen.rpartition(":")[2])

    @property
    def url(self) -> str:
        """The server's URL with the proxy's address in place of the server's; ``host:port`` if it has no
        scheme."""
        target = self._target
        scheme = TLS_FORM.get(target.scheme, target.scheme) if self._tls is not None else target.scheme
        address = join_host_port(self.host, self.port)
        return f"{scheme}://{address}{target.rest}" if scheme else address

    @property
    def ca(self) -> Path | None:
        """PEM file of the authority that vouches for the proxy, if it terminates TLS with its own
        certificate."""
        if self._tls is None or self._tls.certificate is not None:
            return None
        return self._contexts(self._tls).ca

    @property
    def origin(self) -> float:
        """The time, by the proxy's clock, from which windows count: when it was made, or
        ``restart_windows``."""
        return self._faults.origin

    @property
    def toxics(self) -> Sequence[Toxic]:
        """What is placed now, in the order in which bytes meet it."""
        return self._faults.toxics

    @property
    def connections(self) -> int:
        """Connections that are open or being opened."""
        return len(self._connections) + len(self._opening)

    def get(self, name: str) -> Toxic | None:
        """The toxic of that name."""
        return self._faults.get(name)

    def add(
        self,
        fault: Fault | str,
        *,
        stream: Stream = "downstream",
        toxicity: float = 1.0,
        window: Window | None = None,
        name: str | None = None,
        **attributes: Any,
    ) -> Toxic:
        """Place a fault, behind those that there are; open connections have it at once.

        Args:
            fault: a fault, or its name and ``attributes``: ``add("latency", latency=100)``.
            stream: the direction that it works on.
            toxicity: the share of connections that it works on.
            window: when it works.
            name: by default ``<kind>_<stream>``.

        Raises:
            BadFault: there is no such fault, or a toxic of that name already.
        """
        if isinstance(fault, str):
            fault = build(fault, attributes)
        toxic = place(fault, stream=stream, toxicity=toxicity, window=window, name=name)
        self.place(toxic)
        return toxic

    def place(self, toxic: Toxic) -> None:
        """Place a toxic; see ``add``."""
        self._faults.add(toxic)
        self._changed("toxic added", toxic.name)

    def update(self, toxic: Toxic) -> None:
        """Put ``toxic`` in the place of that of its name (``msgspec.structs.replace`` makes an altered
        one)."""
        self._faults.update(toxic)
        self._changed("toxic updated", toxic.name)

    def remove(self, toxic: Toxic | str) -> None:
        """Take a toxic away. What it held goes on its way at once.

        Raises:
            BadFault: there is none of that name.
        """
        name = toxic if isinstance(toxic, str) else toxic.name
        self._faults.remove(name)
        self._changed("toxic removed", name)

    def clear(self) -> None:
        """Take all toxics away."""
        self._faults.clear()
        self._changed("toxics removed")

    async def enable(self) -> None:
        """Listen. Nothing happens if it does already.

        Raises:
            OSError: the address is not there, or in use.
            BadAddress: ``listen`` is no address.
            CertificateError: the certificate or the authorities given cannot be used.
        """
        if self.enabled:
            return
        loop = asyncio.get_running_loop()
        if self._tls is not None:
            self._contexts(self._tls).server()  # what is wrong with a certificate is said now
            if self._target.secure:
                self._contexts(self._tls).client(self._target.host)
        family, address = await loop.run_in_executor(None, listen_address, self.listen)
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address[0] != "::"))
            sock.bind(address)
            sock.listen(BACKLOG)
            sock.setblocking(False)
        except BaseException:
            sock.close()
            raise
        self._listener = sock
        self.listen = join_host_port(*sock.getsockname()[:2])
        self.enabled = True
        self._accept(True)
        self._note(-1, "enabled", self.listen)

    async def disable(self) -> None:
        """Listen no more, and close every connection: clients are refused. Toxics stay placed."""
        if not self.enabled:
            return
        self.enabled = False
        self._accept(False)
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        opening = list(self._opening.values())
        for task in opening:
            task.cancel()
        for connection in list(self._connections.values()):
            connection.drop("disabled")
        await asyncio.gather(*opening, return_exceptions=True)
        self._pipes.close()
        self._note(-1, "disabled")

    def reset_connections(self) -> int:
        """Reset every connection that is open (RST to both peers); how many there were."""
        open_now = list(self._connections.values())
        for connection in open_now:
            connection.reset()
        return len(open_now)

    def _changed(self, what: str, name: str = "") -> None:
        self._note(-1, what, name)
        now = self._clock.monotonic()
        for connection in list(self._connections.values()):
            connection.refresh(now)

    def _note(self, connection: int, what: str, detail: str = "") -> None:
        self.events.append(Event(self._clock.monotonic(), connection, what, detail))

    def _accept(self, on: bool) -> None:
        if on == self._accepting or self._listener is None:
            return
        self._accepting = on
        loop = asyncio.get_running_loop()
        if on:
            loop.add_reader(self._listener.fileno(), self._acceptable)
        else:
            loop.remove_reader(self._listener.fileno())

    def _acceptable(self) -> None:
        loop = asyncio.get_running_loop()
        while self._listener is not None and self._accepting:
            if self.connections >= MAX_CONNECTIONS:
                self._accept(False)
                return
            try:
                sock, address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _OUT_OF_DESCRIPTORS:
                    raise
                self._accept(False)
                loop.call_later(PAUSE, self._accept, True)
                return
            number = self.accepted
            self.accepted += 1
            sock.setblocking(False)
            self._note(number, "accepted", join_host_port(*address[:2]))
            task = loop.create_task(self._open(number, sock))
            self._opening[number] = task
            task.add_done_callback(partial(self._opened, number))

    def _opened(self, number: int, task: asyncio.Task[None]) -> None:
        self._opening.pop(number, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
        self._room()

    async def _open(self, number: int, client: socket.socket) -> None:
        opening = self._faults.opening(number, self._clock.monotonic())
        with contextlib.ExitStack() as stack:
            stack.callback(client.close)
            if opening != Opening() and not await self._obey(number, opening, client):
                return
            server = await self._connect(number)
            if server is None:
                return
            stack.pop_all()
        self._join(number, client, server, opening)

    async def _obey(self, number: int, opening: Opening, client: socket.socket) -> bool:
        """Do what faults decided over a new connection; whether it is to be connected to the server then."""
        if opening.delay:
            self._note(number, "kept waiting", f"{opening.delay:g} s")
            await asyncio.sleep(opening.delay)
        if opening.refuse is not None:
            self._note(number, "refused", opening.refuse)
            if opening.refuse == "reset":
                abort(client)
            return False
        if opening.silent:
            self._note(number, "met with silence")
            await self._be_silent(client)
            return False
        return True

    async def _be_silent(self, client: socket.socket) -> None:
        """Until the client goes, or has sent as much as a silent host's kernel takes."""
        loop = asyncio.get_running_loop()
        taken = 0
        with contextlib.suppress(OSError):
            while taken < SILENT_TAKES:
                data = await loop.sock_recv(client, READ_SIZE)
                if not data:
                    return
                taken += len(data)
            await loop.create_future()

    async def _connect(self, number: int) -> socket.socket | None:
        loop = asyncio.get_running_loop()
        target = self._target
        error: Exception | None = None
        try:
            async with asyncio.timeout(CONNECT_WAIT):
                found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
                for family, kind, protocol, _, address in found:
                    sock = socket.socket(family, kind, protocol)
                    sock.setblocking(False)
                    try:
                        await loop.sock_connect(sock, address)
                    except OSError as failed:
                        sock.close()
                        error = failed
                    except BaseException:
                        sock.close()
                        raise
                    else:
                        return sock
        except (OSError, TimeoutError) as failed:
            error = failed
        self._note(number, "server not reached", str(error))
        return None

    def _join(self, number: int, client: socket.socket, server: socket.socket, opening: Opening) -> None:
        loop = asyncio.get_running_loop()
        connection = Connection(number, self._ended)
        here: Wire
        there: Wire
        if self._tls is None:
            here = SocketWire(loop, client, connection, self._pipes)
            there = SocketWire(loop, server, connection, self._pipes)
        else:
            here, there = self._secured(connection, client, server, opening)
        circuit = self._faults.circuit(number, self._clock.monotonic())
        self._connections[number] = connection
        connection.join(
            Flow(loop, self._clock, circuit.upstream, here, there, self._buffer, connection.on_signal),
            Flow(loop, self._clock, circuit.downstream, there, here, self._buffer, connection.on_signal),
        )

    def _secured(
        self, connection: Connection, client: socket.socket, server: socket.socket, opening: Opening
    ) -> tuple[Wire, Wire]:
        assert self._tls is not None  # noqa: S101 - no caller without it
        loop = asyncio.get_running_loop()
        contexts = self._contexts(self._tls)
        note = partial(self._note, connection.number, "tls")
        here = TlsWire(
            loop,
            client,
            connection,
            self._pipes,
            contexts.server(opening.certificate),
            host=None,
            note=note,
            cut=opening.cut_handshake,
        )
        if not self._target.secure:
            return here, SocketWire(loop, server, connection, self._pipes)
        host = self._target.host
        context = contexts.client(host)
        return here, TlsWire(loop, server, connection, self._pipes, context, host=host, note=note)

    def _contexts(self, settings: ProxyTls) -> Certificates:
        if self._certificates is None:
            self._certificates = Certificates(settings)
        return self._certificates

    def _ended(self, connection: Connection, how: str) -> None:
        self._connections.pop(connection.number, None)
        self._note(connection.number, "ended", how)
        self._room()

    def _room(self) -> None:
        if self.enabled and not self._accepting and self.connections < MAX_CONNECTIONS:
            self._accept(True)
