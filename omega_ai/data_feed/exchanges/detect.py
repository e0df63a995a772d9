"""Which venue does a message come from? For recordings, which do not always say."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from omega_ai.data_feed.exchanges import binance, bitstamp, bybit, coinbase, kraken, okx
from omega_ai.data_feed.exchanges.base import Venue

VENUES: dict[str, Venue] = {
    venue.VENUE.name: venue.VENUE for venue in (coinbase, kraken, bitstamp, binance, okx, bybit)
}
"""Every venue there is, by name, in the order in which they are shown."""


class _Marks(Struct):
    """The members by which venues' messages differ."""

    channel: object = None
    sequence_num: object = None
    stream: object = None
    e: object = None
    last_update_id: object = msgspec.field(name="lastUpdateId", default=None)
    method: object = None
    success: object = None
    event: object = None
    arg: object = None
    topic: object = None
    op: object = None


_decode = msgspec.json.Decoder(_Marks).decode


def venue_of(raw: bytes) -> Venue | None:
    """The venue whose documentation describes this message, None where none or more than one might."""
    try:
        marks = _decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    name: str | None = None
    if marks.stream is not None or marks.e is not None or marks.last_update_id is not None:
        name = "binance"
    elif marks.sequence_num is not None:
        name = "coinbase"
    elif isinstance(marks.event, str) and (marks.channel is not None or marks.event.startswith("bts:")):
        name = "bitstamp"
    elif marks.arg is not None or isinstance(marks.event, str):
        name = "okx"
    elif marks.topic is not None or marks.op is not None:
        name = "bybit"
    elif marks.channel is not None or (marks.method is not None and marks.success is not None):
        name = "kraken"
    return VENUES.get(name) if name else None
