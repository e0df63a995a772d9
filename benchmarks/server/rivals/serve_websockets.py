"""The same work with ``websockets``: its own ``broadcast``, on uvloop."""

from __future__ import annotations

import asyncio

import uvloop
from options import parse_options, stamped, tls_context
from websockets.asyncio.server import ServerConnection, broadcast, serve

subscribers: set[ServerConnection] = set()


async def handle(connection: ServerConnection) -> None:
    path = connection.request.path if connection.request is not None else "/"
    if path == "/pub":
        async for message in connection:
            broadcast(subscribers, message)
    elif path == "/echo":
        async for message in connection:
            await connection.send(message)
    elif path == "/stamp":
        async for message in connection:
            await connection.send(stamped(message))
    elif path == "/idle":
        await connection.wait_closed()
    else:
        subscribers.add(connection)
        try:
            await connection.wait_closed()
        finally:
            subscribers.discard(connection)


async def main() -> None:
    options = parse_options()
    async with serve(
        handle,
        "127.0.0.1",
        options.port,
        ssl=tls_context(options),
        compression="deflate" if options.deflate else None,
        backlog=4096,
    ):
        await asyncio.Future()


uvloop.run(main())
