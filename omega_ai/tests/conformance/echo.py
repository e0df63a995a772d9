"""Echo on the engine, for the judge alone: nothing that is shipped answers like this."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from omega_ai.core.scheduler import LoopScheduler
from omega_ai.core.websocket.client import ClientProtocol, Opening
from omega_ai.core.websocket.deflate import compress_once
from omega_ai.core.websocket.endpoint import Endpoint, Options
from omega_ai.core.websocket.frames import BINARY, TEXT
from omega_ai.core.websocket.handshake import HandshakeError, new_key
from omega_ai.core.websocket.server import ServerProtocol

# The judge sends messages of 16 MiB and messages of 65,536 fragments (groups 9, 12 and 13).
MESSAGE_LIMIT = 32 << 20
FRAGMENTS_LIMIT = 1 << 17


def echo(endpoint: Endpoint, opcode: int, data: bytes) -> None:
    """Send ``data`` back, compressed if that was agreed on."""
    agreed = endpoint.compression
    if agreed is not None and agreed.can_send:
        packed = compress_once(data, window_bits=agreed.send_window_bits)
        endpoint.send_frame(opcode, packed, rsv1=True)
    else:
        endpoint.send_frame(opcode, data)


class EchoServerConnection(ServerProtocol):
    """A server's connection that echoes."""

    __slots__ = ()

    def on_text(self, data: bytes) -> None:
        """Echo it."""
        echo(self, TEXT, data)

    def on_binary(self, data: bytes) -> None:
        """Echo it."""
        echo(self, BINARY, data)


class EchoClient(ClientProtocol):
    """A client's connection that echoes, and remembers the last text."""

    __slots__ = ("ended", "last_text", "refused")

    def __init__(self, options: Options, opening: Opening) -> None:
        super().__init__(options, opening)
        self.ended = asyncio.Event()
        self.last_text = b""
        self.refused: HandshakeError | None = None

    def on_text(self, data: bytes) -> None:
        """Echo it."""
        self.last_text = data
        echo(self, TEXT, data)

    def on_binary(self, data: bytes) -> None:
        """Echo it."""
        echo(self, BINARY, data)

    def on_refused(self, error: HandshakeError) -> None:
        """No connection."""
        self.refused = error
        self.ended.set()

    def on_disconnected(self) -> None:
        """Over."""
        self.ended.set()


def server_options() -> Options:
    """Limits that let the judge's largest messages through. Within a running event loop."""
    return Options(
        scheduler=LoopScheduler(asyncio.get_running_loop()),
        message_limit=MESSAGE_LIMIT,
        fragments_limit=FRAGMENTS_LIMIT,
    )


def client_options() -> Options:
    """The same, for a client."""
    return Options(
        scheduler=LoopScheduler(asyncio.get_running_loop()),
        message_limit=MESSAGE_LIMIT,
        fragments_limit=FRAGMENTS_LIMIT,
        mask_key=lambda: os.urandom(4),
    )


@asynccontextmanager
async def echo_server() -> AsyncIterator[int]:
    """An echo server on loopback; gives its port."""
    options = server_options()
    server = await asyncio.get_running_loop().create_server(
        lambda: cast(asyncio.BaseProtocol, EchoServerConnection(options)), "127.0.0.1", 0
    )
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


async def echo_client(port: int, target: str, options: Options) -> EchoClient:
    """Connect to loopback, echo until the connection is over, and return it."""
    opening = Opening(host=f"127.0.0.1:{port}", target=target, key=new_key(os.urandom(16)), compression=True)
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: cast(asyncio.BaseProtocol, EchoClient(options, opening)), "127.0.0.1", port
    )
    client = cast(EchoClient, connection)
    await client.ended.wait()
    if client.refused is not None:
        raise client.refused
    return client
