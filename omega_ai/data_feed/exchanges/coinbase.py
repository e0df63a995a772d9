"""Coinbase Advanced Trade.

Source: https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels

``market_trades`` gives the MAKER's side and lists the newest trade first; both are turned round here. Every
message of a connection carries ``sequence_num``. Without ``heartbeats`` the venue closes quiet channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

import msgspec
from msgspec import Struct

from omega_ai.data_feed.exchanges.base import Channel, Limits, Liveness, RestTrades, Venue
from omega_ai.data_feed.exchanges.events import (
    Ack,
    Event,
    Heartbeat,
    Ignored,
    Refused,
    SequenceNumber,
    TradeSnapshot,
)
from omega_ai.data_feed.exchanges.numbers import (
    Identifier,
    Text,
    not_negative,
    number_text,
    plain,
    positive,
    refusing,
    unparseable,
    utc_ns,
)
from omega_ai.data_feed.market import Quote, Side, Trade, Volume

NAME = "coinbase"

_TAKER_OF_MAKER: dict[str, Side] = {"BUY": "sell", "SELL": "buy"}


class _Trade(Struct):
    product_id: Text
    trade_id: Text
    price: Decimal
    size: Decimal
    time: Text
    side: Text


class _TradesEvent(Struct):
    type: Literal["snapshot", "update"]
    trades: list[_Trade]


class _Trades(Struct):
    sequence_num: Identifier
    events: list[_TradesEvent]


class _TickerRow(Struct):
    product_id: Text
    best_bid: Text | None = None
    best_ask: Text | None = None
    best_bid_quantity: Text | None = None
    best_ask_quantity: Text | None = None
    volume_24_h: Text | None = None


class _TickerEvent(Struct):
    tickers: list[_TickerRow]


class _Tickers(Struct):
    sequence_num: Identifier
    timestamp: Text
    events: list[_TickerEvent]


class _SubscriptionsEvent(Struct):
    subscriptions: dict[Text, list[Text]]


class _Subscriptions(Struct):
    sequence_num: Identifier
    events: list[_SubscriptionsEvent]


class _Any(Struct):
    channel: Text | None = None
    type: Text | None = None
    message: str | None = None
    sequence_num: Identifier | None = None


_decode_trades = msgspec.json.Decoder(_Trades).decode
_decode_tickers = msgspec.json.Decoder(_Tickers).decode
_decode_subscriptions = msgspec.json.Decoder(_Subscriptions).decode
_decode_any = msgspec.json.Decoder(_Any).decode


@refusing
def parse(raw: bytes, received_ns: int) -> Sequence[Event]:
    """One text message to events; see ``numbers.Parse``."""
    head = raw[:64]  # the channel comes first; if it ever does not, the general way below still reads it
    if head.startswith(b'{"channel":"market_trades"'):
        return _trades(raw, received_ns)
    if head.startswith(b'{"channel":"ticker"'):
        return _tickers(raw, received_ns)
    frame = _decode_any(raw)
    match frame.channel:
        case "market_trades":
            return _trades(raw, received_ns)
        case "ticker" | "ticker_batch":
            return _tickers(raw, received_ns)
        case "subscriptions":
            return _subscriptions(raw)
        case "heartbeats":
            return (*_sequence(frame), Heartbeat())
        case None if frame.type == "error":
            return (Refused(None, (frame.message or "no reason")[:200]),)
        case None:
            return (unparseable(raw, "no channel"),)
        case channel:
            return (*_sequence(frame), Ignored(channel))


def _sequence(frame: _Any) -> Sequence[Event]:
    return () if frame.sequence_num is None else (SequenceNumber(frame.sequence_num),)


def _trades(raw: bytes, received_ns: int) -> Sequence[Event]:
    frame = _decode_trades(raw)
    events: list[Event] = [SequenceNumber(frame.sequence_num)]
    for event in frame.events:
        trades = [_trade(row, received_ns) for row in reversed(event.trades)]
        if event.type == "snapshot":
            events.append(TradeSnapshot(tuple(trades)))
        else:
            events += trades
    return events


def _trade(row: _Trade, received_ns: int) -> Trade:
    return Trade(
        NAME,
        row.product_id,
        number_text(row.trade_id),
        positive(row.price),
        positive(row.size),
        _TAKER_OF_MAKER.get(row.side),
        utc_ns(row.time),
        received_ns,
    )


def _tickers(raw: bytes, received_ns: int) -> Sequence[Event]:
    frame = _decode_tickers(raw)
    timestamp_ns = utc_ns(frame.timestamp)
    events: list[Event] = [SequenceNumber(frame.sequence_num)]
    for event in frame.events:
        for row in event.tickers:
            # An empty side of the book is sent as an empty string, as 0, or not at all.
            bid, ask = _amount(row.best_bid), _amount(row.best_ask)
            if bid and ask:
                events.append(
                    Quote(
                        NAME,
                        row.product_id,
                        bid,
                        _amount(row.best_bid_quantity),
                        ask,
                        _amount(row.best_ask_quantity),
                        timestamp_ns,
                        received_ns,
                    )
                )
            if (volume := _amount(row.volume_24_h)) is not None:
                events.append(Volume(NAME, row.product_id, volume, timestamp_ns, received_ns))
    return events


def _amount(text: str | None) -> Decimal | None:
    return not_negative(plain(text)) if text else None


def _subscriptions(raw: bytes) -> Sequence[Event]:
    frame = _decode_subscriptions(raw)
    events: list[Event] = [SequenceNumber(frame.sequence_num)]
    for event in frame.events:
        for channel, products in event.subscriptions.items():
            events += [Ack(f"{channel}:{product}"[:64]) for product in products]
            events.append(Ack(channel))
    return events


class _RestTrades(Struct):
    trades: list[_Trade]


_decode_rest = msgspec.json.Decoder(_RestTrades).decode


@refusing
def parse_rest_trades(raw: bytes, received_ns: int) -> Sequence[Event]:
    """The answer of ``/market/products/BTC-USD/ticker``, turned so that the oldest trade comes first."""
    rows = sorted(_decode_rest(raw).trades, key=lambda row: int(row.trade_id))
    return [_trade(row, received_ns) for row in rows]


def _subscribe(channel: str, *products: str) -> bytes:
    message: dict[str, object] = {"type": "subscribe", "channel": channel}
    if products:
        message["product_ids"] = products
    return msgspec.json.encode(message)


VENUE = Venue(
    name=NAME,
    url="wss://advanced-trade-ws.coinbase.com",
    parse=parse,
    channels=(
        Channel("heartbeats", "", ("heartbeats",), "heartbeats", 10.0),
        Channel("market_trades", "BTC-USD", ("trades",), "market_trades:BTC-USD", 30.0),
        Channel("ticker", "BTC-USD", ("quotes", "volume"), "ticker:BTC-USD", 30.0),
        Channel("ticker", "USDT-USD", ("quotes",), "ticker:USDT-USD", None),
    ),
    subscribe=(
        _subscribe("heartbeats"),
        _subscribe("market_trades", "BTC-USD"),
        _subscribe("ticker", "BTC-USD", "USDT-USD"),
    ),
    liveness=Liveness(interval_s=1.0),
    # 8 connections and 8 messages a second and address.
    limits=Limits(connects=8, connect_window_s=1.0, messages_per_s=8.0),
    trade_ids="consecutive",
    documentation="https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-overview",
    rest=RestTrades(
        url="https://api.coinbase.com",
        path="/api/v3/brokerage/market/products/BTC-USD/ticker?limit={limit}",
        parse=parse_rest_trades,
        limit=1000,
    ),
)
