"""An echo server in Python; run as a module, with a name of ``ECHOES``, it prints its port."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

import websockets
from aiohttp import WSMsgType, web

from omega_ai.tests.conformance.echo import echo_server

MESSAGE_LIMIT = 32 << 20


async def picows_raw() -> int:
    """Frames as picows gives them."""
    from omega_ai.tests.conformance.contenders import picows_echo

    return _port(await picows_echo.raw(MESSAGE_LIMIT))


async def picows_websockets() -> int:
    """The interface of ``websockets`` on picows."""
    from omega_ai.tests.conformance.contenders import picows_echo

    return _port(await picows_echo.like_websockets(MESSAGE_LIMIT))


async def websockets_echo() -> int:
    """The library ``websockets``."""

    async def echo(connection: websockets.ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    server = await websockets.serve(echo, "127.0.0.1", 0, max_size=MESSAGE_LIMIT)
    return _port(server)


async def aiohttp_echo() -> int:
    """aiohttp's server."""

    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=MESSAGE_LIMIT)
        await socket.prepare(request)
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                await socket.send_str(message.data)
            elif message.type == WSMsgType.BINARY:
                await socket.send_bytes(message.data)
        return socket

    app = web.Application()
    app.router.add_get("/", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return int(runner.addresses[0][1])


async def engine() -> int:
    """Ours."""
    manager = echo_server()
    _KEPT.append(manager)
    return await manager.__aenter__()


_KEPT: list[object] = []
"""What must live as long as the process."""
ECHOES: dict[str, Callable[[], Awaitable[int]]] = {
    "engine": engine,
    "websockets": websockets_echo,
    "picows-raw": picows_raw,
    "picows-websockets": picows_websockets,
    "aiohttp": aiohttp_echo,
}


def _port(server: object) -> int:
    _KEPT.append(server)
    sockets = getattr(server, "sockets", None) or server.server.sockets  # type: ignore[attr-defined] # picows' own
    return int(sockets[0].getsockname()[1])


async def _serve(name: str) -> None:
    print(await ECHOES[name](), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
