"""A client in Python that sends back what it is sent, again and again: ``python_client NAME URL``."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import aiohttp
import websockets

from omega_ai.core.websocket.handshake import HandshakeError
from omega_ai.tests.conformance.echo import client_options, echo_client

MESSAGE_LIMIT = 32 << 20


async def engine(url: str) -> None:
    """Ours."""
    parts = urlsplit(url)
    with contextlib.suppress(HandshakeError):
        await echo_client(parts.port or 80, parts.path, client_options())


async def websockets_client(url: str) -> None:
    """The library ``websockets``."""
    with contextlib.suppress(websockets.WebSocketException, EOFError):
        async with websockets.connect(url, max_size=MESSAGE_LIMIT, ping_interval=None) as connection:
            async for message in connection:
                await connection.send(message)


async def aiohttp_client(url: str) -> None:
    """aiohttp's client."""
    with contextlib.suppress(aiohttp.ClientError):
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, max_msg_size=MESSAGE_LIMIT, compress=15) as socket,
        ):
            async for message in socket:
                if message.type == aiohttp.WSMsgType.TEXT:
                    await socket.send_str(message.data)
                elif message.type == aiohttp.WSMsgType.BINARY:
                    await socket.send_bytes(message.data)


CLIENTS: dict[str, Callable[[str], Awaitable[None]]] = {
    "engine": engine,
    "websockets": websockets_client,
    "aiohttp": aiohttp_client,
}


async def _again_and_again(name: str, url: str) -> None:
    while True:
        with contextlib.suppress(OSError, TimeoutError, ValueError):
            await CLIENTS[name](url)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_again_and_again(sys.argv[1], sys.argv[2]))
