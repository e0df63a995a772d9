"""What a venue's message turns out to be: market data, or a word about the connection itself."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from omega_ai.data_feed.market import MarketEvent, Trade


class Ack(Struct, frozen=True):
    """The venue confirmed a subscription; ``key`` equals the ``Channel.ack`` that it confirms."""

    key: str


class Refused(Struct, frozen=True):
    """The venue refused something. ``key`` is the ``Channel.ack`` concerned, None where the venue does not
    say."""

    key: str | None
    reason: str


class Heartbeat(Struct, frozen=True):
    """The venue's own sign of life: a heartbeat message, or its answer to our ping."""


class SequenceNumber(Struct, frozen=True):
    """The number of a message on its connection. The next one is ``value + 1``, or messages were lost."""

    value: int


class TradeSnapshot(Struct, frozen=True):
    """Recent trades, oldest first, that a venue sends upon each subscribe. Most were seen before a
    reconnect."""

    trades: tuple[Trade, ...]


class AggregateTrade(Struct, frozen=True):
    """A trade that stands for ``count`` matches; ``trade.trade_id`` is the id of the last of them."""

    trade: Trade
    count: int


class BookChange(Struct, frozen=True):
    """Levels of the book that changed: price and new size, 0 for a level that is gone.

    ``whole`` replaces the book. ``update_id`` goes up by one per message after that, where the venue counts.
    """

    venue: str
    symbol: str
    whole: bool
    bids: tuple[tuple[Decimal, Decimal], ...]
    asks: tuple[tuple[Decimal, Decimal], ...]
    depth: int
    update_id: int | None
    timestamp_ns: int | None
    received_ns: int


class ReconnectRequest(Struct, frozen=True):
    """The venue will close this connection and asks that another be made first."""

    reason: str


class Ignored(Struct, frozen=True):
    """Understood, and of no use here: ``kind`` names it."""

    kind: str


class Unparseable(Struct, frozen=True):
    """Not what the venue documents. It is counted and logged; ``excerpt`` is the beginning of the message."""

    reason: str
    excerpt: str


Event = (
    MarketEvent
    | Ack
    | Refused
    | Heartbeat
    | SequenceNumber
    | TradeSnapshot
    | AggregateTrade
    | BookChange
    | ReconnectRequest
    | Ignored
    | Unparseable
)
