"""The same work with aiohttp: one ``send_str`` per client, on uvloop."""

from __future__ import annotations

import asyncio
import contextlib

import uvloop
from aiohttp import WSMsgType, web
from options import parse_options, stamped, tls_context

subscribers: set[web.WebSocketResponse] = set()
options = parse_options()


async def handle(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(compress=options.deflate)
    await socket.prepare(request)
    path = request.path
    subscribes = path not in ("/pub", "/echo", "/stamp", "/idle")
    if subscribes:
        subscribers.add(socket)
    try:
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            if path == "/pub":
                for subscriber in list(subscribers):
                    with contextlib.suppress(ConnectionError):
                        await subscriber.send_str(message.data)
            elif path == "/echo":
                await socket.send_str(message.data)
            elif path == "/stamp":
                await socket.send_str(stamped(message.data))
    finally:
        if subscribes:
            subscribers.discard(socket)
    return socket


async def main() -> None:
    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(
        runner, "127.0.0.1", options.port, ssl_context=tls_context(options), backlog=4096
    ).start()
    await asyncio.Future()


uvloop.run(main())
