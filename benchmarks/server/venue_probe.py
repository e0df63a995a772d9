"""A stand-in venue and a client in one process, to time a price's whole way by one clock.

    python -m benchmarks.server.venue_probe --rate 100 --seconds 5

Prints the venue's port, and waits for a line of standard input: ``feed PORT`` times venue message in to
client out through a feed that follows the venue; ``relay PORT`` times the same messages through a server that
only passes on what it is sent. Prints one JSON object for each such line.

The venue speaks the dialect of Coinbase: the bid of each ticker message is the next of 100,000 prices, so
that the price that comes out tells which message it is of; in the same way each trade has its own id.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import sys
import time
from collections.abc import Callable
from typing import Any, cast

import uvloop

from omega_ai.core.scheduler import LoopScheduler
from omega_ai.core.timestamps import format_utc
from omega_ai.core.websocket.client import ClientProtocol, Opening
from omega_ai.core.websocket.endpoint import Options
from omega_ai.core.websocket.server import ServerProtocol

PRICES = 100_000
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""The example of RFC 6455 section 1.3: the floor has one answer for all."""
_BID = re.compile(rb'"(?:bid|best_bid)":"?(\d+\.\d+)')
_TRADE = re.compile(rb'"trade_id":"(\d+)"|"id":"(\d+)"')


class Venue(ServerProtocol):
    """One connection of a feed to the stand-in venue, which confirms whatever is subscribed to."""

    __slots__ = ("probe", "sequence")

    def __init__(self, probe: Probe) -> None:
        super().__init__(probe.options)
        self.probe = probe
        self.sequence = 0

    def on_open(self) -> None:
        self.probe.feeds.append(self)

    def on_disconnected(self) -> None:
        self.probe.feeds.remove(self)

    def on_text(self, data: bytes) -> None:
        asked = json.loads(data)
        names = {asked["channel"]: asked.get("product_ids", [])}
        self.say("subscriptions", [{"subscriptions": names}])

    def say(self, channel: str, events: list[dict[str, Any]]) -> None:
        message = {
            "channel": channel,
            "client_id": "",
            "timestamp": format_utc(time.time_ns()),
            "sequence_num": self.sequence,
            "events": events,
        }
        self.sequence += 1
        self.send_text(json.dumps(message, separators=(",", ":")).encode())


class Listener(ClientProtocol):
    """A client that hands on what comes."""

    __slots__ = ("heard", "opened")

    def __init__(
        self, options: Options, opening: Opening, opened: asyncio.Future[None], heard: Callable[[bytes], None]
    ) -> None:
        super().__init__(options, opening)
        self.opened = opened
        self.heard = heard

    def on_open(self) -> None:
        self.opened.set_result(None)

    def on_text(self, data: bytes) -> None:
        self.heard(data)


class Probe:
    """Times messages; see the module's text."""

    def __init__(self, rate: float, seconds: float) -> None:
        self.rate = rate
        self.seconds = seconds
        self.feeds: list[Venue] = []
        scheduler = LoopScheduler(asyncio.get_running_loop())
        self.options = Options(scheduler=scheduler)
        self._client_options = Options(scheduler=scheduler, mask_key=lambda: os.urandom(4))
        self._rng = random.Random(1)
        self._tickers = self._trades = 0
        self._sent: dict[str, float] = {}
        self._latencies: dict[str, list[float]] = {}

    async def listen(self) -> int:
        """Open the venue; returns its port."""
        server = await asyncio.get_running_loop().create_server(
            lambda: cast(asyncio.BaseProtocol, Venue(self)), "127.0.0.1", 0
        )
        return int(server.sockets[0].getsockname()[1])

    async def feed(self, port: int) -> dict[str, Any]:
        """Venue message in to client out, prices and trades."""
        listener = await self._connect(port, "/?channels=btc_price,trades")
        async with asyncio.timeout(20):
            while not self.feeds or self.feeds[0].sequence < 4:  # noqa: ASYNC110 - not what is timed
                await asyncio.sleep(0.05)
        self._trades = await self._run(self._say, self._trades)
        listener.abort()
        return self._report()

    async def relay(self, port: int) -> dict[str, Any]:
        """The same messages, published by a client and passed on as they are."""
        listener = await self._connect(port, "/")
        publisher = await self._connect(port, "/pub")
        await self._run(lambda channel, events: publisher.send_text(_message(channel, events)), 0)
        listener.abort()
        publisher.abort()
        return self._report()

    async def _run(self, say: Callable[[str, list[dict[str, Any]]], object], trades: int) -> int:
        """Say messages and wait for the last of them; returns the newest trade's number."""
        self._sent.clear()
        self._latencies = {"price": [], "trade": []}
        warm = time.monotonic() + 0.5
        end = warm + self.seconds
        while (now := time.monotonic()) < end:
            if now < warm:
                self._latencies = {"price": [], "trade": []}
            self._tickers += 1
            bid = f"{60_000 + self._tickers % PRICES / 100:.2f}"
            self._sent[bid] = time.perf_counter()
            say("ticker", [_ticker(bid)])
            await asyncio.sleep(self._rng.expovariate(self.rate))
            trades += 1  # a feed that sees a gap would ask elsewhere for what is missing
            self._sent[str(trades)] = time.perf_counter()
            say("market_trades", [_trade(trades)])
            await asyncio.sleep(self._rng.expovariate(self.rate))
        await asyncio.sleep(0.2)
        return trades

    def _say(self, channel: str, events: list[dict[str, Any]]) -> None:
        for feed in self.feeds:
            feed.say(channel, events)

    def _heard(self, data: bytes) -> None:
        now = time.perf_counter()
        for kind, pattern in (("price", _BID), ("trade", _TRADE)):
            found = pattern.search(data)
            if found is not None:
                text = next(group for group in found.groups() if group is not None).decode()
                sent = self._sent.pop(text if kind == "trade" else f"{float(text):.2f}", None)
                if sent is not None:
                    self._latencies[kind].append((now - sent) * 1e6)
                    return

    def _report(self) -> dict[str, Any]:
        report: dict[str, Any] = {"unanswered": len(self._sent)}
        for kind, latencies in self._latencies.items():
            latencies.sort()
            if latencies:
                report[f"{kind}_p50_us"] = latencies[len(latencies) // 2]
                report[f"{kind}_p99_us"] = latencies[min(int(len(latencies) * 0.99), len(latencies) - 1)]
                report[f"{kind}s"] = len(latencies)
        return report

    async def beat(self) -> None:
        """A venue's sign of life, twice a second."""
        while True:
            self._say("heartbeats", [{"current_time": "", "heartbeat_counter": "1"}])
            await asyncio.sleep(0.5)

    async def _connect(self, port: int, target: str) -> Listener:
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()
        opening = Opening(host=f"127.0.0.1:{port}", target=target, key=KEY)
        listener = Listener(self._client_options, opening, opened, self._heard)
        await loop.create_connection(lambda: cast(asyncio.BaseProtocol, listener), "127.0.0.1", port)
        async with asyncio.timeout(10):
            await opened
        return listener


def _message(channel: str, events: list[dict[str, Any]]) -> bytes:
    return json.dumps({"channel": channel, "events": events}, separators=(",", ":")).encode()


def _ticker(bid: str) -> dict[str, Any]:
    ask = f"{float(bid) + 0.01:.2f}"
    ticker = {"type": "ticker", "product_id": "BTC-USD", "price": bid, "volume_24_h": "8123.55"}
    ticker |= {"best_bid": bid, "best_bid_quantity": "0.5", "best_ask": ask, "best_ask_quantity": "0.25"}
    return {"type": "update", "tickers": [ticker]}


def _trade(number: int) -> dict[str, Any]:
    trade = {"trade_id": str(number), "product_id": "BTC-USD", "price": "60000.01", "size": "0.01"}
    trade |= {"time": format_utc(time.time_ns()), "side": "BUY"}
    return {"type": "update", "trades": [trade]}


async def converse(options: argparse.Namespace) -> None:
    probe = Probe(options.rate, options.seconds)
    print(await probe.listen(), flush=True)
    loop = asyncio.get_running_loop()
    beats = loop.create_task(probe.beat())
    while line := (await loop.run_in_executor(None, sys.stdin.readline)).split():
        try:
            measure = probe.feed if line[0] == "feed" else probe.relay
            print(json.dumps(await measure(int(line[1]))), flush=True)
        except (OSError, TimeoutError) as error:
            print(json.dumps({"failed": f"{type(error).__name__}: {error}"}), flush=True)
    beats.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rate", type=float, default=100.0, help="venue messages a second, at random moments"
    )
    parser.add_argument("--seconds", type=float, default=5.0)
    uvloop.run(converse(parser.parse_args()))


if __name__ == "__main__":
    main()
