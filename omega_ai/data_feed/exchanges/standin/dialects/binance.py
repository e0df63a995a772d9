"""Binance spot in a stand-in's mouth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omega_ai.data_feed.exchanges.standin.dialects.base import Dialect, decode, encode, text
from omega_ai.data_feed.exchanges.standin.market import Market
from omega_ai.data_feed.market import Quote, Trade


class BinanceDialect(Dialect):
    """Pings by frame every 20 s; confirms any stream, also one that does not exist."""

    ping_frame_s = 20.0

    def __init__(self, market: Market) -> None:
        super().__init__(market)
        self._name = market.symbol.replace("-", "").lower()
        self._update_id = 0

    def receive(self, text: bytes) -> Sequence[bytes]:
        """Answers to subscriptions and pings."""
        message = decode(text)
        if self.refuse_subscriptions or message.get("method") != "SUBSCRIBE":
            return (encode({"error": {"code": 2, "msg": "Invalid request"}, "id": message.get("id")}),)
        self.subscribed |= {str(name) for name in message.get("params", ())}
        return (encode({"result": None, "id": message.get("id")}),)

    def trade(self, trade: Trade) -> bytes | None:
        """A trade as this venue writes it."""
        if trade.symbol != self.market.symbol:
            return None
        milliseconds = trade.timestamp_ns // 1_000_000
        return self._frame(
            f"{self._name}@trade",
            {
                "e": "trade",
                "E": milliseconds,
                "s": self._name.upper(),
                "t": int(trade.trade_id),
                "p": text(trade.price),
                "q": text(trade.size),
                "T": milliseconds,
                "m": trade.side == "sell",
                "M": True,
            },
        )

    def quote(self, quote: Quote) -> bytes | None:
        """The top of the book as this venue writes it."""
        if quote.symbol != self.market.symbol:
            return None
        self._update_id += 1
        return self._frame(
            f"{self._name}@bookTicker",
            {
                "u": self._update_id,
                "s": self._name.upper(),
                "b": text(quote.bid),
                "B": text(quote.bid_size or quote.bid),
                "a": text(quote.ask),
                "A": text(quote.ask_size or quote.ask),
            },
        )

    def volume(self) -> bytes | None:
        """The ticker that carries the volume."""
        stamp_ns = self.market.trades[-1].timestamp_ns if self.market.trades else 1_700_000_000_000_000_000
        return self._frame(
            f"{self._name}@miniTicker",
            {
                "e": "24hrMiniTicker",
                "E": stamp_ns // 1_000_000,
                "s": self._name.upper(),
                "v": text(self.market.volume),
            },
        )

    def reconnect_request(self) -> bytes | None:
        """The venue's word for it."""
        return encode({"e": "serverShutdown", "E": 1_700_000_000_000})

    @classmethod
    def rest(cls, market: Market, path: str, query: Mapping[str, str]) -> bytes | None:
        """Trades, as the REST interface lists them."""
        limit = min(int(query.get("limit", "500")), 1000)
        if path == "/api/v3/trades":
            trades = list(market.trades)[-limit:]
        elif path == "/api/v3/historicalTrades":
            first = int(query.get("fromId", "0"))
            trades = [trade for trade in market.trades if int(trade.trade_id) >= first][:limit]
        else:
            return None
        rows = [
            {
                "id": int(trade.trade_id),
                "price": text(trade.price),
                "qty": text(trade.size),
                "time": trade.timestamp_ns // 1_000_000,
                "isBuyerMaker": trade.side == "sell",
            }
            for trade in trades
        ]
        return encode(rows)

    def _frame(self, stream: str, data: dict[str, Any]) -> bytes | None:
        return encode({"stream": stream, "data": data}) if stream in self.subscribed else None
