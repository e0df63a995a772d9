"""From a venue's frame in to a client's frame out, through the whole feed, over loopback.

    python benchmarks/ingest_latency.py                 2,000 of each kind, at random moments
    python benchmarks/ingest_latency.py --samples 5000

``omega serve --source live --venue kraken --broker memory`` is one process; the stand-in exchange and a
client are this one, on one clock. A sample is the time from the write of a frame, made beforehand, to a
venue's socket until the message that came of it has been received from a client's: waking the feed up,
parsing, sequence check, price, broker, encoding, and both trips through the kernel. One message at a time, so
that nothing waits for anything else.

The feed has a core of its own and this process another, where there are two: otherwise a receiver that spins
takes the feed's.

Measured in two ways, by turns. A receiver that *spins* asks the kernel for bytes again and again: what is
measured is the feed and nothing else. One that *sleeps* has to be woken up, as a client is that has nothing
else to do: that is the system's work, and takes as long as the feed's own part on many machines.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal

import uvloop

from omega_ai.core.clock import SystemClock
from omega_ai.core.websocket.frames import text_frame
from omega_ai.core.websocket.handshake import new_key
from omega_ai.data_feed.exchanges.detect import VENUES
from omega_ai.data_feed.exchanges.standin.exchange import StandIn
from omega_ai.data_feed.exchanges.standin.market import Market
from omega_ai.data_feed.market import MarketEvent, Quote, Trade

_START_S = 20.0


class Quiet(Market):
    """Nothing happens but what the benchmark makes happen."""

    def _next(self, now_ns: int) -> Iterator[MarketEvent]:  # noqa: ARG002 - nothing, at any time
        return iter(())


class Receiver:
    """A client of the feed on a bare socket: nothing stands between the kernel and the clock."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = new_key(os.urandom(16))
        self._socket.sendall(
            b"GET /?channels=btc_price,trades,quotes HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
            + key.encode()
            + b"\r\n\r\n"
        )
        answer = self._socket.recv(4096)
        if not answer.startswith(b"HTTP/1.1 101"):
            raise ConnectionError(f"refused: {answer[:100]!r}")

    def drain(self) -> None:
        """Forget what has come so far."""
        self._socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while self._socket.recv(1 << 16):
                pass

    def await_text(self, text: bytes, *, spin: bool) -> float:
        """When ``text`` was received. ``spin``: ask again and again, so that nobody has to be woken up."""
        receive = self._socket.recv
        if spin:
            self._socket.setblocking(False)
        else:
            self._socket.settimeout(5)
        seen = b""
        deadline = time.perf_counter() + 5
        while time.perf_counter() < deadline:
            try:
                seen += receive(1 << 16)
            except BlockingIOError:
                continue
            now = time.perf_counter()
            if text in seen:
                return now
        raise TimeoutError(f"{text!r} did not come; what came ends in {seen[-300:]!r}")

    def close(self) -> None:
        self._socket.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def row(name: str, seconds: list[float]) -> str:
    ordered = sorted(seconds)

    def at(share: float) -> float:
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1e6

    return f"{name:<40}" + "".join(f"{at(share):9.0f} µs" for share in (0.1, 0.5, 0.9, 0.99, 1.0))


async def measure(samples: int, seed: int) -> None:
    rng = random.Random(seed)
    venue = VENUES["kraken"]
    exchange = StandIn(venue, Quiet(venue), clock=SystemClock(), rng=rng)
    await exchange.start()
    port = free_port()
    command = [sys.executable, "-c", "from omega_ai.cli.app import main; main()", "serve", "--source", "live"]
    command += f"--venue kraken --broker memory --port {port} --tls-port off --http-port off".split()
    command += ["--price-interval-ms", "0", "--log-level", "error"]
    environment = {**os.environ, "WSS_URL_KRAKEN": exchange.url, "REST_URL_KRAKEN": exchange.rest_url}
    first, *others = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else [None]
    apart = first is not None and bool(others)
    if apart:
        os.sched_setaffinity(0, {first})  # which the feed inherits
    feed = subprocess.Popen(  # noqa: ASYNC220 - nothing else is to happen meanwhile
        command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    if apart:
        os.sched_setaffinity(0, set(others))
    try:
        receiver = await connect(port, feed)
        async with asyncio.timeout(_START_S):
            while not any(client.dialect.follows_trades for client in exchange._clients):  # noqa: ASYNC110 - once
                await asyncio.sleep(0.05)
        await asyncio.sleep(1.0)
        (client,) = exchange._clients
        # Past the event loop: the frame leaves with the system call, and nothing else happens meanwhile. It
        # never waits: whether it may is a property that both descriptors of the socket share.
        venue_socket = socket.socket(fileno=os.dup(client.transport.get_extra_info("socket").fileno()))
        taken: dict[tuple[bool, str], list[float]] = {}
        cents = 6_000_000
        for number in range(samples * 6):
            kind = ("trades", "quotes", "btc_price")[number % 3]
            spin = number % 2 == 0
            await asyncio.sleep(rng.uniform(0.0005, 0.003))
            now_ns = time.time_ns()
            cents += 2 + rng.randrange(10)
            middle = Decimal(cents).scaleb(-2)
            half = Decimal("0.50")
            message: bytes | None
            if kind == "trades":
                trade = Trade(
                    "kraken", "BTC-USD", str(number // 3 + 1), middle, Decimal(1), "buy", now_ns, now_ns
                )
                message, wanted = client.dialect.trade(trade), b'{"type":"trades"'
            else:
                quote = Quote("kraken", "BTC-USD", middle - half, half, middle + half, half, now_ns, now_ns)
                message = client.dialect.quote(quote)
                wanted = b'{"type":"quotes"' if kind == "quotes" else f'"price":{middle}'.encode()
            if message is None:
                raise SystemExit("the stand-in is not asked for this any more: the feed has left it")
            frame = text_frame(message)
            receiver.drain()
            began = time.perf_counter()
            venue_socket.send(frame)
            taken.setdefault((spin, kind), []).append(receiver.await_text(wanted, spin=spin) - began)
        for spin in (True, False):
            title = "receiver spins" if spin else "receiver sleeps until it is woken"
            print(f"{title:<40}" + "".join(f"{head:>12}" for head in ("p10", "p50", "p90", "p99", "max")))
            for (spun, kind), seconds in taken.items():
                if spun is spin:
                    print(row(f"  {kind} ({len(seconds)} samples)", seconds))
        receiver.close()
        venue_socket.close()
    finally:
        feed.terminate()
        feed.communicate(timeout=10)
        await exchange.close()


async def connect(port: int, feed: subprocess.Popen[bytes]) -> Receiver:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            return Receiver(port)
        except OSError:
            if time.monotonic() > deadline or feed.poll() is not None:
                said = (
                    feed.stderr.read().decode() if feed.stderr is not None and feed.poll() is not None else ""
                )
                raise SystemExit(f"the feed did not start: {said}") from None
            await asyncio.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=2000, help="of each kind and way (default 2000)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    uvloop.run(measure(arguments.samples, arguments.seed))


if __name__ == "__main__":
    main()
