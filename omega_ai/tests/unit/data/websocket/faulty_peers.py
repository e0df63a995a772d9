"""Servers that do not do what they should, and a proxy that cuts connections."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit

import websockets
from websockets.asyncio.server import ServerConnection

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def tcp_server(handler: Handler) -> AsyncIterator[int]:
    """A TCP server on a free port, which is yielded; its connections end with it."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await handler(reader, writer)
        finally:
            writer.transport.abort()
            tasks.discard(task)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def swallow(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Accept, read, and never answer."""
    while await reader.read(65536):
        pass


@contextlib.asynccontextmanager
async def silent_websocket(tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A WebSocket server that shakes hands and then says nothing whatever it is told."""

    async def handle(connection: ServerConnection) -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            async for _ in connection:
                pass

    protocols = [websockets.Subprotocol("omega.v2")]
    async with websockets.serve(
        handle, "127.0.0.1", 0, subprotocols=protocols, ssl=tls, close_timeout=1
    ) as server:
        yield next(iter(server.sockets)).getsockname()[1]


class CuttingProxy:
    """Passes bytes to ``url`` and back, until told to cut: then neither side gets a close frame."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self._writers: set[asyncio.StreamWriter] = set()
        self.connections = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Runs while the context lasts; yields the URL to connect to."""
        async with tcp_server(self._handle) as port:
            yield f"ws://127.0.0.1:{port}"
            self.cut()

    def cut(self) -> None:
        """Reset every connection that passes through."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            there_reader, there_writer = await asyncio.open_connection(self._url.hostname, self._url.port)
        except OSError:
            return
        pair = {writer, there_writer}
        self._writers |= pair
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pass_on(reader, there_writer))
                group.create_task(_pass_on(there_reader, writer))
        finally:
            self._writers -= pair
            there_writer.transport.abort()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        if not writer.is_closing():
            writer.write_eof()
