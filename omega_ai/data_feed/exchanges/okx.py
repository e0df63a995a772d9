"""OKX, API v5, public channels.

Source: https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-trades-channel

``trades`` joins the matches of one taker's order at one price: ``count`` says how many, ``tradeId`` is the
last of them. The connection is cut after 30 s without a message; the answer to ``ping`` is the bare text
``pong``.
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
    AggregateTrade,
    Event,
    Heartbeat,
    Ignored,
    ReconnectRequest,
    Refused,
)
from omega_ai.data_feed.exchanges.numbers import (
    Text,
    exact,
    not_negative,
    number_text,
    plain,
    positive,
    refusing,
    seconds_in_bounds,
    unparseable,
)
from omega_ai.data_feed.market import Quote, Trade, Volume

NAME = "okx"


class _Argument(Struct):
    channel: Text
    inst_id: Text = msgspec.field(name="instId", default="")


class _Trade(Struct):
    inst_id: Text = msgspec.field(name="instId")
    trade_id: Text = msgspec.field(name="tradeId")
    px: Text
    sz: Text
    side: Literal["buy", "sell"]
    ts: Text
    count: Text = "1"


class _Trades(Struct):
    data: list[_Trade]


_Level = tuple[Decimal, Decimal, Text, Text]


class _Book(Struct):
    asks: list[_Level]
    bids: list[_Level]
    ts: Text


class _Books(Struct):
    arg: _Argument
    data: list[_Book]


class _Ticker(Struct):
    inst_id: Text = msgspec.field(name="instId")
    vol24h: Text
    ts: Text


class _Tickers(Struct):
    data: list[_Ticker]


class _Any(Struct):
    event: Text | None = None
    arg: _Argument | None = None
    code: Text | None = None
    msg: str | None = None


_decode_trades = msgspec.json.Decoder(_Trades).decode
_decode_books = msgspec.json.Decoder(_Books).decode
_decode_tickers = msgspec.json.Decoder(_Tickers).decode
_decode_any = msgspec.json.Decoder(_Any).decode


@refusing
def parse(raw: bytes, received_ns: int) -> Sequence[Event]:
    """One text message to events; see ``numbers.Parse``."""
    if raw == b"pong":
        return (Heartbeat(),)
    frame = _decode_any(raw)
    if frame.event is not None:
        return _word(frame.event, frame)
    if frame.arg is None:
        return (unparseable(raw, "neither event nor channel"),)
    match frame.arg.channel:
        case "trades":
            return [_trade(row, received_ns) for row in _decode_trades(raw).data]
        case "bbo-tbt":
            return _quotes(_decode_books(raw), received_ns)
        case "tickers":
            return [
                Volume(NAME, row.inst_id, not_negative(plain(row.vol24h)), _milliseconds(row.ts), received_ns)
                for row in _decode_tickers(raw).data
            ]
        case channel:
            return (Ignored(channel),)


def _word(event: str, frame: _Any) -> Sequence[Event]:
    key = f"{frame.arg.channel}:{frame.arg.inst_id}"[:64] if frame.arg is not None else None
    match event:
        case "subscribe" if key is not None:
            return (Ack(key),)
        case "error":
            return (Refused(key, f"{frame.msg or 'no reason'} (code {frame.code})"[:200]),)
        case "notice":
            return (ReconnectRequest(f"notice {frame.code}"),)
        case other:
            return (Ignored(other),)


def _trade(row: _Trade, received_ns: int) -> Trade | AggregateTrade:
    trade = Trade(
        NAME,
        row.inst_id,
        number_text(row.trade_id),
        exact(row.px),
        exact(row.sz),
        row.side,
        _milliseconds(row.ts),
        received_ns,
    )
    count = int(row.count)
    return trade if count <= 1 else AggregateTrade(trade, min(count, 1_000_000))


def _quotes(frame: _Books, received_ns: int) -> Sequence[Event]:
    events: list[Event] = []
    for book in frame.data:
        if book.bids and book.asks:
            bid, ask = book.bids[0], book.asks[0]
            events.append(
                Quote(
                    NAME,
                    frame.arg.inst_id,
                    positive(bid[0]),
                    not_negative(bid[1]),
                    positive(ask[0]),
                    not_negative(ask[1]),
                    _milliseconds(book.ts),
                    received_ns,
                )
            )
    return events or (Ignored("half a book"),)


def _milliseconds(text: str) -> int:
    return seconds_in_bounds(int(text) * 1_000_000)


class _RestAnswer(Struct):
    code: Text
    data: list[_Trade]
    msg: str = ""


_decode_rest = msgspec.json.Decoder(_RestAnswer).decode


@refusing
def parse_rest_trades(raw: bytes, received_ns: int) -> Sequence[Event]:
    """The answer of ``/api/v5/market/history-trades``, newest first there, oldest first here; one match a
    row."""
    answer = _decode_rest(raw)
    if answer.code != "0":
        return (Refused(None, f"{answer.msg or 'no reason'} (code {answer.code})"[:200]),)
    return [_trade(row, received_ns) for row in sorted(answer.data, key=lambda row: int(row.trade_id))]


VENUE = Venue(
    name=NAME,
    url="wss://ws.okx.com:8443/ws/v5/public",
    parse=parse,
    channels=(
        Channel("trades", "BTC-USDT", ("trades",), "trades:BTC-USDT", 30.0),
        Channel("bbo-tbt", "BTC-USDT", ("quotes",), "bbo-tbt:BTC-USDT", 15.0),
        Channel("tickers", "BTC-USDT", ("volume",), "tickers:BTC-USDT", 30.0),
    ),
    subscribe=(
        b'{"op":"subscribe","args":[{"channel":"trades","instId":"BTC-USDT"},'
        b'{"channel":"bbo-tbt","instId":"BTC-USDT"},{"channel":"tickers","instId":"BTC-USDT"}]}',
    ),
    liveness=Liveness(interval_s=15.0, ping=b"ping", ping_every_s=15.0),
    limits=Limits(connects=3, connect_window_s=1.0, messages_per_s=2.0),
    trade_ids="consecutive",
    documentation="https://www.okx.com/docs-v5/en/#overview-websocket",
    rest=RestTrades(
        url="https://www.okx.com",
        path="/api/v5/market/history-trades?instId=BTC-USDT&type=1&after={next}&limit={limit}",
        parse=parse_rest_trades,
        limit=100,
    ),
)
