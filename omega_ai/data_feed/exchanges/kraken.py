"""Kraken, WebSocket API v2.

Source: https://docs.kraken.com/api/docs/websocket-v2/trade and its neighbours

Prices are JSON numbers whose digits count; they are decoded from their text. Heartbeats come about each
second once anything is subscribed, and also after every subscription was refused: only data proves a
subscription.
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
    BookChange,
    Event,
    Heartbeat,
    Ignored,
    Refused,
    TradeSnapshot,
)
from omega_ai.data_feed.exchanges.numbers import (
    Identifier,
    Text,
    exact,
    not_negative,
    positive,
    refusing,
    seconds_in_bounds,
    symbol_of_joined,
    symbol_of_slashed,
    unparseable,
    utc_ns,
)
from omega_ai.data_feed.market import Quote, Trade, Volume

NAME = "kraken"

_BOOK_DEPTH = 10


class _Trade(Struct):
    symbol: Text
    side: Literal["buy", "sell"]
    price: Decimal
    qty: Decimal
    trade_id: Identifier
    timestamp: Text


class _Trades(Struct):
    type: Literal["snapshot", "update"]
    data: list[_Trade]


class _Ticker(Struct):
    symbol: Text
    bid: Decimal
    bid_qty: Decimal
    ask: Decimal
    ask_qty: Decimal
    volume: Decimal
    timestamp: Text | None = None


class _Tickers(Struct):
    data: list[_Ticker]


class _Level(Struct):
    price: Decimal
    qty: Decimal


class _Book(Struct):
    symbol: Text
    bids: list[_Level]
    asks: list[_Level]
    timestamp: Text | None = None


class _Books(Struct):
    type: Literal["snapshot", "update"]
    data: list[_Book]


class _Subscribed(Struct):
    channel: Text
    symbol: Text | None = None


class _Any(Struct):
    channel: Text | None = None
    method: Text | None = None
    success: bool | None = None
    result: _Subscribed | None = None
    error: str | None = None
    symbol: Text | None = None


_decode_trades = msgspec.json.Decoder(_Trades).decode
_decode_tickers = msgspec.json.Decoder(_Tickers).decode
_decode_books = msgspec.json.Decoder(_Books).decode
_decode_any = msgspec.json.Decoder(_Any).decode


@refusing
def parse(raw: bytes, received_ns: int) -> Sequence[Event]:
    """One text message to events; see ``numbers.Parse``."""
    frame = _decode_any(raw)
    match frame.channel:
        case "ticker":
            return _tickers(raw, received_ns)
        case "trade":
            return _trades(raw, received_ns)
        case "book":
            return _books(raw, received_ns)
        case "heartbeat":
            return (Heartbeat(),)
        case None:
            return _answer(raw, frame)
        case channel:
            return (Ignored(channel),)


def _answer(raw: bytes, frame: _Any) -> Sequence[Event]:
    if frame.method == "pong":
        return (Heartbeat(),)
    if frame.success is False or (frame.method is None and frame.error is not None):
        reason = frame.error or "no reason"
        return (Refused(None, f"{reason} ({frame.symbol})"[:200] if frame.symbol else reason[:200]),)
    if frame.success and frame.method == "subscribe" and frame.result is not None:
        return (Ack(f"{frame.result.channel}:{frame.result.symbol or ''}"),)
    if frame.method is not None:
        return (Ignored(frame.method),)
    return (unparseable(raw, "neither channel nor method"),)


def _trades(raw: bytes, received_ns: int) -> Sequence[Event]:
    frame = _decode_trades(raw)
    trades = [_trade(row, received_ns) for row in frame.data]
    return (TradeSnapshot(tuple(trades)),) if frame.type == "snapshot" else trades


def _trade(row: _Trade, received_ns: int) -> Trade:
    return Trade(
        NAME,
        symbol_of_slashed(row.symbol),
        str(row.trade_id),
        positive(row.price),
        positive(row.qty),
        row.side,
        utc_ns(row.timestamp),
        received_ns,
    )


def _tickers(raw: bytes, received_ns: int) -> Sequence[Event]:
    events: list[Event] = []
    for row in _decode_tickers(raw).data:
        symbol = symbol_of_slashed(row.symbol)
        timestamp_ns = utc_ns(row.timestamp) if row.timestamp else None
        if row.bid and row.ask:  # 0 stands for an empty side
            events.append(
                Quote(
                    NAME,
                    symbol,
                    positive(row.bid),
                    not_negative(row.bid_qty),
                    positive(row.ask),
                    not_negative(row.ask_qty),
                    timestamp_ns,
                    received_ns,
                )
            )
        events.append(Volume(NAME, symbol, not_negative(row.volume), timestamp_ns, received_ns))
    return events


def _books(raw: bytes, received_ns: int) -> Sequence[Event]:
    """Not subscribed to, but found in recordings. Only the top is followed: a deeper book is cut to 10
    levels."""
    frame = _decode_books(raw)
    return [
        BookChange(
            NAME,
            symbol_of_slashed(row.symbol),
            frame.type == "snapshot",
            tuple((positive(level.price), not_negative(level.qty)) for level in row.bids),
            tuple((positive(level.price), not_negative(level.qty)) for level in row.asks),
            _BOOK_DEPTH,
            None,
            utc_ns(row.timestamp) if row.timestamp else None,
            received_ns,
        )
        for row in frame.data
    ]


class _RestAnswer(Struct):
    error: list[str]
    result: dict[str, msgspec.Raw] = {}


_RestRow = tuple[Text, Text, Decimal, Literal["b", "s"], Text, str, Identifier]

_decode_rest = msgspec.json.Decoder(_RestAnswer).decode
_decode_rows = msgspec.json.Decoder(list[_RestRow]).decode


@refusing
def parse_rest_trades(raw: bytes, received_ns: int) -> Sequence[Event]:
    """The answer of ``/0/public/Trades``: rows of price, volume, time, b/s, l/m, misc, trade id; oldest
    first."""
    answer = _decode_rest(raw)
    if answer.error:
        return (Refused(None, "; ".join(answer.error)[:200]),)
    events: list[Event] = []
    for pair, rows in answer.result.items():
        if pair == "last":
            continue
        symbol = symbol_of_joined("XBTUSD" if pair == "XXBTZUSD" else pair[:64])
        for price, size, time, side, _kind, _misc, trade_id in _decode_rows(bytes(rows)):
            events.append(
                Trade(
                    NAME,
                    symbol,
                    str(trade_id),
                    exact(price),
                    exact(size),
                    "buy" if side == "b" else "sell",
                    seconds_in_bounds(int(positive(time).scaleb(9))),
                    received_ns,
                )
            )
    return events


VENUE = Venue(
    name=NAME,
    url="wss://ws.kraken.com/v2",
    parse=parse,
    channels=(
        Channel("heartbeat", "", ("heartbeats",), None, 10.0),
        Channel("trade", "BTC-USD", ("trades",), "trade:BTC/USD", 30.0),
        Channel("ticker", "BTC-USD", ("quotes", "volume"), "ticker:BTC/USD", 15.0),
        Channel("ticker", "USDT-USD", ("quotes",), "ticker:USDT/USD", None),
    ),
    subscribe=(
        b'{"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USD"],"snapshot":true},"req_id":1}',
        b'{"method":"subscribe","params":{"channel":"ticker","symbol":["BTC/USD","USDT/USD"],'
        b'"event_trigger":"bbo","snapshot":true},"req_id":2}',
    ),
    liveness=Liveness(interval_s=1.0, ping=b'{"method":"ping"}', ping_every_s=30.0),
    # Cloudflare in front bans an address for about 150 connections in ten minutes.
    limits=Limits(connects=150, connect_window_s=600.0, messages_per_s=5.0),
    trade_ids="consecutive",
    documentation="https://docs.kraken.com/api/docs/guides/spot-ws-intro",
    rest=RestTrades(
        url="https://api.kraken.com",
        path="/0/public/Trades?pair=XBTUSD&since={since_ns}&count={limit}",
        parse=parse_rest_trades,
        limit=1000,
    ),
)
