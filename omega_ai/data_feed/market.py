"""Market data as the feed sees it, after parsing and before encoding.

Numbers are ``Decimal`` and keep the venue's digits. Times are nanoseconds since the Unix epoch, UTC:
``timestamp_ns`` is the venue's clock, ``received_ns`` is ours. A venue's time may lie ahead of ours, so
their difference may be negative.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from msgspec import Struct

Side = Literal["buy", "sell"]
"""The taker's side: ``buy`` lifted an ask, ``sell`` hit a bid. A venue's maker side is turned round."""

PriceState = Literal["live", "degraded", "stale", "simulated"]


class Trade(Struct, frozen=True, tag="trade"):
    """One execution at one venue. ``trade_id`` is the venue's own and unique per venue and symbol."""

    venue: str
    symbol: str
    trade_id: str
    price: Decimal
    size: Decimal
    side: Side | None
    timestamp_ns: int
    received_ns: int


class Quote(Struct, frozen=True, tag="quote"):
    """Best bid and ask at one venue. ``timestamp_ns`` is None where none is sent (Binance bookTicker)."""

    venue: str
    symbol: str
    bid: Decimal
    bid_size: Decimal | None
    ask: Decimal
    ask_size: Decimal | None
    timestamp_ns: int | None
    received_ns: int


class Volume(Struct, frozen=True, tag="volume"):
    """What one venue traded in 24 hours, in the base currency (BTC)."""

    venue: str
    symbol: str
    volume: Decimal
    timestamp_ns: int | None
    received_ns: int


MarketEvent = Trade | Quote | Volume


class Candle(Struct, frozen=True):
    """Open, high, low, close and volume of the trades in one interval.

    ``start_ns`` is a multiple of ``interval_s``; ``final`` says that no more trades are expected;
    ``late`` counts trades that came after the candle had been published as final and changed it.
    """

    interval_s: int
    symbol: str
    start_ns: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    trades: int
    final: bool
    late: int = 0


class SourcePrice(Struct, frozen=True, omit_defaults=True):
    """One source's part in a consolidated price: used, or the reason why not.

    ``age_ms`` is None when the source has not spoken yet; ``reason`` is a fixed word such as ``stale``,
    ``crossed``, ``wide_spread``, ``disconnected``, ``no_data``, ``no_usdt_rate``.
    """

    used: bool
    price: Decimal | None = None
    age_ms: int | None = None
    reason: str | None = None


class BtcPrice(Struct, frozen=True):
    """The consolidated price of one BTC in ``symbol``'s quote currency.

    ``volume`` is the 24-hour volume in BTC summed over the sources used, None until known;
    ``source_timestamp_ns`` is the newest source time used; ``price`` is never None: before the first
    price there is no message.
    """

    price: Decimal
    volume: Decimal | None
    bid: Decimal | None
    ask: Decimal | None
    source_timestamp_ns: int | None
    sources: dict[str, SourcePrice]
    state: PriceState
    symbol: str = "BTC-USD"


SourceState = Literal["connecting", "live", "stale", "reconnecting", "stopped"]


class SourceStatus(Struct, frozen=True):
    """How one venue's connection fares. ``age_ms`` counts from its newest message, None before the first.

    ``messages``, ``gaps`` and ``reconnects`` count from the start of the process; ``detail`` says in words
    why the state is not ``live``.
    """

    venue: str
    state: SourceState
    age_ms: int | None
    messages: int
    gaps: int
    reconnects: int
    refused: int = 0
    detail: str | None = None
