"""A connection of bare bytes, for what no right client would send, and for reading answers as they are."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from omega_ai.core.client_tls import explain
from omega_ai.core.websocket.client import Opening
from omega_ai.core.websocket.frames import build_frame
from omega_ai.core.websocket.handshake import (
    RESPONSE_LIMIT,
    HandshakeError,
    Response,
    build_request,
    new_key,
    parse_response,
)
from omega_ai.testkit.connection import DEFAULT_WAIT, Address, ConnectFailed

if TYPE_CHECKING:
    from omega_ai.testkit.context import Context

READ_LIMIT = 1 << 20
"""Bytes of an answer that are read."""


class RawConnection:
    """Bytes out, bytes in. ``async with RawConnection.open(...)``."""

    def __init__(self, context: Context, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._context = context
        self._reader = reader
        self._writer = writer
        self.rest = b""
        """What was read behind the head of the answer."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls, context: Context, address: Address, *, within: float = DEFAULT_WAIT
    ) -> AsyncIterator[RawConnection]:
        """Connect by TCP, and TLS for a wss address.

        Raises:
            ConnectFailed: there is no connection.
        """
        tls = context.target.tls_context() if address.secure else None
        try:
            async with asyncio.timeout(within):
                reader, writer = await asyncio.open_connection(
                    address.host, address.port, ssl=tls, server_hostname=address.host if tls else None
                )
        except TimeoutError:
            raise ConnectFailed("timeout", f"no connection within {within:g} s") from None
        except ssl.SSLError as error:
            raise ConnectFailed("tls", explain(error, address.host)) from None
        except OSError as error:
            raise ConnectFailed("tcp", f"no TCP connection: {error.strerror or error}") from None
        try:
            yield cls(context, reader, writer)
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self._writer.write(data)

    def send_frame(self, opcode: int, payload: bytes, *, masked: bool = True, fin: bool = True) -> None:
        """Send one frame."""
        mask = self._context.rng.randbytes(4) if masked else None
        self.send(build_frame(opcode, payload, fin=fin, mask=mask))

    async def upgrade(
        self, address: Address, *, headers: tuple[tuple[str, str], ...] = ()
    ) -> Response | None:
        """Do the opening handshake; what the server answered, None if nothing."""
        context = self._context
        opening = Opening(
            host=address.host_header, target=address.target, key=new_key(context.rng.randbytes(16))
        )
        subprotocols = context.profile.connect.subprotocols
        given = (*context.target.headers(), *headers)
        self.send(
            build_request(opening.host, opening.target, opening.key, subprotocols=subprotocols, headers=given)
        )
        return await self.read_head()

    async def read_head(self, within: float = DEFAULT_WAIT) -> Response | None:
        """The head of an HTTP answer; None if none came in time, or it is not HTTP."""
        data = b""
        try:
            async with asyncio.timeout(within):
                while b"\r\n\r\n" not in data and len(data) < RESPONSE_LIMIT:
                    more = await self._reader.read(4096)
                    if not more:
                        return None
                    data += more
        except (TimeoutError, OSError):
            return None
        head, _, self.rest = data.partition(b"\r\n\r\n")
        try:
            return parse_response(head)
        except HandshakeError:
            return None

    async def read_to_end(self, within: float = DEFAULT_WAIT) -> tuple[bytes, bool]:
        """What comes until the server ends the connection; and whether it did, in time."""
        data = self.rest
        try:
            async with asyncio.timeout(within):
                while len(data) < READ_LIMIT:
                    more = await self._reader.read(65_536)
                    if not more:
                        return data, True
                    data += more
        except TimeoutError:
            return data, False
        except OSError:
            return data, True
        return data, False
