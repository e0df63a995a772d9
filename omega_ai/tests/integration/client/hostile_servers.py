"""Servers that misbehave, each in one way, on a free port of this machine."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

Handler = Callable[["Peer"], Awaitable[None]]
TIME = "2026-01-01T00:00:00.000000Z"


class Peer:
    """One client, seen from a server that writes its frames by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.reader = reader
        self.writer = writer
        self.number = number
        """How many came before it."""
        self.head = ""
        self._accepted = False

    async def read_request(self) -> str:
        """The request's head."""
        self.head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        return self.head

    def header(self, name: str) -> str | None:
        """A header of the request."""
        for line in self.head.split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return None

    async def accept(self, *extra: str) -> None:
        """Shake hands."""
        self._accepted = True
        await self.read_request()
        key = (self.header("Sec-WebSocket-Key") or "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        lines = ["Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {accept}", *extra]
        self.write(("HTTP/1.1 101 Switching Protocols\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode())

    def write(self, data: bytes) -> None:
        """Bytes as they are."""
        self.writer.write(data)

    def frame(self, opcode: int, payload: bytes, first: int = 0x80) -> None:
        """One frame."""
        size = len(payload)
        head = bytes([size]) if size < 126 else struct.pack("!BH", 126, size)
        self.write(bytes([first | opcode]) + head + payload)

    def send(self, message: dict[str, Any] | str) -> None:
        """A text message."""
        text = message if isinstance(message, str) else json.dumps(message)
        self.frame(1, text.encode())

    def close(self, code: int, reason: str = "") -> None:
        """A close frame."""
        self.frame(8, struct.pack("!H", code) + reason.encode())

    async def receive(self) -> dict[str, Any]:
        """The next text message; control frames are passed over."""
        while True:
            opcode, payload = await self.receive_frame()
            if opcode == 1:
                message: dict[str, Any] = json.loads(payload)
                return message

    async def receive_frame(self) -> tuple[int, bytes]:
        """The next frame, unmasked."""
        first, second = await self.reader.readexactly(2)
        size = second & 0x7F
        if size == 126:
            size = int.from_bytes(await self.reader.readexactly(2), "big")
        mask = await self.reader.readexactly(4)
        data = await self.reader.readexactly(size)
        return first & 0x0F, bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))

    async def confirm(self, epoch: str = "e", seq: int = 0) -> dict[str, Any]:
        """Answer the subscriptions until one that is not of the heartbeat; returns it."""
        while True:
            asked = await self.receive()
            for channel in asked["channels"]:
                answer = {"type": "subscribed", "id": asked["id"], "channel": channel, "mode": asked["mode"]}
                if channel != "heartbeat":
                    answer |= {"epoch": epoch, "seq": seq, "recovered": channel in asked.get("since", {})}
                self.send(answer)
            if asked["channels"] != ["heartbeat"]:
                return asked

    def publish(self, *seqs: int, epoch: str = "e") -> None:
        """Broadcasts with these positions."""
        for seq in seqs:
            self.send({"type": "broadcast", "epoch": epoch, "seq": seq, "timestamp": TIME})

    async def gone(self) -> None:
        """Wait until the client has closed the socket, or has sent a close frame."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            if self._accepted:
                while (await self.receive_frame())[0] != 8:
                    pass
            else:
                while await self.reader.read(65536):
                    pass


@contextlib.asynccontextmanager
async def server(handler: Handler) -> AsyncIterator[str]:
    """Runs ``handler`` for every client; yields the URL. What it raises is raised at the end."""
    failures: list[BaseException] = []
    tasks: set[asyncio.Task[None]] = set()
    count = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        peer = Peer(reader, writer, count)
        count += 1
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(peer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except Exception as error:
            failures.append(error)
        finally:
            writer.transport.abort()
            tasks.discard(task)

    listening = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listening.wait_closed()
    if failures:
        raise failures[0]
