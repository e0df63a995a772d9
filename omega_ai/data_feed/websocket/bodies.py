"""The bodies of published messages: what the broker adds ``epoch`` and ``seq`` to (see ``broker.base``).

What does not come from the market of this moment says ``simulated``, every single message.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from omega_ai.core.timestamps import format_utc
from omega_ai.data_feed.market import BtcPrice, Candle, Quote, SourcePrice, SourceStatus, Trade

_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode


class PriceBody(Struct, tag="btc_price", tag_field="type"):
    """The consolidated price. ``volume`` is that of 24 hours over the venues used; null until known."""

    symbol: str
    price: Decimal
    volume: Decimal | None
    bid: Decimal | None
    ask: Decimal | None
    timestamp: str
    source_timestamp: str | None
    sources: dict[str, SourcePrice]
    state: str


def encode_price_body(price: BtcPrice, now_ns: int) -> bytes:
    """The body of a ``btc_price`` message; ``now_ns`` becomes its ``timestamp``."""
    source_ns = price.source_timestamp_ns
    return _encode(
        PriceBody(
            symbol=price.symbol,
            price=price.price,
            volume=price.volume,
            bid=price.bid,
            ask=price.ask,
            timestamp=format_utc(now_ns),
            source_timestamp=None if source_ns is None else format_utc(source_ns),
            sources=price.sources,
            state=price.state,
        )
    )


def encode_broadcast_body(text: bytes) -> bytes:
    """A client's ``broadcast`` as a body: its own fields in its own digits, less the reserved ones."""
    fields = _decode_fields(text)
    body: dict[str, Raw] = {"type": Raw(b'"broadcast"')}
    body.update((key, raw) for key, raw in fields.items() if key not in ("type", "epoch", "seq"))
    return _encode(body)


class TradeBody(Struct, tag="trades", tag_field="type"):
    """One execution at one venue; ``side`` is the taker's."""

    venue: str
    symbol: str
    trade_id: str
    price: Decimal
    size: Decimal
    side: str | None
    timestamp: str
    received_at: str
    simulated: bool | UnsetType = UNSET


def encode_trade_body(trade: Trade, *, simulated: bool = False) -> bytes:
    """The body of a ``trades`` message."""
    return _encode(
        TradeBody(
            venue=trade.venue,
            symbol=trade.symbol,
            trade_id=trade.trade_id,
            price=trade.price,
            size=trade.size,
            side=trade.side,
            timestamp=format_utc(trade.timestamp_ns),
            received_at=format_utc(trade.received_ns),
            simulated=simulated or UNSET,
        )
    )


class QuoteBody(Struct, tag="quotes", tag_field="type"):
    """Best bid and ask at one venue."""

    venue: str
    symbol: str
    bid: Decimal
    bid_size: Decimal | None
    ask: Decimal
    ask_size: Decimal | None
    timestamp: str | None
    received_at: str
    simulated: bool | UnsetType = UNSET


def encode_quote_body(quote: Quote, *, simulated: bool = False) -> bytes:
    """The body of a ``quotes`` message."""
    return _encode(
        QuoteBody(
            venue=quote.venue,
            symbol=quote.symbol,
            bid=quote.bid,
            bid_size=quote.bid_size,
            ask=quote.ask,
            ask_size=quote.ask_size,
            timestamp=None if quote.timestamp_ns is None else format_utc(quote.timestamp_ns),
            received_at=format_utc(quote.received_ns),
            simulated=simulated or UNSET,
        )
    )


class CandleBody(Struct, tag="candles", tag_field="type"):
    """Trades of one interval (``1s``, ``1m``); ``late`` trades came after it had been final."""

    symbol: str
    interval: str
    start: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    trades: int
    final: bool
    late: int
    simulated: bool | UnsetType = UNSET


def encode_candle_body(candle: Candle, *, simulated: bool = False) -> bytes:
    """The body of a ``candles`` message; ``interval`` is ``1s`` or ``1m``."""
    interval = candle.interval_s
    return _encode(
        CandleBody(
            symbol=candle.symbol,
            interval=f"{interval // 60}m" if interval % 60 == 0 else f"{interval}s",
            start=format_utc(candle.start_ns),
            open=candle.open,
            high=candle.high,
            low=candle.low,
            close=candle.close,
            volume=candle.volume,
            trades=candle.trades,
            final=candle.final,
            late=candle.late,
            simulated=simulated or UNSET,
        )
    )


class StatusBody(Struct, tag="status", tag_field="type", omit_defaults=True):
    """How one venue's connection fares."""

    venue: str
    state: str
    age_ms: int | None
    messages: int
    gaps: int
    reconnects: int
    refused: int
    timestamp: str
    detail: str | None = None
    simulated: bool | UnsetType = UNSET


def encode_status_body(status: SourceStatus, now_ns: int, *, simulated: bool = False) -> bytes:
    """The body of a ``status`` message."""
    return _encode(
        StatusBody(
            venue=status.venue,
            state=status.state,
            age_ms=status.age_ms,
            messages=status.messages,
            gaps=status.gaps,
            reconnects=status.reconnects,
            refused=status.refused,
            timestamp=format_utc(now_ns),
            detail=status.detail,
            simulated=simulated or UNSET,
        )
    )
