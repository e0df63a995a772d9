"""A feed that does what the test says: the wire contract over one WebSocket port, and the real HTTP side."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from omega_ai.core.timestamps import format_utc
from omega_ai.data_feed.broker.base import History, Position, Publication, message_of
from omega_ai.data_feed.http.app import Runner, make_app, start_http
from omega_ai.data_feed.http.view import Check, LatestPrice
from omega_ai.data_feed.market import PriceState, SourceStatus
from omega_ai.data_feed.observability.alerts import Alert
from omega_ai.data_feed.observability.snapshot import Snapshot, WorkerFigures

SOURCES: dict[str, dict[str, Any]] = {
    "binance": {"used": False, "reason": "no_usdt_rate"},
    "bitstamp": {"used": True, "price": 61801.0, "age_ms": 310},
    "coinbase": {"used": True, "price": 61799.99, "age_ms": 42},
    "kraken": {"used": True, "price": 61800.4, "age_ms": 120},
    "okx": {"used": False, "price": 61702.1, "age_ms": 8400, "reason": "stale"},
}


class FakeFeed:
    """Publishes, answers ``subscribe``, ``ping`` and ``history``, beats each ``beat`` seconds."""

    def __init__(self, *, beat: float = 0.2, reports: Path | None = None) -> None:
        self.reports = reports
        self.workers: list[WorkerFigures] = []
        self.epoch = "k3zq7m2p"
        self.history_of: dict[str, list[Publication]] = {}
        self.clients: dict[ServerConnection, set[str]] = {}
        self.checks: list[Check] = [Check("broker", True, "the broker answers")]
        self.statuses: list[SourceStatus] = []
        self.alerts: list[Alert] = []
        self.beating = True
        self.resumed: list[Any] = []
        self._beat = beat
        self._published_at = 0.0
        self._started = time.monotonic()
        self._sent = 0
        self._server: Server
        self._runner: Runner
        self._beater: asyncio.Task[None]
        self._changed = asyncio.Condition()
        self.ws_port = 0

    async def start(self) -> None:
        await self.listen()
        self._beater = asyncio.create_task(self._keep_beating())
        app = make_app(self, alerts=lambda: self.alerts, reports=self.reports)
        self._runner = await start_http(app, "127.0.0.1", 0)

    async def listen(self) -> None:
        """Listen for WebSockets: on the same port again after ``hang_up``."""
        self._server = await serve(
            self._serve, "127.0.0.1", self.ws_port, subprotocols=[Subprotocol("omega.v2")], compression=None
        )
        self.ws_port = self._server.sockets[0].getsockname()[1]

    async def hang_up(self) -> None:
        """Cut every client without a close frame, and refuse new ones."""
        self._server.close(close_connections=False)
        for client in list(self.clients):
            client.transport.abort()
        await self._server.wait_closed()

    async def close(self) -> None:
        self._beater.cancel()
        self._server.close()
        await self._server.wait_closed()
        await self._runner.close()

    @property
    def url(self) -> str:
        return self._runner.url

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.ws_port}"

    # ---------------------------------------------------------------- what happens

    def price(self, price: float, state: PriceState = "live", **fields: Any) -> None:
        """Publish a price now."""
        now = time.time_ns()
        body = {
            "type": "btc_price",
            "symbol": "BTC-USD",
            "price": price,
            "volume": 18342.7,
            "bid": price - 0.4,
            "ask": price + 0.4,
            "timestamp": format_utc(now),
            "source_timestamp": format_utc(now),
            "sources": SOURCES,
            "state": state,
        } | fields
        self._published_at = time.monotonic()
        self.publish("btc_price", body)

    def publish(self, channel: str, body: dict[str, Any]) -> None:
        kept = self.history_of.setdefault(channel, [])
        seq = len(kept) + 1
        text = json.dumps(body, separators=(",", ":")).encode()
        kept.append(Publication(channel, self.epoch, seq, message_of(channel, self.epoch, seq, text)))
        for client, channels in self.clients.items():
            if channel in channels:
                self._send(client, kept[-1].message)

    def send_raw(self, text: str) -> None:
        for client in self.clients:
            self._send(client, text.encode())

    async def until_clients(self, count: int) -> None:
        """Wait until so many have subscribed."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(
                lambda: sum(1 for channels in self.clients.values() if channels) == count
            )

    async def until_resumed(self) -> None:
        """Wait until somebody has asked for what came since a position."""
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(lambda: self.resumed)

    async def until_candles(self, count: int) -> None:
        """Wait until the HTTP side has so many at hand; it looks every few seconds."""
        async with asyncio.timeout(20), aiohttp.ClientSession(self.url) as http:
            found: list[Any] = []
            while len(found) < count:
                await asyncio.sleep(0.1)
                async with http.get("/api/candles") as response:
                    found = (await response.json())["messages"]

    # ---------------------------------------------------------------- the wire contract

    async def _serve(self, client: ServerConnection) -> None:
        self.clients[client] = set()
        try:
            async for text in client:
                self._answer(client, json.loads(text))
                await self._tell()
        except ConnectionClosed:
            pass  # cut by the test, or by the browser's end
        finally:
            self.clients.pop(client, None)
            await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _answer(self, client: ServerConnection, message: dict[str, Any]) -> None:
        kind, now = message["type"], format_utc(time.time_ns())
        if kind == "ping":
            self._reply(client, {"type": "pong", "id": message["id"], "timestamp": now})
        elif kind == "history":
            kept = self.history_of.get(message["channel"], [])[-message.get("limit", 100) :]
            self._reply(
                client,
                {
                    "type": "history",
                    "id": message["id"],
                    "channel": message["channel"],
                    "epoch": self.epoch,
                    "seq": len(kept),
                    "messages": [json.loads(each.message) for each in kept],
                },
            )
        elif kind == "subscribe":
            for channel in message["channels"]:
                self._subscribe(client, channel, message)
        else:
            self._reply(
                client,
                {
                    "type": "error",
                    "code": "unknown_type",
                    "message": f"unknown type '{kind}'",
                    "id": message.get("id"),
                    "temporary": False,
                    "timestamp": now,
                },
            )

    def _subscribe(self, client: ServerConnection, channel: str, message: dict[str, Any]) -> None:
        kept = self.history_of.get(channel, [])
        since = message.get("since", {}).get(channel)
        if since:
            self.resumed.append((channel, since))
        recovered = bool(since) and since["epoch"] == self.epoch and since["seq"] <= len(kept)
        answer = {
            "type": "subscribed",
            "channel": channel,
            "mode": message.get("mode", "all"),
            "recovered": recovered,
        }
        if channel != "heartbeat":
            answer |= {"epoch": self.epoch, "seq": len(kept)}
        self._reply(client, answer)
        missed = kept[since["seq"] :] if recovered else kept[-1:]
        for publication in missed:
            self._send(client, publication.message)
        self.clients[client].add(channel)

    async def _keep_beating(self) -> None:
        while True:
            await asyncio.sleep(self._beat)
            if not self.beating:
                continue
            tops = {name: {"epoch": self.epoch, "seq": len(kept)} for name, kept in self.history_of.items()}
            for client, channels in list(self.clients.items()):
                if "heartbeat" in channels:
                    self._reply(
                        client,
                        {"type": "heartbeat", "timestamp": format_utc(time.time_ns()), "channels": tops},
                    )

    def _reply(self, client: ServerConnection, message: dict[str, Any]) -> None:
        self._send(client, json.dumps(message).encode())

    def _send(self, client: ServerConnection, text: bytes) -> None:
        self._sent += 1
        # The protocol object of the connection writes at once, in order, without a task a message.
        client.protocol.send_text(text)
        client.send_data()

    # ---------------------------------------------------------------- FeedView

    def readiness(self) -> Sequence[Check]:
        return self.checks

    def latest_price(self) -> LatestPrice | None:
        kept = self.history_of.get("btc_price")
        return LatestPrice(kept[-1].message, time.monotonic() - self._published_at) if kept else None

    async def history(self, channel: str, since: Position | None, limit: int | None) -> History:
        kept = self.history_of.get(channel, [])
        found = kept[since.seq :] if since else kept[-(limit or 0) :]
        return History(Position(self.epoch, len(kept)), list(found), True)

    def snapshot(self) -> Snapshot:
        return Snapshot(
            now_ns=time.time_ns(),
            uptime=time.monotonic() - self._started,
            connections={"ws": len(self.clients)},
            max_connections=100_000,
            messages_sent=self._sent,
            sources=self.statuses,
            workers=self.workers,
        )

    def now_ns(self) -> int:
        return self.snapshot().now_ns

    def uptime(self) -> float:
        return self.snapshot().uptime

    def websocket_urls(self) -> Sequence[str]:
        return [self.ws_url]

    def asyncapi(self) -> bytes | None:
        return None
