"""From a venue's frame in to a client's frame out, through the whole feed, over loopback.

    python benchmarks/ingest_latency.py                 2,000 quotes and trades at random moments
    python benchmarks/ingest_latency.py --samples 5000

Three parts in two processes: ``omega serve --source live --venue kraken --broker memory`` is one; the
stand-in exchange and the client are here, on one clock. A sample is the time from the stand-in's write of a
frame to the client's receipt of the message that came of it: parsing, sequence check, price, broker,
encoding, and both trips through the kernel. One message at a time, so that nothing waits for anything else.
"""

from __future__ import annotations

import argparse
import asyncio
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
from omega_ai.core.scheduler import LoopScheduler
from omega_ai.core.websocket.client import ClientProtocol, Opening
from omega_ai.core.websocket.endpoint import Options
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


class Listener(ClientProtocol):
    """Notes when each channel's message came."""

    def __init__(self, options: Options, opening: Opening) -> None:
        super().__init__(options, opening)
        self.arrived: dict[str, float] = {}
        self.ready = asyncio.Event()
        self.wanted = ""
        self.price = ""

    def on_text(self, data: bytes) -> None:
        now = time.perf_counter()
        kind = data[9 : data.index(b'"', 9)].decode()
        if kind != self.wanted or kind in self.arrived:
            return
        if kind == "btc_price" and self.price not in data.decode():
            return
        self.arrived[kind] = now
        self.ready.set()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def row(name: str, seconds: list[float]) -> str:
    ordered = sorted(seconds)

    def at(share: float) -> float:
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1e6

    return f"{name:<40}" + "".join(f"{at(share):9.0f} µs" for share in (0.1, 0.5, 0.9, 0.99, 1.0))


async def measure(samples: int, seed: int) -> None:
    loop = asyncio.get_running_loop()
    rng = random.Random(seed)
    venue = VENUES["kraken"]
    market = Quiet(venue)
    exchange = StandIn(venue, market, clock=SystemClock(), rng=rng)
    await exchange.start()
    port = free_port()
    command = [sys.executable, "-c", "from omega_ai.cli.app import main; main()", "serve", "--source", "live"]
    command += [
        "--venue",
        "kraken",
        "--broker",
        "memory",
        "--port",
        str(port),
        "--tls-port",
        str(free_port()),
    ]
    command += ["--http-port", str(free_port()), "--price-interval-ms", "0", "--log-level", "error"]
    environment = {**os.environ, "WSS_URL_KRAKEN": exchange.url, "REST_URL_KRAKEN": exchange.rest_url}
    feed = subprocess.Popen(  # noqa: ASYNC220 - nothing else is to happen meanwhile
        command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    try:
        listener = await connect(loop, port, feed)
        async with asyncio.timeout(_START_S):
            while not any(client.dialect.follows_trades for client in exchange._clients):  # noqa: ASYNC110 - once
                await asyncio.sleep(0.05)
        await asyncio.sleep(1.0)
        taken: dict[str, list[float]] = {"trades": [], "quotes": [], "btc_price": []}
        cents = 6_000_000
        for number in range(samples * 3):
            kind = ("trades", "quotes", "btc_price")[number % 3]
            await asyncio.sleep(rng.uniform(0.0005, 0.003))
            now_ns = time.time_ns()
            event: MarketEvent
            cents += 2 + rng.randrange(10)
            middle = Decimal(cents).scaleb(-2)
            if kind == "trades":
                event = Trade(
                    "kraken", "BTC-USD", str(number // 3 + 1), middle, Decimal(1), "buy", now_ns, now_ns
                )
            else:
                half = Decimal("0.50")
                event = Quote("kraken", "BTC-USD", middle - half, half, middle + half, half, now_ns, now_ns)
            listener.wanted, listener.price = kind, f'"price":{middle}'
            listener.arrived.clear()
            listener.ready.clear()
            began = time.perf_counter()
            exchange._publish(event)
            await asyncio.wait_for(listener.ready.wait(), 5)
            taken[kind].append(listener.arrived[kind] - began)
        heads = "".join(f"{head:>12}" for head in ("p10", "p50", "p90", "p99", "max"))
        print(f"{'venue frame in to client frame out':<40}{heads}")
        for kind, seconds in taken.items():
            print(row(f"{kind} ({len(seconds)} samples)", seconds))
        listener.abort()
    finally:
        feed.terminate()
        feed.communicate(timeout=10)
        await exchange.close()


async def connect(loop: asyncio.AbstractEventLoop, port: int, feed: subprocess.Popen[bytes]) -> Listener:
    options = Options(scheduler=LoopScheduler(loop), mask_key=lambda: os.urandom(4))
    opening = Opening(
        host=f"127.0.0.1:{port}", target="/?channels=btc_price,trades,quotes", key=new_key(os.urandom(16))
    )
    deadline = time.monotonic() + _START_S
    while True:
        try:
            # The engine does not import asyncio, so its protocols do not derive from asyncio's.
            _, protocol = await loop.create_connection(  # type: ignore[type-var]
                lambda: Listener(options, opening), "127.0.0.1", port
            )
        except OSError:
            if time.monotonic() > deadline or feed.poll() is not None:
                said = (
                    feed.stderr.read().decode() if feed.stderr is not None and feed.poll() is not None else ""
                )
                raise SystemExit(f"the feed did not start: {said}") from None
            await asyncio.sleep(0.1)
        else:
            return protocol


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=2000, help="of each kind (default 2000)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    uvloop.run(measure(arguments.samples, arguments.seed))


if __name__ == "__main__":
    main()
