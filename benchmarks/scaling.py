"""What one more server process and one more client cost: the slopes from which ``docs/scaling.md`` reckons.

    python benchmarks/scaling.py

One edge (``omega serve --role edge``) gets idle connections, and its memory is read. Then edges are added to
one Redis, each with clients of its own, while prices are published at an even rate. CPU time of every process
is read from the kernel, so that a busy machine changes little.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

sys.path.insert(0, str(Path(__file__).parent))

from broker import BODY
from storm import Reader, _cpu

from omega_ai.core.clock import SystemClock
from omega_ai.data_feed.broker import open_broker
from omega_ai.data_feed.broker.base import Broker
from omega_ai.tests.feed_server import FeedProcess
from omega_ai.tests.valkey import ValkeyProcess


def edge(directory: Path, url: str) -> FeedProcess:
    """One more server process on ``url``; started."""
    directory.mkdir()
    server = FeedProcess(
        directory,
        *("--role", "edge", "--source", "none", "--broker", url, "--port", "0", "--tls-port", "off"),
        *("--http-port", "off", "--max-connections", "50000", "--ping-interval", "3600"),
    )
    server.start()
    return server


async def clients(server: FeedProcess, count: int, channels: list[str]) -> list[Any]:
    """Connected and subscribed."""
    loop = asyncio.get_running_loop()
    host, _, port = server.at.ws.removeprefix("ws://").rpartition(":")
    done: asyncio.Future[None] = loop.create_future()
    done.set_result(None)
    ask = {"type": "subscribe", "channels": channels}
    made: list[Any] = []
    for first in range(0, count, 200):
        made += await asyncio.gather(
            *(
                loop.create_connection(lambda: Reader(ask, b"", done), host, int(port))
                for _ in range(first, min(first + 200, count))
            )
        )
    await asyncio.sleep(0.5)
    return [transport for transport, _ in made]


def memory(pid: int) -> int:
    """Bytes resident."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found.group(1)) * 1024


async def slope(directory: Path, edges: list[int], per_edge: int, rate: float, seconds: float) -> None:
    """CPU time of Redis and of an edge, by the number of edges."""
    print(f"{per_edge} clients an edge, {rate:g} prices/s of {len(BODY) + 30} bytes, {seconds:g} s each")
    print("edges  clients  Redis us/price  edge us/price  edge us/delivery")
    with ValkeyProcess(tcp=True) as valkey, contextlib.ExitStack() as stack:
        broker = open_broker(valkey.url, clock=SystemClock())
        await broker.start()
        servers: list[FeedProcess] = []
        held: list[Any] = []  # a transport that nobody holds is closed
        try:
            for wanted in edges:
                while len(servers) < wanted:
                    server = await asyncio.to_thread(edge, directory / str(len(servers)), valkey.url)
                    stack.callback(server.kill)
                    servers.append(server)
                    held += await clients(server, per_edge, ["btc_price"])
                pids = [server.pid or 0 for server in servers]
                before = [_cpu(pid) for pid in (valkey.pid, *pids)]
                sent = await steady(broker, rate, seconds)
                used = [_cpu(pid) - old for pid, old in zip((valkey.pid, *pids), before, strict=True)]
                redis, own = used[0] / sent * 1e6, sum(used[1:]) / wanted / sent * 1e6
                open_now = sum(not transport.is_closing() for transport in held)
                print(
                    f"{wanted:5} {open_now:8} {redis:15.1f} {own:14.1f} {own / per_edge:17.2f}",
                    flush=True,
                )
        finally:
            await broker.close()


class Subscriber(asyncio.Protocol):
    """A server process as Redis sees it: one connection that reads a channel."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(b"SUBSCRIBE omega:{btc_price}:live\r\n")  # type: ignore[attr-defined]


async def fan_out(counts: list[int], rate: float, seconds: float) -> None:
    """CPU time of Redis alone, by the number of processes that read from it."""
    print(f"{rate:g} prices/s of {len(BODY) + 30} bytes, {seconds:g} s each")
    print("subscribers  Redis us/price")
    loop = asyncio.get_running_loop()
    with ValkeyProcess(tcp=True) as valkey:
        broker = open_broker(valkey.url, clock=SystemClock())
        await broker.start()
        held: list[Any] = []
        try:
            for count in counts:
                while len(held) < count:
                    held.append(await loop.create_connection(Subscriber, "127.0.0.1", valkey.port))
                await asyncio.sleep(0.3)
                before, sent = _cpu(valkey.pid), await steady(broker, rate, seconds)
                print(f"{count:11} {(_cpu(valkey.pid) - before) / sent * 1e6:15.1f}", flush=True)
        finally:
            for transport, _ in held:
                transport.abort()
            await broker.close()


async def steady(broker: Broker, rate: float, seconds: float) -> int:
    """Publish at ``rate``; returns how many."""
    began, sent = time.perf_counter(), 0
    while (now := time.perf_counter()) < began + seconds:
        while sent < (now - began) * rate:
            broker.publish("btc_price", BODY)
            sent += 1
        await asyncio.sleep(1 / rate)
    await broker.flush()
    await asyncio.sleep(0.2)
    return sent


async def idle(directory: Path, count: int) -> None:
    """Memory of a connection that waits."""
    with ValkeyProcess(tcp=True) as valkey:
        server = await asyncio.to_thread(edge, directory / "idle", valkey.url)
        try:
            assert server.pid is not None
            held = await clients(server, 200, ["btc_price"])  # what is made for the first ones is not theirs
            before = memory(server.pid)
            held += await clients(server, count, ["btc_price"])
            each = (memory(server.pid) - before) / count / 1024
            open_now = sum(not transport.is_closing() for transport in held)
            print(f"{open_now} idle connections: {each:.1f} KiB each in the server", flush=True)
        finally:
            await asyncio.to_thread(server.kill)


async def main() -> None:
    """All of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--edges", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--clients", type=int, default=100, help="of each edge")
    parser.add_argument("--rate", type=float, default=300.0, help="prices a second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--idle", type=int, default=8000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        await idle(Path(directory), given.idle)
        await fan_out([1, 10, 100, 500], given.rate, given.seconds)
        await slope(Path(directory), given.edges, given.clients, given.rate, given.seconds)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
