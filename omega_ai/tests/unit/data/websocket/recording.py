"""Connections that keep what passed over them, so that a failed test can show it.

``Client`` is a thin coat over the ``websockets`` library, which shares no code with the server under test and
so judges it from outside. ``RawClient`` has the bare socket, for what no well-behaved library would send.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import struct
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import websockets
from websockets.asyncio.client import ClientConnection

SHOWN_FRAMES = 40
SHOWN_CHARACTERS = 400

Json = dict[str, Any]


class Recording:
    """The frames of one connection, oldest first."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._start = time.monotonic()
        self._lines: list[str] = []

    def note(self, mark: str, content: str | bytes) -> None:
        """``mark`` is > for sent, < for received, and * for what happened."""
        text = content if isinstance(content, str) else content.hex(" ")
        if len(text) > SHOWN_CHARACTERS:
            text = f"{text[:SHOWN_CHARACTERS]}... ({len(content)} in all)"
        self._lines.append(f"{(time.monotonic() - self._start) * 1000:9.1f} ms {mark} {text}")

    def __str__(self) -> str:
        left_out = len(self._lines) - SHOWN_FRAMES
        head = [f"({left_out} earlier ones left out)"] if left_out > 0 else []
        return "\n".join([f"{self.name}:", *head, *self._lines[-SHOWN_FRAMES:]])


class Client:
    """A connection of the ``websockets`` library that records, waits only so long, and reads JSON."""

    def __init__(self, connection: ClientConnection, recording: Recording, timeout: float) -> None:
        self.connection = connection
        self.recording = recording
        self._timeout = timeout

    async def send(self, message: Json | str | bytes) -> str | bytes:
        """Send a message, as JSON if it is a dict; returns what was sent."""
        text = json.dumps(message) if isinstance(message, dict) else message
        self.recording.note(">", text)
        async with asyncio.timeout(self._timeout):
            await self.connection.send(text)
        return text

    async def receive_text(self) -> str:
        """The next message as it came."""
        try:
            async with asyncio.timeout(self._timeout):
                text = await self.connection.recv()
        except TimeoutError:
            raise AssertionError(f"{self.recording.name}: nothing came within {self._timeout:g} s") from None
        except websockets.ConnectionClosed as error:
            self.recording.note("*", f"closed: {error}")
            raise
        self.recording.note("<", text)
        assert isinstance(text, str), "the server sends text frames only"
        return text

    async def receive(self) -> Json:
        """The next message; fractions are ``Decimal``, so that no digit is lost."""
        return parse(await self.receive_text())

    async def receive_type(self, kind: str) -> Json:
        """The next message of this type; others before it are passed over."""
        return await self.receive_where(lambda message: message["type"] == kind)

    async def receive_where(self, wanted: Callable[[Json], bool]) -> Json:
        """The next message that is ``wanted``; others before it are passed over."""
        deadline = time.monotonic() + self._timeout
        while True:
            message = await self.receive()
            if wanted(message):
                return message
            assert time.monotonic() < deadline, (
                f"{self.recording.name}: not among what came in {self._timeout:g} s"
            )

    async def ask(self, message: Json) -> Json:
        """Send, and receive the answer with the same ``id``."""
        await self.send(message)
        return await self.receive_where(lambda answer: answer.get("id") == message["id"])

    async def received_until_pong(self) -> list[Json]:
        """Everything that the server had sent before it answered a ping. No waiting: the order proves it."""
        request_id = f"until-{os.urandom(4).hex()}"
        await self.send({"type": "ping", "id": request_id})
        messages = []
        while (message := await self.receive()).get("id") != request_id:
            messages.append(message)
        return messages

    async def closed_with(self) -> tuple[int, str]:
        """Read until the server closes; returns its code and reason."""
        try:
            while True:
                await self.receive_text()
        except websockets.ConnectionClosed as error:
            if error.rcvd is None:
                raise AssertionError(f"{self.recording.name}: cut without a close frame") from error
            return error.rcvd.code, error.rcvd.reason

    async def close(self) -> None:
        """Close, at most once."""
        await self.connection.close()


class Closed(NamedTuple):
    """How a connection ended; ``code`` is None without a close frame."""

    code: int | None
    reason: str


class RawClient:
    """An open WebSocket on a bare socket: sends whatever bytes it is told."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        recording: Recording,
        timeout: float,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._timeout = timeout
        self.recording = recording

    @classmethod
    async def open(
        cls, url: str, recording: Recording, seconds: float, *, headers: Mapping[str, str] | None = None
    ) -> RawClient:
        """Connect and shake hands."""
        parts = urlsplit(url)
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            client = cls(reader, writer, recording, seconds)
            key = base64.b64encode(os.urandom(16)).decode()
            more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
            client.send(
                (
                    f"GET {parts.path or '/'}?channels= HTTP/1.1\r\nHost: {parts.netloc}\r\n"
                    "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                    f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
                ).encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
        recording.note("<", head.decode(errors="replace"))
        assert head.startswith(b"HTTP/1.1 101 "), (
            f"the handshake was refused: {head.decode(errors='replace')}"
        )
        return client

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.recording.note(">", data)
        self._writer.write(data)

    async def closed_with(self) -> Closed:
        """Read frames until the server closes, answer its close frame, and see the socket end."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._read_to_end()
        except TimeoutError:
            raise AssertionError(
                f"{self.recording.name}: the server did not close within {self._timeout:g} s"
            ) from None

    async def _read_to_end(self) -> Closed:
        closed = Closed(None, "")
        while True:
            try:
                opcode, payload = await self._read_frame()
            except (asyncio.IncompleteReadError, ConnectionError):
                self.recording.note("*", "the socket is closed")
                return closed
            if opcode == 8 and closed.code is None:
                code = struct.unpack("!H", payload[:2])[0] if payload else 1005
                closed = Closed(code, payload[2:].decode())
                self.send(frame(8, payload[:2]))

    async def _read_frame(self) -> tuple[int, bytes]:
        head = await self._reader.readexactly(2)
        length = head[1] & 0x7F
        if length > 125:
            length = int.from_bytes(await self._reader.readexactly(2 if length == 126 else 8), "big")
        payload = await self._reader.readexactly(length)
        self.recording.note("<", head + payload)
        return head[0] & 0x0F, payload

    async def close(self) -> None:
        """Let the socket go."""
        self._writer.close()
        with contextlib.suppress(OSError):  # the server may have cut it: some tests are about that
            await self._writer.wait_closed()


def frame(opcode: int, payload: bytes, *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """One frame of RFC 6455 section 5.2, right or wrong; ``rsv`` holds the three reserved bits."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    mask_bit = 0x80 if masked else 0
    if len(payload) < 126:
        head = struct.pack("!BB", first, mask_bit | len(payload))
    elif len(payload) < 1 << 16:
        head = struct.pack("!BBH", first, mask_bit | 126, len(payload))
    else:
        head = struct.pack("!BBQ", first, mask_bit | 127, len(payload))
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


def parse(text: str) -> Json:
    """A message of the server: a JSON object with a ``type``."""
    message = json.loads(text, parse_float=Decimal)
    assert isinstance(message, dict), f"not a JSON object: {text[:200]}"
    assert isinstance(message.get("type"), str), f"no type: {text[:200]}"
    return message
