"""Everybody comes back at once: thousands of resuming clients, and one that has been there all the time.

    python benchmarks/storm.py                       5,000 clients: connecting, from memory, from the history
    python benchmarks/storm.py --clients 1000 --missed 2500

A server keeps a channel; clients that missed its last messages connect, all at once, and subscribe with
``since``. Told: how long until the last of them has everything, the server's CPU time a client, how often
Redis was asked for history, and what a client that was connected before felt: the delay of live messages
sent all the while, from the publisher to it. The same messages go through a second server, without a storm:
what they take there in the same seconds is the machine's doing (the many clients, whoever else is on it).
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


def _server(directory: Path, broker: str) -> FeedProcess:
    arguments = (
        f"--role edge --source none --broker {broker} --port 0 --tls-port off --http-port off"
        " --max-connections 50000 --ping-interval 3600 --log-level info"
    )
    directory.mkdir()
    return FeedProcess(directory, *arguments.split())


def _percentiles(samples: list[list[float]], began: float, ended: float) -> str:
    """The delays of what was sent between two moments, in milliseconds: 50 %, 99 %, the longest."""
    delays = sorted(delay for at, delay in samples if began <= at < ended)
    return " ".join(
        f"{delays[min(int(len(delays) * part), len(delays) - 1)] * 1e3:7.2f}" for part in (0.5, 0.99, 1.0)
    )


async def storm(directory: Path, clients: int, missed: int | None) -> str:
    """One storm; a line of the table. ``missed`` None: the clients connect, and that is all."""
    loop = asyncio.get_running_loop()
    with ValkeyProcess(tcp=True) as valkey:
        server, bystander = _server(directory / "a", valkey.url), _server(directory / "b", valkey.url)
        broker = open_broker(valkey.url, clock=SystemClock())
        await broker.start()
        await asyncio.to_thread(server.start)
        await asyncio.to_thread(bystander.start)
        try:
            for number in range((missed or 0) + 1):
                broker.publish("broadcast", b'{"type":"broadcast","text":"%b","n":%d}' % (b"x" * 100, number))
            await broker.flush()
            top = (await broker.history("broadcast", limit=1)).position
            host, _, port = server.at.ws.removeprefix("ws://").rpartition(":")
            assert server.pid is not None

            # In a process of its own: what the many readers here do to this one must not be measured. For the
            # same reason they stand back behind everybody else from now on.
            probe = await asyncio.create_subprocess_exec(
                *(sys.executable, __file__, "--probe", valkey.url, server.at.ws, bystander.at.ws),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=1 << 26,
            )
            assert probe.stdout is not None
            await probe.stdout.readline()
            await asyncio.sleep(3.0)
            os.setpriority(os.PRIO_PROCESS, 0, 15)
            ask: dict[str, Any] = {"type": "ping"}
            ending = b'"pong"'
            if missed is not None:
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
                            host,
                            int(port),
                        )
                        for done in dones[first : first + 250]
                    )
                )
                readers += [reader for _, reader in made]
            await asyncio.gather(*dones)
            ended = time.perf_counter()
            cpu, reads = _cpu(server.pid) - cpu, _xranges(valkey) - reads
            told, _ = await probe.communicate(b"\n")
            here, there = json.loads(told)
            for reader in readers:
                reader.transport.abort()
            what = "-" if missed is None else str(missed)
            return (
                f"{clients:8} {what:>7} {ended - began:8.2f} {cpu / clients * 1e6:10.0f} {reads:6} "
                f"| {_percentiles(here, began - 2.5, began)} | {_percentiles(here, began, ended)} "
                f"| {_percentiles(there, began, ended)}"
            )
        finally:
            await broker.close()
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(bystander.kill)


async def probe(broker_url: str, urls: list[str]) -> None:
    """Publish and receive, until told to stop; then say when each message was sent and how long it took.

    On two servers: one has the storm, the other shares nothing with it but the machine.
    """
    loop = asyncio.get_running_loop()
    samples: list[list[tuple[float, float]]] = [[] for _ in urls]
    transports = []

    class Live(Reader):
        """Keeps the delays."""

        def __init__(self, mine: list[tuple[float, float]]) -> None:
            super().__init__({"type": "subscribe", "channels": ["status"]}, b"never", loop.create_future())
            self._mine = mine

        def data_received(self, data: bytes) -> None:
            """Every message says when it was sent."""
            now = time.perf_counter()
            super().data_received(data)
            self._mine.extend((float(sent), now - float(sent)) for sent in SENT.findall(data))

        def connection_lost(self, exc: Exception | None) -> None:
            """It lasts as long as the probe."""

    broker = open_broker(broker_url, clock=SystemClock())
    await broker.start()
    for url, mine in zip(urls, samples, strict=True):
        host, _, port = url.removeprefix("ws://").rpartition(":")
        transport, _ = await loop.create_connection(lambda mine=mine: Live(mine), host, int(port))  # type: ignore[misc]
        transports.append(transport)
    print("ready", flush=True)
    stop = loop.run_in_executor(None, sys.stdin.readline)
    while not stop.done():
        broker.publish("status", b'{"type":"status","sent":%f}' % time.perf_counter())
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.5)
    for transport in transports:
        transport.abort()
    await broker.close()
    print(json.dumps(samples))


async def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=5000)
    parser.add_argument("--missed", type=int, nargs="*", help="messages missed (-1: they only connect)")
    parser.add_argument("--probe", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.probe:
        await probe(given.probe[0], given.probe[1:])
        return
    missed = given.missed or [-1, 100, 2000, 2500]
    if len(missed) == 1:
        with tempfile.TemporaryDirectory() as directory:
            print(await storm(Path(directory), given.clients, missed[0] if missed[0] >= 0 else None))
        return
    print("                              CPU         | live messages, ms: 50 %, 99 %, longest")
    print(" clients  missed    all s  us/client  reads | before | in the storm | elsewhere", flush=True)
    for one in missed:
        # Each in a process of its own: who has stood back once cannot come forward again.
        run = (sys.executable, __file__, "--clients", str(given.clients), "--missed", str(one))
        await (await asyncio.create_subprocess_exec(*run)).wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
    sys.exit(0)
