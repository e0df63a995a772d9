"""Our client against our server over real sockets: what the judge drives, without the judge."""

from __future__ import annotations

import asyncio
import os
from typing import cast

import pytest

from omega_ai.core.websocket.client import Opening
from omega_ai.core.websocket.deflate import compress_once
from omega_ai.core.websocket.frames import BINARY, TEXT
from omega_ai.core.websocket.handshake import new_key
from omega_ai.tests.conformance.echo import EchoClient, client_options, echo_server


class Asking(EchoClient):
    """Sends, and collects what comes back."""

    __slots__ = ("got",)

    def on_open(self) -> None:
        self.got: list[bytes] = []

    def on_text(self, data: bytes) -> None:
        self.got.append(data)

    def on_binary(self, data: bytes) -> None:
        self.got.append(data)


@pytest.mark.parametrize("compression", [False, True])
async def test_messages_come_back_as_they_were_sent(compression: bool) -> None:
    """Small, empty, large, binary, fragmented; then both sides close in order."""
    large = os.urandom(3 << 20)
    options = client_options()
    async with echo_server() as port:
        opening = Opening(host="localhost", target="/", key=new_key(os.urandom(16)), compression=compression)
        _, made = await asyncio.get_running_loop().create_connection(
            lambda: cast(asyncio.BaseProtocol, Asking(options, opening)), "127.0.0.1", port
        )
        client = cast(Asking, made)
        async with asyncio.timeout(20):
            while client.response is None:
                await asyncio.sleep(0.001)
            assert (client.compression is not None) is compression
            for opcode, data in ((TEXT, b"hi"), (TEXT, b""), (TEXT, "€".encode() * 5000), (BINARY, large)):
                if compression:
                    client.send_frame(opcode, compress_once(data), rsv1=True)
                else:
                    client.send_frame(opcode, data)
            client.send_frame(TEXT, b"frag", fin=False)
            client.ping(b"between")
            client.send_frame(0, b"ment")
            while len(client.got) < 5:
                await asyncio.sleep(0.005)
            client.close(1000, "done")
            await client.ended.wait()
    assert client.got == [b"hi", b"", "€".encode() * 5000, large, b"fragment"]
