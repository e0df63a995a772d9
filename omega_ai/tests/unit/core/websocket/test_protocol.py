"""The engine on a real event loop: backlogs, plain and over TLS, and the end of a connection."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from omega_ai.core.scheduler import LoopScheduler
from omega_ai.core.websocket.endpoint import Options
from omega_ai.core.websocket.frames import BINARY, EMPTY_CLOSE, build_frame
from omega_ai.core.websocket.server import ServerProtocol
from omega_ai.tests.certificates import Authority
from omega_ai.tests.unit.core.websocket.wire import REQUEST, Recording, masked

CHUNK = build_frame(BINARY, bytes(100_000))


class Server(Recording, ServerProtocol):
    """Records."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.events = []


@asynccontextmanager
async def connected(
    tls: tuple[ssl.SSLContext, ssl.SSLContext] | None, close_timeout: float = 5.0
) -> AsyncIterator[tuple[Server, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A server's connection and the raw client at its other end, which reads little ahead."""
    loop = asyncio.get_running_loop()
    options = Options(scheduler=LoopScheduler(loop), close_timeout=close_timeout)
    made: list[Server] = []

    def factory() -> asyncio.BaseProtocol:
        made.append(Server(options))
        return cast(asyncio.BaseProtocol, made[-1])

    listener = await loop.create_server(factory, "127.0.0.1", 0, ssl=tls[0] if tls else None)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    sock.setblocking(False)
    await loop.sock_connect(sock, listener.sockets[0].getsockname())
    if tls:
        reader, writer = await asyncio.open_connection(
            sock=sock, ssl=tls[1], server_hostname="localhost", limit=4096
        )
    else:
        reader, writer = await asyncio.open_connection(sock=sock, limit=4096)
    writer.write((REQUEST + "\r\n").encode())
    await reader.readuntil(b"\r\n\r\n")
    try:
        yield made[0], reader, writer
    finally:
        writer.close()
        listener.close()
        await until(lambda: made[0].events[-1:] == [("disconnected",)])


async def until(true: Callable[[], bool]) -> None:
    """Wait for what must come."""
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.002)


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's."""
    directory: Path = tmp_path_factory.mktemp("tls")
    authority = Authority()
    certificate, key = authority.issue().write(directory)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(cadata=authority.issued.certificate_pem.decode())
    return server, client


@pytest.mark.parametrize("secure", [False, True])
async def test_a_backlog_is_told_once_and_its_end_as_well(
    secure: bool, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    """Writing while the client reads is no backlog; writing while it does not is one, until it has read."""
    async with connected(contexts if secure else None) as (server, reader, _):
        assert server.write(build_frame(BINARY, b"small"))
        assert not server.blocked
        written = 0
        async with asyncio.timeout(10):
            while server.write(CHUNK):
                written += 1
                await asyncio.sleep(0)
        assert server.blocked
        assert ("drained",) not in server.events
        await reader.readexactly(7 + (written + 1) * len(CHUNK))
        await until(lambda: not server.blocked)
        assert server.events.count(("drained",)) == 1
        assert server.write(build_frame(BINARY, b"on"))
        assert await reader.readexactly(4) == build_frame(BINARY, b"on")


@pytest.mark.parametrize("secure", [False, True])
async def test_a_close_frame_arrives_although_the_peer_goes_on_sending(
    secure: bool, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    """No reset destroys it on its way (RFC 6455 section 7.1.1)."""
    async with connected(contexts if secure else None) as (server, reader, writer):
        writer.write(masked(8) + masked(1, b"never read") * 100)
        assert await reader.read() == EMPTY_CLOSE
        assert ("text", b"never read") not in server.events


async def test_a_peer_that_stays_is_cut_off_in_time() -> None:
    """After close_timeout, on the loop's own clock."""
    async with connected(None, close_timeout=0.05) as (server, reader, _):
        server.close(1001)
        assert len(await reader.read()) == 4
        assert server.events[-1] == ("disconnected",)


async def test_a_connection_that_just_ends_is_told() -> None:
    """Without a close frame there is no close event, but always the last one."""
    async with connected(None) as (server, _, writer):
        writer.transport.abort()
        await until(lambda: server.events == [("open",), ("disconnected",)])
