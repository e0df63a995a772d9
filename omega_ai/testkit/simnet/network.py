"""Hosts, ports, listeners and connections of a simulation; sockets that are none."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import random
import socket
from asyncio import sslproto
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from omega_ai.testkit.simnet.pipe import NOBODY, WINDOW, Link, Pipe
from omega_ai.testkit.simnet.process import PROCESS, Process
from omega_ai.testkit.simnet.transport import SimTransport

if TYPE_CHECKING:
    from omega_ai.testkit.simnet.loop import SimLoop

Address = tuple[str, int]

LOOPBACK: Final = "127.0.0.1"
FIRST_PORT: Final = 20_000
CONNECT_S: Final = 127.0
"""After so long without an answer a connection attempt is given up: Linux, ``tcp_syn_retries`` = 6."""

_SELF: Final = frozenset({"", "localhost", "0.0.0.0", "::", "::1", "127.0.0.1"})  # noqa: S104


def place(address: Any) -> Address:
    """An address as the network knows it: all names of this host are one."""
    host, port = address[0], address[1]
    return (LOOPBACK if host in _SELF else str(host), int(port))


class Network:
    """See the module's text. ``link(address)`` is what lies before an address, for all who connect to it."""

    def __init__(self, loop: SimLoop, rng: random.Random) -> None:
        self.loop = loop
        self.rng = rng
        self.listeners: dict[Address, Listener] = {}
        self.connections: list[Pair] = []
        self.processes: list[Process] = []
        self.window = WINDOW
        """Bytes that a connection takes on before its sender has to wait."""
        self.made = 0
        """Connections so far."""
        self.gates: dict[Address, Gate] = {}
        """Addresses with faults before them: see ``proxy.SimProxy``."""
        self._links: dict[Address, Link] = {}
        self._aliases: dict[Address, Address] = {}
        self._port = FIRST_PORT
        loop.network = self

    def process(self, name: str) -> Process:
        """A new process."""
        process = Process(self, name)
        self.processes.append(process)
        return process

    def link(self, host: str, port: int) -> Link:
        """What lies before an address; change it as you like, then call ``heal`` if it swallowed."""
        return self._links.setdefault(place((host, port)), Link())

    def alias(self, host: str, port: int, to_host: str, to_port: int) -> Link:
        """Another address for a listener, with a link of its own: what some clients go over."""
        self._aliases[place((host, port))] = place((to_host, to_port))
        return self.link(host, port)

    def between(self, host: str, port: int) -> list[Pair]:
        """The connections that stand and were made to this address."""
        wanted = place((host, port))
        return [pair for pair in self.connections if pair.address == wanted]

    def cut(self, host: str, port: int) -> int:
        """Break the connections to an address, both sides told by a reset; how many."""
        pairs = self.between(host, port)
        for pair in pairs:
            pair.cut()
        return len(pairs)

    def heal(self, host: str, port: int) -> None:
        """Send again what was swallowed, once the link is not silent any more."""
        for pair in self.between(host, port):
            pair.up.heal()
            pair.down.heal()

    def sever(self, process: Process, *, reset: bool) -> None:
        """All listeners and connections of ``process`` are gone."""
        for address, listener in list(self.listeners.items()):
            if listener.process is process:
                del self.listeners[address]
        for pair in list(self.connections):
            for end in (pair.client, pair.server):
                if end.process is process:
                    end.sever(reset=reset)

    def free_port(self) -> int:
        """A port that nobody has."""
        self._port += 1
        return self._port

    def socket(self, *_: object, **__: object) -> SimSocket:
        """What ``socket.socket`` gives within a simulation."""
        return SimSocket(self)

    def getaddrinfo(self, host: Any, port: Any, *_: Any, **__: Any) -> list[Any]:
        """Every name is its own address."""
        where = place((host or "", port or 0))
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", where)]

    async def connect(self, address: Address) -> tuple[SimTransport, Address]:
        """The client's end of a new connection.

        Raises:
            OSError: refused, or no answer.
        """
        where = place(address)
        link = self.link(*where)
        gate = self.gates.get(where)
        await self._travel(link)
        if gate is not None:
            await gate.admit()
        target = self._aliases.get(where, where)
        listener = self.listeners.get(target)
        if link.refuses or listener is None or not listener.serving:
            await self._travel(link)
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"connection to {where[0]}:{where[1]} refused")
        self.made += 1
        rng = random.Random(f"{self.rng.random()}:{self.made}")
        up = Pipe(self.loop, link, rng, self.window)
        down = Pipe(self.loop, link, random.Random(f"{rng.random()}"), self.window)
        client_address = (LOOPBACK, 40_000 + self.made)
        client = SimTransport(
            self.loop,
            up,
            down,
            {"peername": where, "sockname": client_address},
            contextvars.copy_context(),
        )
        server = SimTransport(
            self.loop, down, up, {"peername": client_address, "sockname": target}, listener.context
        )
        pair = Pair(where, client, server, up, down)
        self.connections.append(pair)
        client.gone = server.gone = pair.left(self.connections)
        if gate is not None:
            gate.joined(pair)
        listener.accept(server)
        await self._travel(link)
        return client, where

    async def _travel(self, link: Link) -> None:
        began = self.loop.time()
        await asyncio.sleep(link.latency_s)
        while link.silent:
            if self.loop.time() - began > CONNECT_S:
                raise TimeoutError(errno.ETIMEDOUT, "connection timed out")
            await asyncio.sleep(1.0)


class Gate(Protocol):
    """What stands before an address."""

    async def admit(self) -> None:
        """A client knocks: let it wait, or raise ``OSError``."""

    def joined(self, pair: Pair) -> None:
        """It was let in; put faults into its pipes."""


class Pair:
    """One connection: both ends, both directions."""

    def __init__(
        self, address: Address, client: SimTransport, server: SimTransport, up: Pipe, down: Pipe
    ) -> None:
        self.address = address
        self.client = client
        self.server = server
        self.up = up
        self.down = down
        self._ends = 2

    def left(self, everywhere: list[Pair]) -> Callable[[SimTransport], None]:
        """What an end calls when it is closed."""

        def gone(_: SimTransport) -> None:
            self._ends -= 1
            if not self._ends and self in everywhere:
                everywhere.remove(self)

        return gone

    def close(self) -> None:
        """An end for both, in order."""
        self.up.close_in_order()
        self.down.close_in_order()

    def cut(self) -> None:
        """A reset for both."""
        error = ConnectionResetError(errno.ECONNRESET, "connection reset by peer")
        self.client.broke(error)
        self.server.broke(error)


class Listener:
    """What ``create_server`` gives; as much of ``asyncio.Server`` as is used."""

    def __init__(self, network: Network, sock: SimSocket, factory: Any, tls: Any) -> None:
        self.sockets: tuple[SimSocket, ...] = (sock,)
        self.context = contextvars.copy_context()
        self.process: Process | None = PROCESS.get()
        self.serving = True
        self._network = network
        self._factory = factory
        self._tls = tls

    def accept(self, transport: SimTransport) -> None:
        """A client came."""
        # A stopped process accepts nobody, and its kernel does all the same.
        self._network.loop.call_soon(self._accept, transport, context=self.context)

    def _accept(self, transport: SimTransport) -> None:
        protocol = self._factory()
        if self._tls is not None:
            loop = self._network.loop
            protocol = sslproto.SSLProtocol(
                loop, protocol, self._tls, loop.create_future(), server_side=True, ssl_handshake_timeout=10
            )
        transport.start(protocol)

    def is_serving(self) -> bool:
        """Whether it takes connections."""
        return self.serving

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The simulation's."""
        return self._network.loop

    def close(self) -> None:
        """Take no more connections."""
        self.serving = False
        for address, listener in list(self._network.listeners.items()):
            if listener is self:
                del self._network.listeners[address]

    async def start_serving(self) -> None:
        """It does already."""

    async def wait_closed(self) -> None:
        """Nothing is to be waited for."""

    async def __aenter__(self) -> Listener:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


class SimSocket:
    """As much of a socket as asyncio code asks of one."""

    family = socket.AF_INET
    type = socket.SOCK_STREAM
    proto = 6

    def __init__(self, network: Network) -> None:
        self._network = network
        self._address: Address = (LOOPBACK, 0)
        self._transport: SimTransport | None = None

    def bind(self, address: Any) -> None:
        """Take an address; port 0 takes a free one."""
        host, port = place(address)
        self._address = (host, port or self._network.free_port())
        if self._address in self._network.listeners:
            raise OSError(errno.EADDRINUSE, "address already in use")

    def listen(self, *_: object) -> None:
        """It listens once it serves."""

    def setsockopt(self, *_: object) -> None:
        """There is nothing to set."""

    def getsockopt(self, *_: object) -> int:
        """Nothing is set."""
        return 0

    def setblocking(self, _flag: bool) -> None:
        """It never blocks."""

    def settimeout(self, _value: float | None) -> None:
        """It never blocks."""

    def getsockname(self) -> Address:
        """Its own address."""
        return self._address

    def fileno(self) -> int:
        """It is no descriptor."""
        return -1

    def shutdown(self, _how: int) -> None:
        """End a connection that nobody owns yet."""
        self.close()

    def close(self) -> None:
        """Let go of a connection that nobody owns yet."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    async def connect_to(self, address: Any) -> None:
        """Connect."""
        self._transport, _ = await self._network.connect(place(address))

    async def hand_over(self, factory: Any, tls: Any, server_hostname: str | None) -> tuple[Any, Any]:
        """Give the connection to a protocol; over TLS once that stands."""
        transport, self._transport = self._transport, None
        if transport is None:
            raise OSError(errno.ENOTCONN, "not connected")
        loop = self._network.loop
        waiter = loop.create_future()
        protocol = factory()
        if not tls:
            transport.start(protocol)
            loop.call_soon(_done, waiter)
            try:
                await waiter
            except BaseException:
                transport.abort()
                raise
            return transport, protocol
        wrapped = sslproto.SSLProtocol(
            loop, protocol, tls, waiter, server_side=False, server_hostname=server_hostname
        )
        transport.start(wrapped)
        try:
            await waiter
        except BaseException:
            transport.abort()
            raise
        return wrapped._app_transport, protocol

    def serve(self, factory: Any, tls: Any) -> Listener:
        """Listen."""
        if self._address[1] == 0:
            self.bind(self._address)
        listener = Listener(self._network, self, factory, tls)
        self._network.listeners[self._address] = listener
        return listener


def _done(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


__all__ = ["NOBODY", "Address", "Link", "Listener", "Network", "Pair", "SimSocket", "place"]
