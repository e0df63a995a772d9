"""The same work as a Starlette application: one ``send_text`` per client."""

from __future__ import annotations

import contextlib

from options import stamped
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

subscribers: set[WebSocket] = set()


async def handle(socket: WebSocket) -> None:
    await socket.accept()
    path = socket.url.path
    subscribes = path not in ("/pub", "/echo", "/stamp", "/idle")
    if subscribes:
        subscribers.add(socket)
    try:
        while True:
            text = await socket.receive_text()
            if path == "/pub":
                for subscriber in list(subscribers):
                    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                        await subscriber.send_text(text)
            elif path == "/echo":
                await socket.send_text(text)
            elif path == "/stamp":
                await socket.send_text(stamped(text))
    except WebSocketDisconnect:
        pass
    finally:
        if subscribes:
            subscribers.discard(socket)


app = Starlette(routes=[WebSocketRoute("/{path:path}", handle)])
