"""Coinbase Advanced Trade in a stand-in's mouth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omega_ai.core.timestamps import format_utc
from omega_ai.data_feed.exchanges.standin.dialects.base import Dialect, decode, encode, text
from omega_ai.data_feed.exchanges.standin.market import Market
from omega_ai.data_feed.market import Quote, Trade

_MAKER = {"buy": "SELL", "sell": "BUY", None: "UNKNOWN_ORDER_SIDE"}


class CoinbaseDialect(Dialect):
    """Numbers its messages, gives the maker's side, newest first, and a snapshot of trades upon
    subscribing."""

    heartbeat_s = 1.0
    subscribe_within_s = 5.0

    def __init__(self, market: Market) -> None:
        super().__init__(market)
        self._sequence = 0
        self._beats = 0
        self._stamp_ns = 1_700_000_000_000_000_000

    def receive(self, text: bytes) -> Sequence[bytes]:
        """Answers to subscriptions."""
        message = decode(text)
        channel = message.get("channel")
        if self.refuse_subscriptions or message.get("type") != "subscribe" or not isinstance(channel, str):
            return (encode({"type": "error", "message": "channel not found"}),)
        products = message.get("product_ids") or []
        self.subscribed |= {f"{channel}:{product}" for product in products} or {channel}
        answers = [self._message("subscriptions", {"subscriptions": {channel: products or ["heartbeats"]}})]
        recent = list(self.market.trades)[-100:]
        if f"market_trades:{self.market.symbol}" in self.subscribed and channel == "market_trades" and recent:
            answers.append(self._trades("snapshot", recent))
        return answers

    def trade(self, trade: Trade) -> bytes | None:
        """A trade as this venue writes it."""
        self._stamp_ns = trade.timestamp_ns
        if f"market_trades:{trade.symbol}" not in self.subscribed:
            return None
        return self._trades("update", [trade])

    def quote(self, quote: Quote) -> bytes | None:
        """The top of the book as this venue writes it."""
        if quote.timestamp_ns is not None:
            self._stamp_ns = quote.timestamp_ns
        if f"ticker:{quote.symbol}" not in self.subscribed:
            return None
        ticker = {
            "type": "ticker",
            "product_id": quote.symbol,
            "price": text(quote.bid),
            "best_bid": text(quote.bid),
            "best_bid_quantity": text(quote.bid_size or quote.bid),
            "best_ask": text(quote.ask),
            "best_ask_quantity": text(quote.ask_size or quote.ask),
        }
        if quote.symbol == self.market.symbol:
            ticker["volume_24_h"] = text(self.market.volume)
        return self._message("ticker", {"type": "update", "tickers": [ticker]})

    def heartbeat(self, at_ns: int) -> bytes | None:
        """The venue's heartbeat."""
        if "heartbeats" not in self.subscribed:
            return None
        self._beats += 1
        return self._message(
            "heartbeats", {"current_time": format_utc(at_ns), "heartbeat_counter": self._beats}
        )

    def skip(self) -> None:
        """A number is left out."""
        self._sequence += 1

    @classmethod
    def rest(cls, market: Market, path: str, query: Mapping[str, str]) -> bytes | None:
        """Trades, as the REST interface lists them."""
        if path != f"/api/v3/brokerage/market/products/{market.symbol}/ticker":
            return None
        recent = list(market.trades)[-min(int(query.get("limit", "100")), 1000) :]
        return encode({"trades": [_row(trade) for trade in reversed(recent)]})

    def _trades(self, kind: str, trades: Sequence[Trade]) -> bytes:
        rows = [_row(trade) for trade in reversed(trades)]
        return self._message("market_trades", {"type": kind, "trades": rows})

    def _message(self, channel: str, event: dict[str, Any]) -> bytes:
        message = {
            "channel": channel,
            "client_id": "",
            "timestamp": format_utc(self._stamp_ns),
            "sequence_num": self._sequence,
            "events": [event],
        }
        self._sequence += 1
        return encode(message)


def _row(trade: Trade) -> dict[str, str]:
    return {
        "product_id": trade.symbol,
        "trade_id": trade.trade_id,
        "price": text(trade.price),
        "size": text(trade.size),
        "time": format_utc(trade.timestamp_ns),
        "side": _MAKER[trade.side],
    }
