"""A recording played through the whole feed: exactly its trades reach a client, in order."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from omega_ai.core.clock import SystemClock
from omega_ai.data_feed.feed import Feed
from omega_ai.data_feed.settings import FeedSettings


def binance_trades(path: Path) -> Iterator[tuple[str, Decimal, Decimal, str]]:
    """Id, price, size and taker's side of each trade in a Binance recording, read without our parsers."""
    with gzip.open(path, "rt") as lines:
        for line in lines:
            message = json.loads(line.partition(" ")[2], parse_float=Decimal)
            if message.get("stream", "").endswith("@trade"):
                trade = message["data"]
                side = "sell" if trade["m"] else "buy"
                yield str(trade["t"]), Decimal(trade["p"]), Decimal(trade["q"]), side


def coinbase_trades(path: Path) -> Iterator[tuple[str, Decimal, Decimal, str]]:
    """The same of a Coinbase recording: snapshots and updates, each trade once, the maker's side turned."""
    seen: set[tuple[str, str]] = set()
    found = []
    with gzip.open(path, "rt") as lines:
        for line in lines:
            record = json.loads(line)
            if record["t"] != "recv":
                continue
            message = json.loads(record["data"])
            if message.get("channel") != "market_trades":
                continue
            for event in message["events"]:
                for trade in event["trades"]:
                    key = (trade["product_id"], trade["trade_id"])
                    if key not in seen:
                        seen.add(key)
                        side = "buy" if trade["side"] == "SELL" else "sell"
                        found.append(
                            (trade["trade_id"], Decimal(trade["price"]), Decimal(trade["size"]), side)
                        )
    yield from found


async def trades_through_feed(path: Path, expected: int) -> list[dict[str, Any]]:
    """Play ``path`` as fast as it goes; a client that comes late asks for all trades since the beginning."""
    settings = FeedSettings(
        port=0, tls_port=None, http_port=None, broker="memory", source=f"replay:{path}?speed=max",
        history_messages=100_000,
    )  # fmt: skip
    async with Feed(settings, clock=SystemClock()) as feed:
        assert feed.endpoints is not None
        assert feed.endpoints.ws is not None
        async with connect(feed.endpoints.ws + "/?channels=", max_size=None) as client, asyncio.timeout(60):
            await client.send('{"type":"subscribe","channels":["trades"]}')
            answer = json.loads(await client.recv())
            since = {"trades": {"epoch": answer["epoch"], "seq": 0}}
            await client.send(json.dumps({"type": "subscribe", "channels": ["trades"], "since": since}))
            trades: list[dict[str, Any]] = []
            recovered = None
            while len(trades) < expected:
                message = json.loads(await client.recv(), parse_float=Decimal)
                if message["type"] == "subscribed":
                    # What came live before the second answer is sent again by it.
                    recovered, trades = message["recovered"], []
                else:
                    trades.append(message)
            assert recovered is True
            await client.send('{"type":"ping"}')
            assert json.loads(await client.recv())["type"] == "pong", "more came than the file holds"
            return trades


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("binance_spot_btcusdt_20240808.txt.gz", binance_trades),
        ("coinbase_advanced_btcusd_ethusd_20260809.jsonl.gz", coinbase_trades),
    ],
)
async def test_exactly_the_trades_of_the_recording_arrive(shared_dir: Path, name: str, read: Any) -> None:
    """None missing, none doubled, each with its digits and the taker's side."""
    path = shared_dir / "captures" / name
    expected = list(read(path))
    trades = await trades_through_feed(path, len(expected))
    assert [t["seq"] for t in trades] == list(range(1, len(expected) + 1))
    got = [(t["trade_id"], Decimal(t["price"]), Decimal(t["size"]), t["side"]) for t in trades]
    assert sorted(got) == sorted(expected)
    assert len(set(got)) == len(expected)
    by_symbol: dict[str, list[int]] = {}
    for trade in trades:
        by_symbol.setdefault(trade["symbol"], []).append(int(trade["trade_id"]))
    assert all(ids == sorted(ids) for ids in by_symbol.values()), "out of order"
