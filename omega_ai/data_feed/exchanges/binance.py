"""Binance spot, combined streams.

Source: https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams

``m`` says that the buyer was the maker: then the taker sold. bookTicker carries no time. An unknown stream is
confirmed like any other and then stays silent, so only the first data proves a subscription.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

import msgspec
from msgspec import Struct

from omega_ai.data_feed.exchanges.base import Channel, Limits, Liveness, RestTrades, Venue
from omega_ai.data_feed.exchanges.events import Ack, Event, Ignored, ReconnectRequest, Refused
from omega_ai.data_feed.exchanges.numbers import (
    Identifier,
    Milliseconds,
    Text,
    not_negative,
    positive,
    refusing,
    symbol_of_joined,
    unparseable,
)
from omega_ai.data_feed.market import Quote, Trade, Volume

NAME = "binance"


class _Trade(Struct):
    e: Literal["trade"]
    s: Text
    t: Identifier
    p: Decimal
    q: Decimal
    T: Milliseconds
    m: bool


class _Quote(Struct):
    s: Text
    b: Decimal
    B: Decimal
    a: Decimal
    A: Decimal
    u: Identifier


class _Ticker(Struct):
    e: Literal["24hrMiniTicker", "24hrTicker"]
    E: Milliseconds
    s: Text
    v: Decimal


class _TradeFrame(Struct):
    stream: Text
    data: _Trade


class _QuoteFrame(Struct):
    stream: Text
    data: _Quote


class _Error(Struct):
    code: int = 0
    msg: str = ""


class _AnyFrame(Struct):
    """Everything else, and whatever the two above could not read."""

    stream: Text | None = None
    data: msgspec.Raw = msgspec.Raw()
    e: Text | None = None
    id: int | str | None = None
    error: _Error | None = None
    code: int | None = None
    msg: str | None = None
    u: int | None = None
    a: msgspec.Raw = msgspec.Raw()
    last_update_id: int | None = msgspec.field(name="lastUpdateId", default=None)


_decode_trade_frame = msgspec.json.Decoder(_TradeFrame).decode
_decode_quote_frame = msgspec.json.Decoder(_QuoteFrame).decode
_decode_trade = msgspec.json.Decoder(_Trade).decode
_decode_quote = msgspec.json.Decoder(_Quote).decode
_decode_ticker = msgspec.json.Decoder(_Ticker).decode
_decode_any = msgspec.json.Decoder(_AnyFrame).decode


@refusing
def parse(raw: bytes, received_ns: int) -> Sequence[Event]:
    """One text message to events; see ``numbers.Parse``."""
    # The stream's name comes first in every message recorded so far. Should that change, the general way
    # below reads the same message, only slower.
    if raw.find(b'@trade"', 0, 64) > 0:
        return (_trade(_decode_trade_frame(raw).data, received_ns),)
    if raw.find(b'@bookTicker"', 0, 64) > 0:
        return (_quote(_decode_quote_frame(raw).data, received_ns),)
    frame = _decode_any(raw)
    if (inner := bytes(frame.data)) and frame.stream is not None:
        return _payload(inner, _decode_any(inner), received_ns)
    if frame.error is not None:
        return (Refused(_key(frame.id), f"{frame.error.msg or 'no reason'} (code {frame.error.code})"[:200]),)
    if frame.code is not None:
        return (Refused(_key(frame.id), f"{frame.msg or 'no reason'} (code {frame.code})"[:200]),)
    if frame.id is not None and frame.e is None:
        return (Ack(f"id:{frame.id}"[:64]),)
    return _payload(raw, frame, received_ns)


def _payload(raw: bytes, frame: _AnyFrame, received_ns: int) -> Sequence[Event]:
    match frame.e:
        case "trade":
            return (_trade(_decode_trade(raw), received_ns),)
        case "24hrMiniTicker" | "24hrTicker":
            ticker = _decode_ticker(raw)
            symbol = symbol_of_joined(ticker.s)
            return (Volume(NAME, symbol, not_negative(ticker.v), ticker.E * 1_000_000, received_ns),)
        case "serverShutdown":
            return (ReconnectRequest("serverShutdown"),)
        case None if frame.u is not None and bytes(frame.a):
            return (_quote(_decode_quote(raw), received_ns),)
        case None if frame.last_update_id is not None:
            return (Ignored("depth snapshot"),)
        case None:
            return (unparseable(raw, "neither event, answer nor quote"),)
        case kind:
            return (Ignored(kind),)


def _trade(data: _Trade, received_ns: int) -> Trade:
    return Trade(
        NAME,
        symbol_of_joined(data.s),
        str(data.t),
        positive(data.p),
        positive(data.q),
        "sell" if data.m else "buy",
        data.T * 1_000_000,
        received_ns,
    )


def _quote(data: _Quote, received_ns: int) -> Quote:
    return Quote(
        NAME,
        symbol_of_joined(data.s),
        positive(data.b),
        not_negative(data.B),
        positive(data.a),
        not_negative(data.A),
        None,
        received_ns,
    )


def _key(identifier: int | str | None) -> str | None:
    return None if identifier is None else f"id:{identifier}"[:64]


class _RestTrade(Struct):
    id: Identifier
    price: Decimal
    qty: Decimal
    time: Milliseconds
    is_buyer_maker: bool = msgspec.field(name="isBuyerMaker")


_decode_rest = msgspec.json.Decoder(list[_RestTrade]).decode


@refusing
def parse_rest_trades(raw: bytes, received_ns: int) -> Sequence[Event]:
    """The answer of ``/api/v3/historicalTrades`` and ``/api/v3/trades``, oldest first."""
    return [
        Trade(
            NAME,
            "BTC-USDT",
            str(row.id),
            positive(row.price),
            positive(row.qty),
            "sell" if row.is_buyer_maker else "buy",
            row.time * 1_000_000,
            received_ns,
        )
        for row in _decode_rest(raw)
    ]


VENUE = Venue(
    name=NAME,
    url="wss://stream.binance.com:9443/stream",
    parse=parse,
    channels=(
        Channel("btcusdt@trade", "BTC-USDT", ("trades",), "id:1", 30.0),
        Channel("btcusdt@bookTicker", "BTC-USDT", ("quotes",), "id:1", 15.0),
        Channel("btcusdt@miniTicker", "BTC-USDT", ("volume",), "id:1", 30.0),
    ),
    subscribe=(
        b'{"method":"SUBSCRIBE","params":["btcusdt@trade","btcusdt@bookTicker","btcusdt@miniTicker"],"id":1}',
    ),
    # The server pings every 20 s. Answering our own pings is not promised, and each counts as a message.
    liveness=Liveness(interval_s=20.0),
    limits=Limits(connects=300, connect_window_s=300.0, messages_per_s=5.0, max_age_s=86_400.0),
    trade_ids="consecutive",
    documentation="https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams",
    rest=RestTrades(
        url="https://api.binance.com",
        path="/api/v3/historicalTrades?symbol=BTCUSDT&fromId={first}&limit={limit}",
        parse=parse_rest_trades,
        limit=1000,
        # By id, historicalTrades reaches back as far as need be, but has been known to ask for a key.
        other_path="/api/v3/trades?symbol=BTCUSDT&limit={limit}",
    ),
)
