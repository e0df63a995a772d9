"""Bybit v5 spot in a stand-in's mouth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omega_ai.data_feed.exchanges.standin.dialects.base import Dialect, decode, encode, text
from omega_ai.data_feed.exchanges.standin.market import Market
from omega_ai.data_feed.market import Quote, Trade

_SIDE = {"buy": "Buy", "sell": "Sell"}


class BybitDialect(Dialect):
    """A whole book upon subscribing, changes after that; one answer for all topics of a request."""

    def __init__(self, market: Market) -> None:
        super().__init__(market)
        self._name = market.symbol.replace("-", "")
        self._update_id = 0
        self._shown: Quote | None = None

    def receive(self, text: bytes) -> Sequence[bytes]:
        """Answers to subscriptions and pings."""
        message = decode(text)
        if message.get("op") == "ping":
            return (encode({"success": True, "ret_msg": "pong", "conn_id": "1", "req_id": "", "op": "ping"}),)
        arguments = message.get("args")
        answer = {"conn_id": "1", "req_id": message.get("req_id", ""), "op": "subscribe"}
        if self.refuse_subscriptions or message.get("op") != "subscribe" or not isinstance(arguments, list):
            return (encode({"success": False, "ret_msg": "error:handler not found", **answer}),)
        self.subscribed |= {str(topic) for topic in arguments}
        return (encode({"success": True, "ret_msg": "subscribe", **answer}),)

    def trade(self, trade: Trade) -> bytes | None:
        """A trade as this venue writes it."""
        if trade.symbol != self.market.symbol:
            return None
        milliseconds = trade.timestamp_ns // 1_000_000
        row = {
            "T": milliseconds,
            "s": self._name,
            "S": _SIDE.get(trade.side or "buy"),
            "v": text(trade.size),
            "p": text(trade.price),
            "i": trade.trade_id,
            "BT": False,
        }
        return self._push("publicTrade", "snapshot", milliseconds, [row])

    def quote(self, quote: Quote) -> bytes | None:
        """The top of the book as this venue writes it."""
        if quote.symbol != self.market.symbol or f"orderbook.1.{self._name}" not in self.subscribed:
            return None
        self._update_id += 1
        shown, self._shown = self._shown, quote
        bids = [[text(quote.bid), text(quote.bid_size or quote.bid)]]
        asks = [[text(quote.ask), text(quote.ask_size or quote.ask)]]
        if shown is not None:
            if shown.bid != quote.bid:
                bids.insert(0, [text(shown.bid), "0"])
            if shown.ask != quote.ask:
                asks.insert(0, [text(shown.ask), "0"])
        kind = "snapshot" if shown is None else "delta"
        data = {"s": self._name, "b": bids, "a": asks, "u": self._update_id, "seq": self._update_id}
        return self._push("orderbook.1", kind, (quote.timestamp_ns or quote.received_ns) // 1_000_000, data)

    def volume(self) -> bytes | None:
        """The ticker that carries the volume."""
        stamp_ns = self.market.trades[-1].timestamp_ns if self.market.trades else 1_700_000_000_000_000_000
        data = {"symbol": self._name, "lastPrice": "1", "volume24h": text(self.market.volume)}
        return self._push("tickers", "snapshot", stamp_ns // 1_000_000, data)

    def skip(self) -> None:
        """A number is left out."""
        self._update_id += 1

    @classmethod
    def rest(cls, market: Market, path: str, query: Mapping[str, str]) -> bytes | None:
        """Trades, as the REST interface lists them."""
        if path != "/v5/market/recent-trade":
            return None
        recent = list(market.trades)[-min(int(query.get("limit", "60")), 60) :]
        rows = [
            {
                "execId": trade.trade_id,
                "symbol": market.symbol.replace("-", ""),
                "price": text(trade.price),
                "size": text(trade.size),
                "side": _SIDE.get(trade.side or "buy"),
                "time": str(trade.timestamp_ns // 1_000_000),
            }
            for trade in reversed(recent)
        ]
        return encode({"retCode": 0, "retMsg": "OK", "result": {"category": "spot", "list": rows}})

    def _push(self, topic: str, kind: str, milliseconds: int, data: Any) -> bytes | None:
        topic = f"{topic}.{self._name}"
        if topic not in self.subscribed:
            return None
        return encode({"topic": topic, "type": kind, "ts": milliseconds, "data": data})
