"""Bybit, API v5, spot.

Source: https://bybit-exchange.github.io/docs/v5/websocket/public/trade and its neighbours

A trade message says ``"type":"snapshot"`` though it is news. The spot ticker has no bid and ask, so quotes
come from ``orderbook.1``: a whole book first, then changes, whose ``u`` goes up by one. Messages are not
confirmed one by one: one answer stands for all topics of a request.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

import msgspec
from msgspec import Struct

from omega_ai.data_feed.exchanges.base import Channel, Limits, Liveness, RestTrades, Venue
from omega_ai.data_feed.exchanges.events import Ack, BookChange, Event, Heartbeat, Ignored, Refused
from omega_ai.data_feed.exchanges.numbers import (
    Identifier,
    Milliseconds,
    OutOfBounds,
    Text,
    not_negative,
    positive,
    refusing,
    symbol_of_joined,
    unparseable,
)
from omega_ai.data_feed.market import Side, Trade, Volume

NAME = "bybit"

_TAKER: dict[str, Side] = {"Buy": "buy", "Sell": "sell"}


class _Trade(Struct):
    s: Text
    i: Text
    p: Decimal
    v: Decimal
    S: Literal["Buy", "Sell"]
    T: Milliseconds


class _Trades(Struct):
    data: list[_Trade]


_Level = tuple[Decimal, Decimal]


class _Book(Struct):
    s: Text
    b: list[_Level]
    a: list[_Level]
    u: Identifier


class _BookFrame(Struct):
    type: Literal["snapshot", "delta"]
    ts: Milliseconds
    data: _Book


class _Ticker(Struct):
    symbol: Text
    volume24h: Decimal


class _TickerFrame(Struct):
    ts: Milliseconds
    data: _Ticker


class _Any(Struct):
    topic: Text | None = None
    op: Text | None = None
    success: bool | None = None
    ret_msg: str | None = None
    req_id: Text | None = None


_decode_trades = msgspec.json.Decoder(_Trades).decode
_decode_book = msgspec.json.Decoder(_BookFrame).decode
_decode_ticker = msgspec.json.Decoder(_TickerFrame).decode
_decode_any = msgspec.json.Decoder(_Any).decode


@refusing
def parse(raw: bytes, received_ns: int) -> Sequence[Event]:
    """One text message to events; see ``numbers.Parse``."""
    frame = _decode_any(raw)
    if frame.topic is None:
        return _answer(raw, frame)
    if frame.topic.startswith("publicTrade."):
        return [_trade(row, received_ns) for row in _decode_trades(raw).data]
    if frame.topic.startswith("orderbook.1."):
        return (_book(_decode_book(raw), received_ns),)
    if frame.topic.startswith("tickers."):
        ticker = _decode_ticker(raw)
        return (
            Volume(
                NAME,
                symbol_of_joined(ticker.data.symbol),
                not_negative(ticker.data.volume24h),
                ticker.ts * 1_000_000,
                received_ns,
            ),
        )
    return (Ignored(frame.topic),)


def _answer(raw: bytes, frame: _Any) -> Sequence[Event]:
    if frame.op == "pong" or (frame.op == "ping" and frame.success is not False):
        return (Heartbeat(),)
    if frame.success is False:
        key = f"id:{frame.req_id}" if frame.req_id else None
        return (Refused(key, (frame.ret_msg or "no reason")[:200]),)
    if frame.success and frame.op == "subscribe":
        return (Ack(f"id:{frame.req_id or ''}"),)
    if frame.op is not None:
        return (Ignored(frame.op),)
    return (unparseable(raw, "neither topic nor op"),)


def _trade(row: _Trade, received_ns: int) -> Trade:
    return Trade(
        NAME,
        symbol_of_joined(row.s),
        _identifier(row.i),
        positive(row.p),
        positive(row.v),
        _TAKER[row.S],
        row.T * 1_000_000,
        received_ns,
    )


def _identifier(text: str) -> str:
    """Spot's are numbers, other markets' UUIDs."""
    if text.isascii() and text.replace("-", "").isalnum():
        return text
    raise OutOfBounds("trade id is neither a number nor a UUID")


def _book(frame: _BookFrame, received_ns: int) -> BookChange:
    data = frame.data
    return BookChange(
        NAME,
        symbol_of_joined(data.s),
        frame.type == "snapshot",
        tuple((positive(price), not_negative(size)) for price, size in data.b),
        tuple((positive(price), not_negative(size)) for price, size in data.a),
        1,
        data.u,
        frame.ts * 1_000_000,
        received_ns,
    )


class _RestTrade(Struct):
    exec_id: Text = msgspec.field(name="execId")
    symbol: Text
    price: Decimal
    size: Decimal
    side: Literal["Buy", "Sell"]
    time: Text


class _RestList(Struct, frozen=True):
    rows: tuple[_RestTrade, ...] = msgspec.field(name="list", default=())


class _RestAnswer(Struct):
    ret_code: int = msgspec.field(name="retCode")
    message: str = msgspec.field(name="retMsg", default="")
    result: _RestList = _RestList()


_decode_rest = msgspec.json.Decoder(_RestAnswer).decode
_decode_time = msgspec.json.Decoder(Milliseconds).decode


@refusing
def parse_rest_trades(raw: bytes, received_ns: int) -> Sequence[Event]:
    """The answer of ``/v5/market/recent-trade``, newest first there, oldest first here."""
    answer = _decode_rest(raw)
    if answer.ret_code != 0:
        return (Refused(None, f"{answer.message or 'no reason'} (code {answer.ret_code})"[:200]),)
    return [
        Trade(
            NAME,
            symbol_of_joined(row.symbol),
            _identifier(row.exec_id),
            positive(row.price),
            positive(row.size),
            _TAKER[row.side],
            _decode_time(row.time) * 1_000_000,
            received_ns,
        )
        for row in reversed(answer.result.rows)
    ]


VENUE = Venue(
    name=NAME,
    url="wss://stream.bybit.com/v5/public/spot",
    parse=parse,
    channels=(
        Channel("publicTrade.BTCUSDT", "BTC-USDT", ("trades",), "id:1", 30.0),
        Channel("orderbook.1.BTCUSDT", "BTC-USDT", ("quotes",), "id:1", 15.0),
        Channel("tickers.BTCUSDT", "BTC-USDT", ("volume",), "id:1", 30.0),
    ),
    subscribe=(
        b'{"op":"subscribe","req_id":"1",'
        b'"args":["publicTrade.BTCUSDT","orderbook.1.BTCUSDT","tickers.BTCUSDT"]}',
    ),
    liveness=Liveness(interval_s=20.0, ping=b'{"op":"ping"}', ping_every_s=20.0),
    limits=Limits(connects=500, connect_window_s=300.0, messages_per_s=5.0),
    trade_ids="unique",
    documentation="https://bybit-exchange.github.io/docs/v5/ws/connect",
    rest=RestTrades(
        url="https://api.bybit.com",
        path="/v5/market/recent-trade?category=spot&symbol=BTCUSDT&limit=60",
        parse=parse_rest_trades,
        limit=60,
    ),
)
