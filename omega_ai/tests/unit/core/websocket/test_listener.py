"""``StrictListener`` on picows and real sockets: the same strictness, within what picows lets through."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import picows
import pytest

from omega_ai.core.scheduler import LoopScheduler
from omega_ai.core.websocket.deflate import OFFER, DeflateParams, compress_once
from omega_ai.core.websocket.endpoint import Options
from omega_ai.core.websocket.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    EMPTY_CLOSE,
    PING,
    PONG,
    TEXT,
    build_frame,
    text_frame,
)
from omega_ai.core.websocket.handshake import accept_value
from omega_ai.core.websocket.listener import StrictListener, accept_with, agreed_deflate, upgrade_for_picows
from omega_ai.tests.unit.core.websocket.wire import MASK, REQUEST, Frame, Recording, masked, read_frames

ANSWER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


class Listener(Recording, StrictListener):
    """Records, and echoes text."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.events: list[tuple[Any, ...]] = []
        self.over = asyncio.Event()

    def on_text(self, data: bytes) -> None:
        super().on_text(data)
        self.send_text(data)

    def on_disconnected(self) -> None:
        super().on_disconnected()
        self.over.set()


@asynccontextmanager
async def served() -> AsyncIterator[tuple[list[Listener], asyncio.StreamReader, asyncio.StreamWriter]]:
    """A picows server, and one raw client that has upgraded with compression, as Firefox asks for it."""
    options = Options(
        scheduler=LoopScheduler(asyncio.get_running_loop()), message_limit=1000, close_timeout=1
    )
    made: list[Listener] = []

    def factory(request: picows.WSUpgradeRequest) -> picows.WSUpgradeResponseWithListener:
        upgrade = upgrade_for_picows(request)
        if isinstance(upgrade, picows.WSUpgradeResponse):
            return picows.WSUpgradeResponseWithListener(upgrade, None)
        made.append(Listener(options))
        return accept_with(made[-1], upgrade)

    server = await picows.ws_create_server(
        factory, "127.0.0.1", 0, enable_auto_pong=False, max_frame_size=1000, use_aiofastnet=False
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
    request = REQUEST.replace("Connection: Upgrade", "Connection: keep-alive, Upgrade")
    writer.write(f"{request}Sec-WebSocket-Extensions: {OFFER}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert b" 101 " in head
    assert b"permessage-deflate" in head
    try:
        yield made, reader, writer
    finally:
        writer.close()
        server.close()
        await server.wait_closed()


async def test_messages_and_pings_are_answered() -> None:
    """Whole, fragmented, compressed; pings in between, in order."""
    async with served() as (made, reader, writer):
        writer.write(
            masked(TEXT, b"a")
            + masked(TEXT, b"b", fin=False)
            + masked(PING, b"1")
            + masked(PING, b"2")
            + masked(CONTINUATION, b"c")
            + masked(TEXT, compress_once(b"packed"), rsv1=True)
            + masked(BINARY, b"\xff")
            + masked(CLOSE)
        )
        assert read_frames(await reader.read()) == [
            Frame(TEXT, b"a"),
            Frame(PONG, b"1"),
            Frame(PONG, b"2"),
            Frame(TEXT, b"bc"),
            Frame(TEXT, b"packed"),
            Frame(CLOSE, b""),
        ]
        await made[0].over.wait()
        assert made[0].events[-2:] == [("close", 1005, ""), ("disconnected",)]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (masked(TEXT, b"\xff"), 1007),
        (masked(CONTINUATION, b"x"), 1002),
        (b"\xa1\x80" + MASK, 1002),
        (masked(CLOSE, b"\x03\xee"), 1002),
        (masked(TEXT, b"x" * 600, fin=False) + masked(CONTINUATION, b"x" * 600), 1009),
        (masked(TEXT, compress_once(bytes(5000)), rsv1=True), 1009),
        (masked(TEXT, b"x" * 1001), 1009),
        (b"\x83\x80" + MASK, 1002),
        (build_frame(TEXT, b"not masked"), 1002),
    ],
)
async def test_errors_end_the_connection_with_one_close_frame(data: bytes, code: int) -> None:
    """Found by us or by picows: the event is the same."""
    async with served() as (made, reader, writer):
        writer.write(data)
        frames = read_frames(await reader.read())
        assert [frame.payload[:2] for frame in frames] == [code.to_bytes(2, "big")]
        await made[0].over.wait()
        assert made[0].events == [("open",), ("error", code), ("disconnected",)]


async def test_a_refusal_is_an_http_answer() -> None:
    """With our status and words instead of picows' 400."""

    def factory(request: picows.WSUpgradeRequest) -> picows.WSUpgradeResponseWithListener:
        answer = upgrade_for_picows(request)
        assert isinstance(answer, picows.WSUpgradeResponse)
        return picows.WSUpgradeResponseWithListener(answer, None)

    server = await picows.ws_create_server(factory, "127.0.0.1", 0, use_aiofastnet=False)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
    writer.write((REQUEST.replace("Version: 13", "Version: 7") + "\r\n").encode())
    assert (await reader.read()).startswith(b"HTTP/1.1 426 ")
    writer.close()
    server.close()
    await server.wait_closed()


async def test_as_a_client_it_masks_and_waits_for_the_server_to_end() -> None:
    """RFC 6455 sections 5.3 and 7.1.1, and reads the answer about compression."""
    got = bytearray()
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        key = next(line.split(": ")[1] for line in head.split("\r\n") if "-Key" in line)
        writer.write(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept_value(key)}\r\n"
            f"Sec-WebSocket-Extensions: {ANSWER}\r\n\r\n".encode()
        )
        writer.write(text_frame(b"hi") + EMPTY_CLOSE)
        while len(got) < 8 + 6:
            got.extend(await reader.read(100))
        writer.close()
        ended.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    options = Options(
        scheduler=LoopScheduler(asyncio.get_running_loop()), close_timeout=5, mask_key=lambda: os.urandom(4)
    )

    def factory(_: picows.WSUpgradeRequest, response: picows.WSUpgradeResponse) -> Listener:
        listener = Listener(options)
        listener._deflate = agreed_deflate(response)
        return listener

    _, listener = await picows.ws_connect(
        factory,
        f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}",
        enable_auto_pong=False,
        extra_headers={"Sec-WebSocket-Extensions": OFFER},
    )
    assert isinstance(listener, Listener)
    await listener.over.wait()
    await ended.wait()
    assert listener.compression == DeflateParams()
    assert read_frames(bytes(got)) == [Frame(TEXT, b"hi", masked=True), Frame(CLOSE, b"", masked=True)]
    assert listener.events == [("open",), ("text", b"hi"), ("close", 1005, ""), ("disconnected",)]
    server.close()
    await server.wait_closed()
