"""Bitstamp, WebSocket API v2.

Source: https://www.bitstamp.net/websocket/v2/

There is no ticker: the whole order book (100 levels) comes with each change, and its first level is the
quote. ``type`` 0 means that the taker bought, 1 that he sold. Trade ids are of all markets together, so one
market's leave holes. The venue asks for a reconnect (``bts:request_reconnect``) before it takes a server
away.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

import msgspec
from msgspec import Struct

from omega_ai.data_feed.exchanges.base import Channel, Limits, Liveness, RestTrades, Venue
from omega_ai.data_feed.exchanges.events import Ack, Event, Heartbeat, Ignored, ReconnectRequest, Refused
from omega_ai.data_feed.exchanges.numbers import (
    Identifier,
    Text,
    exact,
    not_negative,
    number_text,
    positive,
    refusing,
    seconds_in_bounds,
    symbol_of_joined,
    unparseable,
)
from omega_ai.data_feed.market import Quote, Side, Trade

NAME = "bitstamp"

_TAKER: dict[int, Side] = {0: "buy", 1: "sell"}


class _Trade(Struct):
    id: Identifier
    amount_str: Text
    price_str: Text
    type: Literal[0, 1]
    microtimestamp: Text


class _TradeFrame(Struct):
    channel: Text
    data: _Trade


class _Book(Struct):
    microtimestamp: Text
    bids: list[tuple[Decimal, Decimal]]
    asks: list[tuple[Decimal, Decimal]]


class _BookFrame(Struct):
    channel: Text
    data: _Book


class _ErrorData(Struct):
    message: str = ""


class _ErrorFrame(Struct):
    data: _ErrorData


class _Any(Struct):
    event: Text
    channel: Text = ""


_decode_trade = msgspec.json.Decoder(_TradeFrame).decode
_decode_book = msgspec.json.Decoder(_BookFrame).decode
_decode_error = msgspec.json.Decoder(_ErrorFrame).decode
_decode_any = msgspec.json.Decoder(_Any).decode


@refusing
def parse(raw: bytes, received_ns: int) -> Sequence[Event]:
    """One text message to events; see ``numbers.Parse``."""
    frame = _decode_any(raw)
    match frame.event:
        case "trade":
            return (_trade(_decode_trade(raw), received_ns),)
        case "data" if frame.channel.startswith("order_book_"):
            return _quote(_decode_book(raw), received_ns)
        case "bts:heartbeat":
            return (Heartbeat(),)
        case "bts:subscription_succeeded":
            return (Ack(frame.channel),)
        case "bts:error":
            return (Refused(frame.channel or None, (_decode_error(raw).data.message or "no reason")[:200]),)
        case "bts:request_reconnect":
            return (ReconnectRequest("bts:request_reconnect"),)
        case "":
            return (unparseable(raw, "an event without a name"),)
        case event:
            return (Ignored(event),)


def _trade(frame: _TradeFrame, received_ns: int) -> Trade:
    data = frame.data
    return Trade(
        NAME,
        symbol_of_joined(frame.channel.removeprefix("live_trades_")),
        str(data.id),
        exact(data.price_str),
        exact(data.amount_str),
        _TAKER[data.type],
        _microseconds(data.microtimestamp),
        received_ns,
    )


def _quote(frame: _BookFrame, received_ns: int) -> Sequence[Event]:
    data = frame.data
    if not data.bids or not data.asks:
        return (Ignored("half a book"),)
    (bid, bid_size), (ask, ask_size) = data.bids[0], data.asks[0]
    return (
        Quote(
            NAME,
            symbol_of_joined(frame.channel.removeprefix("order_book_")),
            positive(bid),
            not_negative(bid_size),
            positive(ask),
            not_negative(ask_size),
            _microseconds(data.microtimestamp),
            received_ns,
        ),
    )


def _microseconds(text: str) -> int:
    return seconds_in_bounds(int(text) * 1000)


class _RestTrade(Struct):
    tid: Text
    date: Text
    price: Text
    amount: Text
    type: Literal["0", "1"]


_decode_rest = msgspec.json.Decoder(list[_RestTrade], strict=False).decode


@refusing
def parse_rest_trades(raw: bytes, received_ns: int) -> Sequence[Event]:
    """The answer of ``/api/v2/transactions/btcusd/``, newest first there, oldest first here; whole
    seconds."""
    return [
        Trade(
            NAME,
            "BTC-USD",
            number_text(row.tid),
            exact(row.price),
            exact(row.amount),
            _TAKER[int(row.type)],
            seconds_in_bounds(int(row.date) * 1_000_000_000),
            received_ns,
        )
        for row in sorted(_decode_rest(raw), key=lambda row: int(row.tid))
    ]


def _subscribe(channel: str) -> bytes:
    return msgspec.json.encode({"event": "bts:subscribe", "data": {"channel": channel}})


VENUE = Venue(
    name=NAME,
    url="wss://ws.bitstamp.net",
    parse=parse,
    channels=(
        Channel("live_trades_btcusd", "BTC-USD", ("trades",), "live_trades_btcusd", 300.0),
        Channel("order_book_btcusd", "BTC-USD", ("quotes",), "order_book_btcusd", 15.0),
        Channel("order_book_usdtusd", "USDT-USD", ("quotes",), "order_book_usdtusd", None),
    ),
    subscribe=(
        _subscribe("live_trades_btcusd"),
        _subscribe("order_book_btcusd"),
        _subscribe("order_book_usdtusd"),
    ),
    liveness=Liveness(interval_s=10.0, ping=b'{"event":"bts:heartbeat"}', ping_every_s=10.0),
    # Not documented; modest on purpose. A connection lives for 90 days.
    limits=Limits(connects=30, connect_window_s=60.0, messages_per_s=5.0, max_age_s=90 * 86_400.0),
    trade_ids="unique",
    documentation="https://www.bitstamp.net/websocket/v2/",
    rest=RestTrades(
        url="https://www.bitstamp.net",
        path="/api/v2/transactions/btcusd/?time=minute",
        parse=parse_rest_trades,
        limit=1000,
    ),
)
