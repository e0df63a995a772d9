"""OKX v5 in a stand-in's mouth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omega_ai.data_feed.exchanges.standin.dialects.base import Dialect, decode, encode, text
from omega_ai.data_feed.exchanges.standin.market import Market
from omega_ai.data_feed.market import Quote, Trade


class OkxDialect(Dialect):
    """Cuts off who says nothing for 30 s; answers ``ping`` with ``pong``, both bare text."""

    idle_s = 30.0

    def receive(self, text: bytes) -> Sequence[bytes]:
        """Answers to subscriptions and pings."""
        if text == b"ping":
            return (b"pong",)
        message = decode(text)
        arguments = message.get("args")
        if self.refuse_subscriptions or message.get("op") != "subscribe" or not isinstance(arguments, list):
            return (encode({"event": "error", "code": "60012", "msg": "Invalid request", "connId": "1"}),)
        answers: list[bytes] = []
        for argument in arguments:
            self.subscribed.add(f"{argument.get('channel')}:{argument.get('instId')}")
            answers.append(encode({"event": "subscribe", "arg": argument, "connId": "1"}))
        return answers

    def trade(self, trade: Trade) -> bytes | None:
        """A trade as this venue writes it."""
        return self._push("trades", trade.symbol, {**_row(trade), "count": "1"})

    def quote(self, quote: Quote) -> bytes | None:
        """The top of the book as this venue writes it."""
        if quote.timestamp_ns is None:
            return None
        data = {
            "bids": [[text(quote.bid), text(quote.bid_size or quote.bid), "0", "1"]],
            "asks": [[text(quote.ask), text(quote.ask_size or quote.ask), "0", "1"]],
            "ts": str(quote.timestamp_ns // 1_000_000),
            "seqId": 1,
        }
        return self._push("bbo-tbt", quote.symbol, data)

    def volume(self) -> bytes | None:
        """The ticker that carries the volume."""
        stamp_ns = self.market.trades[-1].timestamp_ns if self.market.trades else 1_700_000_000_000_000_000
        data = {"vol24h": text(self.market.volume), "ts": str(stamp_ns // 1_000_000)}
        return self._push("tickers", self.market.symbol, {"instId": self.market.symbol, **data})

    def reconnect_request(self) -> bytes | None:
        """The venue's word for it."""
        text = "The connection will soon be closed for a service upgrade. Please reconnect."
        return encode({"event": "notice", "code": "64008", "msg": text, "connId": "1"})

    @classmethod
    def rest(cls, market: Market, path: str, query: Mapping[str, str]) -> bytes | None:
        """Trades, as the REST interface lists them."""
        if path != "/api/v5/market/history-trades":
            return None
        before, limit = int(query.get("after", str(2**62))), min(int(query.get("limit", "100")), 100)
        older = [trade for trade in market.trades if int(trade.trade_id) < before]
        return encode({"code": "0", "msg": "", "data": [_row(trade) for trade in reversed(older[-limit:])]})

    def _push(self, channel: str, symbol: str, data: dict[str, Any]) -> bytes | None:
        if f"{channel}:{symbol}" not in self.subscribed:
            return None
        return encode({"arg": {"channel": channel, "instId": symbol}, "data": [data]})


def _row(trade: Trade) -> dict[str, Any]:
    return {
        "instId": trade.symbol,
        "tradeId": trade.trade_id,
        "px": text(trade.price),
        "sz": text(trade.size),
        "side": trade.side,
        "ts": str(trade.timestamp_ns // 1_000_000),
    }
