"""Small servers that are not ours, for tests: what people run, by the ``websockets`` library."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

Handler = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """Run ``handler`` for every connection; gives the URL."""
    async with serve(handler, "127.0.0.1", 0, max_size=1 << 20, open_timeout=5) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{port}/"


async def echo(connection: ServerConnection) -> None:
    """Send everything back."""
    async for message in connection:
        await connection.send(message)


class Chat:
    """A room: who joins gets what others say, and what it says itself."""

    def __init__(self) -> None:
        self.members: set[ServerConnection] = set()

    async def __call__(self, connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in connection:
                message = json.loads(text)
                if message.get("action") == "join":
                    self.members.add(connection)
                    await connection.send(json.dumps({"event": "joined", "room": message["room"]}))
                elif message.get("action") == "say":
                    said = {"event": "said", "room": message["room"], "text": message["text"]}
                    broadcast(self.members, json.dumps(said))
        self.members.discard(connection)


async def json_rpc(connection: ServerConnection) -> None:
    """JSON-RPC 2.0 with the method ``echo``."""
    async for text in connection:
        try:
            request = json.loads(text)
        except ValueError:
            request = None
        answer: dict = {"jsonrpc": "2.0", "id": request.get("id") if isinstance(request, dict) else None}
        if request is None:
            answer["error"] = {"code": -32700, "message": "Parse error"}
        elif not isinstance(request, dict) or request.get("jsonrpc") != "2.0":
            answer["error"] = {"code": -32600, "message": "Invalid Request"}
            answer["id"] = None
        elif request.get("method") != "echo":
            answer["error"] = {"code": -32601, "message": "Method not found"}
        else:
            answer["result"] = request["params"]
        await connection.send(json.dumps(answer))


class Market:
    """A feed of trades with sequence numbers, 50 a second; every ``lose``-th is lost if that is not 0."""

    def __init__(self, lose: int = 0) -> None:
        self.lose = lose

    async def __call__(self, connection: ServerConnection) -> None:
        request = json.loads(await connection.recv())
        await connection.send(json.dumps({"op": "subscribed", "market": request["market"]}))
        number = 0
        with contextlib.suppress(ConnectionClosed):
            while True:
                number += 1
                trade = {
                    "op": "trade",
                    "market": request["market"],
                    "n": number,
                    "ts": round(time.time() * 1000),
                    "px": f"{60000 + number % 7}.50",
                }
                if not self.lose or number % self.lose:
                    await connection.send(json.dumps(trade))
                await asyncio.sleep(0.02)


class Repeater:
    """Sends everything to everybody, and agrees to whatever subprotocol is offered."""

    def __init__(self) -> None:
        self.members: set[ServerConnection] = set()

    async def __call__(self, connection: ServerConnection) -> None:
        self.members.add(connection)
        with contextlib.suppress(ConnectionClosed):
            async for text in connection:
                broadcast(self.members, text)
        self.members.discard(connection)
