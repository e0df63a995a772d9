"""What it costs to be watched: the HTTP side's answers, without clients and with very many.

    python benchmarks/scrape.py                     10,000 clients that only wait
    python benchmarks/scrape.py --clients 2000

A feed with simulated prices is asked for its metrics, status, health and price, one request after the other
on one connection: first alone, then with clients that are connected and subscribed to nothing. Told: the
median time of an answer, and the server's CPU time for it, prices included.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

from omega_ai.tests.feed_server import FeedProcess

PATHS = ("/metrics", "/api/status", "/healthz", "/api/price")
TICK = os.sysconf("SC_CLK_TCK")


class Idle(asyncio.Protocol):
    """Shakes hands and waits. It answers no pings: none come within the hour."""

    def __init__(self, there: asyncio.Future[None]) -> None:
        self._there = there

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(
            b"GET /?channels= HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )

    def data_received(self, data: bytes) -> None:
        if not self._there.done():
            if data.startswith(b"HTTP/1.1 101"):
                self._there.set_result(None)
            else:
                self._there.set_exception(RuntimeError(f"refused: {data[:200]!r}"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._there.done():
            self._there.set_exception(RuntimeError(f"cut: {exc}"))


async def connect(url: str, count: int) -> list[asyncio.Transport]:
    """So many clients that wait."""
    loop = asyncio.get_running_loop()
    host, _, port = url.removeprefix("ws://").rpartition(":")
    held: list[asyncio.Transport] = []
    while len(held) < count:
        batch = [loop.create_future() for _ in range(min(250, count - len(held)))]
        for there in batch:
            transport, _ = await loop.create_connection(
                lambda there=there: Idle(there),  # type: ignore[misc]
                host,
                int(port),
            )
            held.append(transport)
        await asyncio.gather(*batch)
    return held


async def ask(url: str, path: str, times: int) -> list[float]:
    """How long each of so many answers took, in seconds."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 22)
    taken = []
    try:
        for _ in range(times):
            began = time.perf_counter()
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            if not head.startswith("http/1.1 200"):
                raise RuntimeError(f"{path}: {head.splitlines()[0]}")
            await reader.readexactly(int(head.partition("content-length:")[2].split()[0]))
            taken.append(time.perf_counter() - began)
    finally:
        writer.close()
    return taken


def cpu(pid: int) -> float:
    """Seconds of CPU time used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


async def table(feed: FeedProcess, clients: int, times: int) -> None:
    """The lines for so many clients."""
    assert feed.pid is not None
    http = str(feed.at.http)
    for path in PATHS:
        await ask(http, path, 20)
        used = cpu(feed.pid)
        taken = await ask(http, path, times)
        used = (cpu(feed.pid) - used) / times
        print(f"{clients:8} {path:12} {statistics.median(taken) * 1e3:9.3f} {used * 1e3:9.3f}", flush=True)


async def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=400, help="requests of each kind")
    given = parser.parse_args()
    arguments = (
        "--source simulated --broker memory --port 0 --tls-port off --http-port 0 --max-connections 50000"
        " --ping-interval 3600 --log-level info"
    )
    with tempfile.TemporaryDirectory() as directory:
        feed = FeedProcess(Path(directory), *arguments.split())
        await asyncio.to_thread(feed.start)
        try:
            print(" clients path         median ms    CPU ms")
            await table(feed, 0, given.times)
            held = await connect(feed.at.ws, given.clients)
            await table(feed, given.clients, given.times)
            for transport in held:
                transport.abort()
        finally:
            await asyncio.to_thread(feed.kill)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
    sys.exit(0)
