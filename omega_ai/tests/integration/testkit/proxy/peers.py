"""Servers and clients of bare bytes, which see how connections end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

WAIT = 20.0
"""Seconds that anything may take before a test fails; generous, since the machine may be busy."""


class Peer:
    """One end of a connection. ``read_to_end`` says how the other end was: ``end`` or ``reset``."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def end(self) -> None:
        """FIN; reading goes on."""
        self.writer.write_eof()

    def reset(self) -> None:
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def read(self, size: int) -> bytes:
        """Exactly so many bytes."""
        async with asyncio.timeout(WAIT):
            return await self._reader.readexactly(size)

    async def read_to_end(self) -> tuple[bytes, str]:
        data = b""
        async with asyncio.timeout(WAIT):
            while True:
                try:
                    more = await self._reader.read(65_536)
                except OSError:
                    return data, "reset"
                if not more:
                    return data, "end"
                data += more

    async def nothing_comes(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._reader.read(1)
        except TimeoutError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        self.writer.transport.abort()


class Server:
    """Accepts connections, and gives them to the test one after the other."""

    def __init__(self) -> None:
        self.port = 0
        self.accepted: asyncio.Queue[Peer] = asyncio.Queue()
        self.peers: list[Peer] = []
        self.closed = False

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def accept(self) -> Peer:
        async with asyncio.timeout(WAIT):
            return await self.accepted.get()


@asynccontextmanager
async def serving(
    handle: Callable[[Peer], Awaitable[None]] | None = None, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    """A server; ``handle`` serves each connection, otherwise the test does."""
    server = Server()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        if server.closed:  # it was accepted in the very moment in which the test ended
            peer.close()
            return
        server.peers.append(peer)
        server.accepted.put_nowait(peer)
        if handle is not None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, RuntimeError):
                await handle(peer)

    listening = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        server.closed = True
        for peer in server.peers:
            peer.close()
        await listening.wait_closed()


async def echo(peer: Peer) -> None:
    """Sends everything back, and ends when the client has ended."""
    while data := await peer._reader.read(65_536):
        peer.send(data)
        await peer.writer.drain()
    peer.end()


@asynccontextmanager
async def connected(port: int, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    async with asyncio.timeout(WAIT):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=tls, server_hostname="localhost" if tls else None
        )
    peer = Peer(reader, writer)
    try:
        yield peer
    finally:
        peer.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(WAIT):
        while not condition():
            await asyncio.sleep(0.005)
