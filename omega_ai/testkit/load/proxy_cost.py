"""What a fault proxy adds to every message when it has nothing else to do: measured, not assumed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import statistics
import time
from typing import Final

from omega_ai.testkit.proxy import FaultProxy
from omega_ai.testkit.proxy.address import join_host_port

ROUNDS: Final = 120
"""Messages there and back by which it is measured."""


class _Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)  # type: ignore[attr-defined]


async def added_by_proxy() -> int:
    """What a proxy of ours adds there and back, in ns: the median of messages through one, less that of the
    same without, against a server in this process."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Echo, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()[:2]
    try:
        async with FaultProxy(join_host_port(*address)) as proxy:
            return await asyncio.to_thread(_compared, address, (proxy.host, proxy.port))
    finally:
        server.close()
        await server.wait_closed()


def _compared(direct: tuple[str, int], via: tuple[str, int]) -> int:
    times: tuple[list[int], list[int]] = ([], [])
    with contextlib.ExitStack() as stack:
        ends = []
        for address in (direct, via):
            ends.append(stack.enter_context(socket.create_connection(address, timeout=10.0)))
            ends[-1].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(ROUNDS):  # in turn, so that what disturbs one disturbs the other
            for end, into in zip(ends, times, strict=True):
                began = time.perf_counter_ns()
                end.sendall(b"x" * 64)
                left = 64
                while left:
                    data = end.recv(left)
                    if not data:
                        raise OSError("the connection ended")
                    left -= len(data)
                into.append(time.perf_counter_ns() - began)
    return max(0, round(statistics.median(times[1]) - statistics.median(times[0])))
