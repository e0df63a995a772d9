"""Bitstamp in a stand-in's mouth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from omega_ai.data_feed.exchanges.standin.dialects.base import Dialect, decode, encode, text
from omega_ai.data_feed.exchanges.standin.market import Market
from omega_ai.data_feed.market import Quote, Trade


class BitstampDialect(Dialect):
    """No heartbeats but answers to ours; the whole book each time; ids that leave holes."""

    def receive(self, text: bytes) -> Sequence[bytes]:
        """Answers to subscriptions and pings."""
        message = decode(text)
        if message.get("event") == "bts:heartbeat":
            return (encode({"event": "bts:heartbeat", "channel": "", "data": {"status": "success"}}),)
        data = message.get("data")
        channel = data.get("channel") if isinstance(data, dict) else None
        if (
            self.refuse_subscriptions
            or message.get("event") != "bts:subscribe"
            or not isinstance(channel, str)
        ):
            error = {"code": None, "message": "Incorrect JSON format."}
            return (encode({"event": "bts:error", "channel": "", "data": error}),)
        self.subscribed.add(channel)
        return (encode({"event": "bts:subscription_succeeded", "channel": channel, "data": {}}),)

    def trade(self, trade: Trade) -> bytes | None:
        """A trade as this venue writes it."""
        channel = f"live_trades_{_joined(trade.symbol)}"
        if channel not in self.subscribed:
            return None
        data = {
            "id": int(trade.trade_id),
            "timestamp": str(trade.timestamp_ns // 1_000_000_000),
            "amount": trade.size,
            "amount_str": text(trade.size),
            "price": trade.price,
            "price_str": text(trade.price),
            "type": 0 if trade.side == "buy" else 1,
            "microtimestamp": str(trade.timestamp_ns // 1000),
        }
        return encode({"data": data, "channel": channel, "event": "trade"})

    def quote(self, quote: Quote) -> bytes | None:
        """The top of the book as this venue writes it."""
        channel = f"order_book_{_joined(quote.symbol)}"
        if channel not in self.subscribed or quote.timestamp_ns is None:
            return None
        data = {
            "timestamp": str(quote.timestamp_ns // 1_000_000_000),
            "microtimestamp": str(quote.timestamp_ns // 1000),
            "bids": [[text(quote.bid), text(quote.bid_size or quote.bid)]],
            "asks": [[text(quote.ask), text(quote.ask_size or quote.ask)]],
        }
        return encode({"data": data, "channel": channel, "event": "data"})

    def reconnect_request(self) -> bytes | None:
        """The venue's word for it."""
        return encode({"event": "bts:request_reconnect", "channel": "", "data": ""})

    @classmethod
    def rest(cls, market: Market, path: str, query: Mapping[str, str]) -> bytes | None:  # noqa: ARG003 - a minute, always
        """Trades, as the REST interface lists them."""
        if path != f"/api/v2/transactions/{_joined(market.symbol)}/":
            return None
        trades = list(market.trades)
        newest_ns = max((trade.received_ns for trade in trades), default=0)
        return encode(
            [
                {
                    "date": str(trade.timestamp_ns // 1_000_000_000),
                    "tid": trade.trade_id,
                    "price": text(trade.price),
                    "amount": text(trade.size),
                    "type": "0" if trade.side == "buy" else "1",
                }
                for trade in reversed(trades)
                if trade.received_ns > newest_ns - 60_000_000_000
            ]
        )


def _joined(symbol: str) -> str:
    return symbol.replace("-", "").lower()
