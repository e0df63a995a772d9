"""A proxied service: a port that listens, a server behind it, and the toxics between them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final

from omega_ai.core.certificates import CertificateError
from omega_ai.core.clock import Clock, SystemClock
from omega_ai.testkit.faults.chain import Faults
from omega_ai.testkit.faults.model import STREAMS, Opening, Stream, Toxic
from omega_ai.testkit.faults.placing import Placing
from omega_ai.testkit.proxy.address import Upstream, join_host_port, listen_address, parse_upstream
from omega_ai.testkit.proxy.connection import Connection
from omega_ai.testkit.proxy.flow import BUFFER_SIZE, Flow
from omega_ai.testkit.proxy.listener import Listener
from omega_ai.testkit.proxy.opening import connect, obey
from omega_ai.testkit.proxy.pipes import Pipes
from omega_ai.testkit.proxy.records import Event, Volume, add_up
from omega_ai.testkit.proxy.tls import Certificates, ProxyTls, TlsWire
from omega_ai.testkit.proxy.wire import SocketWire, Wire

MAX_CONNECTIONS: Final = 8192
"""Connections at once; more wait in the kernel's queue."""
EVENTS_KEPT: Final = 10_000
TLS_FORM: Final = {"ws": "wss", "http": "https", "tcp": "tls", "": "tls"}


class FaultProxy(Placing):
    """``async with FaultProxy("ws://127.0.0.1:8765") as proxy:`` and connect to ``proxy.url``.

    Args:
        upstream: the server: ``host:port``, or a URL (ws, wss, http, https, tcp, tls).
        listen: where clients connect; port 0 picks a free one.
        name: for people and for the HTTP API.
        seed: makes every random decision of the faults repeatable.
        tls: terminate TLS towards clients, so that faults see what is inside; None passes it on as it is.
        clock: where time comes from; ``monotonic`` is what counts.
        on_event: is called with the proxy and each ``Event``.

    Raises:
        BadAddress: ``upstream`` is no address.
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
        on_event: Callable[[FaultProxy, Event], None] | None = None,
    ) -> None:
        self.name = name
        self.listen = listen
        self.upstream = upstream
        self.tls = tls
        self.accepted = 0
        """Connections accepted so far; each has the number that this was before it."""
        self.events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        """The newest things that happened."""
        self._on_event = on_event
        self._target: Upstream = parse_upstream(upstream)
        self._clock = clock or SystemClock()
        self._faults = Faults(seed=seed, origin=self._clock.monotonic())
        self._connections: dict[int, Connection] = {}
        self._openings: dict[int, asyncio.Task[None]] = {}
        self._listener: Listener | None = None
        self._buffer = bytearray(BUFFER_SIZE)
        self._pipes = Pipes()
        self._certificates: Certificates | None = None
        self._volume = dict.fromkeys(STREAMS, Volume(0, 0))

    async def __aenter__(self) -> FaultProxy:
        try:
            await self.enable()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def enabled(self) -> bool:
        """Whether it listens."""
        return self._listener is not None

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
        scheme = TLS_FORM.get(target.scheme, target.scheme) if self.tls is not None else target.scheme
        address = join_host_port(self.host, self.port)
        return f"{scheme}://{address}{target.rest}" if scheme else address

    @property
    def ca(self) -> Path | None:
        """PEM file of the authority behind the proxy's own certificate; None where it shows none of its
        own."""
        if self.tls is None or self.tls.certificate is not None:
            return None
        return self._contexts(self.tls).ca

    @property
    def toxics(self) -> Sequence[Toxic]:
        """What is placed now, in the order in which bytes meet it."""
        return self._faults.toxics

    @property
    def connections(self) -> int:
        """Connections that are open or being opened."""
        return len(self._connections) + len(self._openings)

    @property
    def volume(self) -> Mapping[Stream, Volume]:
        """Bytes moved so far."""
        total = dict(self._volume)
        for connection in self._connections.values():
            add_up(total, connection)
        return total

    @property
    def origin(self) -> float:
        """The time, by the proxy's clock, from which windows count."""
        return self._faults.origin

    def restart_windows(self, origin: float | None = None) -> None:
        """Have windows count from ``origin``, by the proxy's clock; None: from now."""
        self._faults.origin = self._clock.monotonic() if origin is None else origin
        self._changed("windows restarted")

    def get(self, name: str) -> Toxic | None:
        """The toxic of that name."""
        return self._faults.get(name)

    def place(self, toxic: Toxic) -> None:
        """See ``Placing``."""
        self._faults.add(toxic)
        self._changed("toxic added", toxic.name)

    def update(self, toxic: Toxic) -> None:
        """Put ``toxic`` in the place of that of its name (``msgspec.structs.replace`` makes an altered one).

        Raises:
            BadFault: there is none of that name.
        """
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
        if self._listener is not None:
            return
        if self.tls is not None:
            self._contexts(self.tls).server()  # what is wrong with a certificate is said now
            if self._target.secure:
                self._contexts(self.tls).client(self._target.host)
        listener = await Listener.open(
            self.listen, self._accepted, lambda: self.connections < MAX_CONNECTIONS
        )
        self._listener = listener
        self.listen = listener.address
        self._note(-1, "enabled", self.listen)

    async def disable(self) -> None:
        """Listen no more, and close every connection: clients are refused. Toxics stay placed."""
        if self._listener is None:
            return
        self._listener.close()
        self._listener = None
        openings = list(self._openings.values())
        for task in openings:
            task.cancel()
        for connection in list(self._connections.values()):
            connection.drop("disabled")
        await asyncio.gather(*openings, return_exceptions=True)
        self._pipes.close()
        self._note(-1, "disabled")

    async def redirect(self, *, listen: str, upstream: str) -> None:
        """Listen elsewhere, or lead elsewhere. Open connections are closed, and it is disabled until
        ``enable``.

        Raises:
            BadAddress: ``upstream`` is no address.
        """
        target = parse_upstream(upstream)
        await self.disable()
        self.listen, self.upstream, self._target = listen, upstream, target

    async def close(self) -> None:
        """Disable it and let go of everything."""
        await self.disable()
        if self._certificates is not None:
            self._certificates.close()
            self._certificates = None

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
        event = Event(self._clock.monotonic(), connection, what, detail)
        self.events.append(event)
        if self._on_event is not None:
            self._on_event(self, event)

    def _accepted(self, client: socket.socket, address: str) -> None:
        number = self.accepted
        self.accepted += 1
        self._note(number, "accepted", address)
        task = asyncio.get_running_loop().create_task(self._open(number, client))
        self._openings[number] = task
        task.add_done_callback(partial(self._opened, number))

    def _opened(self, number: int, task: asyncio.Task[None]) -> None:
        self._openings.pop(number, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
        self._look()

    async def _open(self, number: int, client: socket.socket) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(client.close)
            opening = self._faults.opening(number, self._clock.monotonic())
            if opening != Opening() and not await obey(opening, client, partial(self._note, number)):
                return
            try:
                server = await connect(self._target.host, self._target.port)
            except (OSError, TimeoutError) as error:
                self._note(number, "server not reached", str(error) or "it did not answer")
                return
            stack.callback(server.close)
            try:
                self._join(number, client, server, opening)
            except (CertificateError, OSError, ValueError) as error:
                # A certificate cannot be shown here: OpenSSL refuses the key, or the file is gone.
                self._connections.pop(number, None)
                self._note(number, "tls", str(error))
                return
            stack.pop_all()

    def _join(self, number: int, client: socket.socket, server: socket.socket, opening: Opening) -> None:
        loop = asyncio.get_running_loop()
        connection = Connection(number, self._ended)
        here = self._front(connection, client, opening)
        try:
            there = self._back(connection, server)
        except BaseException:
            here.drop()
            raise
        self._connections[number] = connection
        circuit = self._faults.circuit(number, self._clock.monotonic())
        connection.join(
            Flow(loop, self._clock, circuit.upstream, here, there, self._buffer, connection.on_signal),
            Flow(loop, self._clock, circuit.downstream, there, here, self._buffer, connection.on_signal),
        )

    def _front(self, connection: Connection, client: socket.socket, opening: Opening) -> Wire:
        loop = asyncio.get_running_loop()
        if self.tls is None:
            return SocketWire(loop, client, connection, self._pipes)
        return TlsWire(
            loop,
            client,
            connection,
            self._pipes,
            self._contexts(self.tls).server(opening.certificate),
            host=None,
            note=partial(self._note, connection.number, "tls"),
            cut=opening.cut_handshake,
        )

    def _back(self, connection: Connection, server: socket.socket) -> Wire:
        loop = asyncio.get_running_loop()
        if self.tls is None or not self._target.secure:
            return SocketWire(loop, server, connection, self._pipes)
        host = self._target.host
        note = partial(self._note, connection.number, "tls")
        context = self._contexts(self.tls).client(host)
        return TlsWire(loop, server, connection, self._pipes, context, host=host, note=note)

    def _contexts(self, settings: ProxyTls) -> Certificates:
        if self._certificates is None:
            self._certificates = Certificates(settings)
        return self._certificates

    def _ended(self, connection: Connection, how: str) -> None:
        self._connections.pop(connection.number, None)
        add_up(self._volume, connection)
        self._note(connection.number, "ended", how)
        self._look()

    def _look(self) -> None:
        if self._listener is not None:
            self._listener.look()
