"""Kraken v2 in a stand-in's mouth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from omega_ai.core.timestamps import format_utc
from omega_ai.data_feed.exchanges.standin.dialects.base import Dialect, decode, encode, text
from omega_ai.data_feed.exchanges.standin.market import Market
from omega_ai.data_feed.market import Quote, Trade


class KrakenDialect(Dialect):
    """Numbers, not strings; a snapshot of 50 trades; heartbeats also after a refusal."""

    heartbeat_s = 1.0

    def opened(self) -> Sequence[bytes]:
        """The status, before anything was asked."""
        data = [{"version": "2.0.10", "system": "online", "api_version": "v2", "connection_id": 1}]
        return (encode({"channel": "status", "type": "update", "data": data}),)

    def receive(self, text: bytes) -> Sequence[bytes]:
        """Answers to subscriptions and pings."""
        message = decode(text)
        method = message.get("method")
        if method == "ping":
            return (encode({"method": "pong"}),)
        parameters = message.get("params") or {}
        channel, symbols = str(parameters.get("channel")), parameters.get("symbol") or []
        if self.refuse_subscriptions or method != "subscribe" or channel not in ("trade", "ticker"):
            return (encode({"error": "Subscription refused", "method": "subscribe", "success": False}),)
        answers: list[bytes] = []
        for symbol in symbols:
            self.subscribed.add(f"{channel}:{symbol}")
            result = {"channel": channel, "snapshot": True, "symbol": symbol}
            answers.append(encode({"method": "subscribe", "result": result, "success": True}))
            recent = list(self.market.trades)[-50:]
            if channel == "trade" and recent:
                rows = [_row(trade) for trade in recent]
                answers.append(encode({"channel": "trade", "type": "snapshot", "data": rows}))
        return answers

    def trade(self, trade: Trade) -> bytes | None:
        """A trade as this venue writes it."""
        if f"trade:{_slashed(trade.symbol)}" not in self.subscribed:
            return None
        return encode({"channel": "trade", "type": "update", "data": [_row(trade)]})

    def quote(self, quote: Quote) -> bytes | None:
        """The top of the book as this venue writes it."""
        symbol = _slashed(quote.symbol)
        if f"ticker:{symbol}" not in self.subscribed:
            return None
        row: dict[str, Any] = {
            "symbol": symbol,
            "bid": quote.bid,
            "bid_qty": quote.bid_size or Decimal(1),
            "ask": quote.ask,
            "ask_qty": quote.ask_size or Decimal(1),
            "last": quote.bid,
            "volume": self.market.volume,
        }
        if quote.timestamp_ns is not None:
            row["timestamp"] = format_utc(quote.timestamp_ns)
        return encode({"channel": "ticker", "type": "update", "data": [row]})

    def heartbeat(self, at_ns: int) -> bytes | None:  # noqa: ARG002 - it says no time
        """The venue's heartbeat."""
        return encode({"channel": "heartbeat"})

    @classmethod
    def rest(cls, market: Market, path: str, query: Mapping[str, str]) -> bytes | None:
        """Trades, as the REST interface lists them."""
        if path != "/0/public/Trades":
            return None
        since_ns, count = int(query.get("since", "0")), min(int(query.get("count", "1000")), 1000)
        rows = [
            [
                text(trade.price),
                text(trade.size),
                Decimal(trade.timestamp_ns).scaleb(-9),
                "b" if trade.side == "buy" else "s",
                "l",
                "",
                int(trade.trade_id),
            ]
            for trade in market.trades
            if trade.timestamp_ns > since_ns
        ]
        return encode({"error": [], "result": {"XXBTZUSD": rows[:count], "last": "0"}})


def _slashed(symbol: str) -> str:
    return symbol.replace("-", "/")


def _row(trade: Trade) -> dict[str, Any]:
    return {
        "symbol": _slashed(trade.symbol),
        "side": trade.side,
        "price": trade.price,
        "qty": trade.size,
        "ord_type": "limit",
        "trade_id": int(trade.trade_id),
        "timestamp": format_utc(trade.timestamp_ns),
    }
