"""Everybody comes back at once: thousands of resuming clients, and one that has been there all the time.

    python benchmarks/storm.py                       5,000 clients, from memory and from the history
    python benchmarks/storm.py --clients 1000

A server keeps a channel; clients that missed its last messages connect, all at once, and subscribe with
``since``. Told: how long until the last of them has everything, the server's CPU time a client, how often
Redis was asked for history, and what a client that was connected before felt: the delay of live messages sent
all the while, from the publisher to it.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

from omega_ai.core.clock import SystemClock
from omega_ai.data_feed.broker import open_broker
from omega_ai.data_feed.broker.base import Position
from omega_ai.tests.feed_server import FeedProcess
from omega_ai.tests.valkey import ValkeyProcess

SENT = re.compile(rb'"sent":([0-9.]+)')
TICK = os.sysconf("SC_CLK_TCK")


class Reader(asyncio.Protocol):
    """Shakes hands, subscribes, and counts bytes until the frame with a certain ending has come."""

    def __init__(self, subscribe: dict[str, Any], ending: bytes, done: asyncio.Future[None]) -> None:
        self._subscribe = subscribe
        self._ending = ending
        self._done = done
        self._tail = b""
        self._shaken = False
        self.bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(  # type: ignore[attr-defined]
            b"GET /?channels= HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key.encode() + b"\r\n\r\n"
        )

    def data_received(self, data: bytes) -> None:
        if not self._shaken:
            self._shaken = True
            if not data.startswith(b"HTTP/1.1 101"):
                raise RuntimeError(f"refused: {data[:200]!r}")
            self.transport.write(_masked(json.dumps(self._subscribe).encode()))
            data = data.partition(b"\r\n\r\n")[2]
        self.bytes += len(data)
        self._tail = (self._tail + data)[-200:] if len(data) < 200 else data[-200:]
        if not self._done.done() and self._ending in self._tail:
            self._done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(RuntimeError(f"cut: {exc}"))


def _masked(text: bytes) -> bytes:
    size = len(text)
    head = bytes([0x81, 0x80 | size]) if size < 126 else bytes([0x81, 0xFE]) + size.to_bytes(2, "big")
    return head + b"\0\0\0\0" + text  # a mask of zeros is legal, and costs the generator nothing


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def _xranges(valkey: ValkeyProcess) -> int:
    found = re.search(rb"cmdstat_xrange:calls=(\d+)", valkey.command("INFO", "commandstats"))
    return int(found.group(1)) if found else 0


async def storm(directory: Path, clients: int, missed: int) -> str:
    """One storm; a line of the table."""
    loop = asyncio.get_running_loop()
    with ValkeyProcess(tcp=True) as valkey:
        server = FeedProcess(
            directory,
            *(
                "--role",
                "edge",
                "--source",
                "none",
                "--broker",
                valkey.url,
                "--port",
                "0",
                "--tls-port",
                "off",
            ),
            *(
                "--http-port",
                "off",
                "--log-level",
                "error",
                "--max-connections",
                "50000",
                "--ping-interval",
                "3600",
            ),
        )
        broker = open_broker(valkey.url, clock=SystemClock())
        await broker.start()
        await asyncio.to_thread(_start, server)
        try:
            for number in range(missed + 1):
                broker.publish("broadcast", b'{"type":"broadcast","text":"%b","n":%d}' % (b"x" * 100, number))
            await broker.flush()
            top = (await broker.history("broadcast", limit=1)).position
            address = server.at.ws.removeprefix("ws://").split(":")
            assert server.pid is not None

            # In a process of its own: what the many readers here do to this one must not be measured.
            probe = await asyncio.create_subprocess_exec(
                *(sys.executable, __file__, "--probe", valkey.url, server.at.ws),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=1 << 26,
            )
            await asyncio.sleep(3.0)
            storm_began = time.perf_counter()
            since = {"broadcast": {"epoch": top.epoch, "seq": Position(*top).seq - missed}}
            ask = {"type": "subscribe", "channels": ["broadcast"], "since": since}
            ending = b'"n":%d}' % missed
            reads, cpu, began = _xranges(valkey), _cpu(server.pid), time.perf_counter()
            dones: list[asyncio.Future[None]] = [loop.create_future() for _ in range(clients)]
            readers: list[Reader] = []
            for first in range(0, clients, 250):  # as fast as a listen queue takes them
                made = await asyncio.gather(
                    *(
                        loop.create_connection(
                            lambda done=done: Reader(ask, ending, done),  # type: ignore[misc]
                            address[0],
                            int(address[1]),
                        )
                        for done in dones[first : first + 250]
                    )
                )
                readers += [reader for _, reader in made]
            await asyncio.gather(*dones)
            took, cpu, reads = time.perf_counter() - began, _cpu(server.pid) - cpu, _xranges(valkey) - reads
            storm_ended = time.perf_counter()
            told, _ = await probe.communicate(b"\n")
            samples = [(float(at), float(delay)) for at, delay in json.loads(told)]
            quiet = sorted(delay for at, delay in samples if at < storm_began)
            delays = sorted(delay for at, delay in samples if storm_began <= at < storm_ended)
            for reader in readers:
                reader.transport.abort()
            return (
                f"{clients:8} {missed:8} {took:9.2f} {cpu / clients * 1e6:12.0f} {reads:8}"
                f" {quiet[len(quiet) // 2] * 1e3:8.2f} {quiet[int(len(quiet) * 0.99)] * 1e3:8.2f}"
                f" {delays[len(delays) // 2] * 1e3:8.2f} {delays[int(len(delays) * 0.99)] * 1e3:8.1f}"
                f" {delays[-1] * 1e3:8.1f}"
            )
        finally:
            await broker.close()
            await asyncio.to_thread(server.kill)


async def probe(broker_url: str, url: str) -> None:
    """Publish and receive, until told to stop; then say when each message was sent and how long it took."""
    loop = asyncio.get_running_loop()
    samples: list[tuple[float, float]] = []

    class Live(Reader):
        def data_received(self, data: bytes) -> None:
            now = time.perf_counter()
            super().data_received(data)
            samples.extend((float(sent), now - float(sent)) for sent in SENT.findall(data))

    broker = open_broker(broker_url, clock=SystemClock())
    await broker.start()
    ask = {"type": "subscribe", "channels": ["status"]}
    host, _, port = url.removeprefix("ws://").rpartition(":")
    transport, _ = await loop.create_connection(
        lambda: Live(ask, b"never", loop.create_future()), host, int(port)
    )
    stop = loop.run_in_executor(None, sys.stdin.readline)
    while not stop.done():
        broker.publish("status", b'{"type":"status","sent":%f}' % time.perf_counter())
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.5)
    transport.abort()
    await broker.close()
    print(json.dumps(samples))


def _start(server: FeedProcess) -> None:
    # "ready" is logged as information; a storm of log lines is not what is measured here.
    server.start_with(*[a if a != "error" else "info" for a in server._arguments])


async def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=5000)
    parser.add_argument("--probe", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.probe:
        await probe(*given.probe)
        return
    print(" clients   missed  all in s CPU us/client  reads | live ms: before 50%, 99%; storm 50%, 99%, max")
    for missed in (100, 2000, 2500):
        with tempfile.TemporaryDirectory() as directory:
            print(await storm(Path(directory), given.clients, missed), flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
    sys.exit(0)
