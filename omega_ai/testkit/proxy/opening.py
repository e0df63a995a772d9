"""What happens between the moment at which a client is accepted and that at which bytes flow."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Final

from omega_ai.testkit.faults.model import Opening
from omega_ai.testkit.proxy.wire import READ_SIZE, abort

CONNECT_WAIT: Final = 30.0
"""Seconds in which the server must have accepted."""
SILENT_TAKES: Final = 65_536
"""Bytes that a silent host takes, as its kernel would."""

Note = Callable[[str, str], None]


async def obey(opening: Opening, client: socket.socket, note: Note) -> bool:
    """Do what faults decided over a new connection; whether it is to be connected to the server then."""
    if opening.delay:
        note("kept waiting", f"{opening.delay:g} s")
        await asyncio.sleep(opening.delay)
    if opening.refuse is not None:
        note("refused", opening.refuse)
        if opening.refuse == "reset":
            abort(client)
        return False
    if opening.silent:
        note("met with silence", "")
        await _be_silent(client)
        return False
    return True


async def connect(host: str, port: int) -> socket.socket:
    """A connection to the server, at the first of its addresses that answers.

    Raises:
        OSError: none does.
        TimeoutError: none did within ``CONNECT_WAIT``.
    """
    loop = asyncio.get_running_loop()
    failure = OSError(f"{host} has no address")
    async with asyncio.timeout(CONNECT_WAIT):
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for family, kind, protocol, _, address in found:
            sock = socket.socket(family, kind, protocol)
            sock.setblocking(False)
            try:
                await loop.sock_connect(sock, address)
            except OSError as error:
                sock.close()
                failure = error
            except BaseException:
                sock.close()
                raise
            else:
                return sock
    raise failure


async def _be_silent(client: socket.socket) -> None:
    """Until the client goes; when it has sent too much, we do not look any more whether it does."""
    loop = asyncio.get_running_loop()
    taken = 0
    with contextlib.suppress(OSError):
        while taken < SILENT_TAKES:
            data = await loop.sock_recv(client, READ_SIZE)
            if not data:
                return
            taken += len(data)
        await loop.create_future()
