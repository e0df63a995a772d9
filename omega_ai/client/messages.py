"""The messages of ``omega.v2`` as this side sees them: typed, exact, and open to what is not known yet.

Numbers are ``Decimal`` and keep the digits of the wire; times are aware ``datetime`` in UTC, to the
microsecond. Fields that are not known are ignored, and so are messages of an unknown type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, Literal, get_args

import msgspec
from msgspec import Raw, Struct

SUBPROTOCOL = "omega.v2"
DEFAULT_CHANNELS = ("btc_price", "broadcast")

Mode = Literal["all", "latest"]
RequestId = int | str


class InvalidMessage(ValueError):
    """What came from the server is not a message of the contract."""


# ---------------------------------------------------------------- published, with a position


class Source(Struct, frozen=True):
    """One source's part in a price: used, or the ``reason`` why not. ``age_ms`` in milliseconds."""

    used: bool
    price: Decimal | None = None
    age_ms: int | None = None
    reason: str | None = None


class Price(Struct, frozen=True, kw_only=True, tag="btc_price"):
    """The consolidated price of one BTC; ``state`` is live, degraded, stale or simulated.

    ``volume`` is that of 24 hours in BTC, None until known; ``timestamp`` is when it was published,
    ``source_timestamp`` the newest venue's time used.
    """

    channel: ClassVar[str] = "btc_price"
    epoch: str
    seq: int
    symbol: str
    price: Decimal
    volume: Decimal | None
    bid: Decimal | None
    ask: Decimal | None
    timestamp: datetime
    source_timestamp: datetime | None
    sources: dict[str, Source]
    state: str


class Trade(Struct, frozen=True, kw_only=True, tag="trades"):
    """One execution at one venue. ``side`` is the taker's: buy, sell, or None where it is not known."""

    channel: ClassVar[str] = "trades"
    epoch: str
    seq: int
    venue: str
    symbol: str
    trade_id: str
    price: Decimal
    size: Decimal
    side: str | None
    timestamp: datetime
    received_at: datetime


class Quote(Struct, frozen=True, kw_only=True, tag="quotes"):
    """Best bid and ask at one venue."""

    channel: ClassVar[str] = "quotes"
    epoch: str
    seq: int
    venue: str
    symbol: str
    bid: Decimal
    bid_size: Decimal | None
    ask: Decimal
    ask_size: Decimal | None
    timestamp: datetime | None
    received_at: datetime


class Candle(Struct, frozen=True, kw_only=True, tag="candles"):
    """Open, high, low, close and volume of one ``interval`` (1s or 1m) from ``start``."""

    channel: ClassVar[str] = "candles"
    epoch: str
    seq: int
    symbol: str
    interval: str
    start: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    trades: int
    final: bool
    late: int = 0
    simulated: bool = False


class Status(Struct, frozen=True, kw_only=True, tag="status"):
    """How one venue's connection fares; ``detail`` says in words why ``state`` is not live."""

    channel: ClassVar[str] = "status"
    epoch: str
    seq: int
    venue: str
    state: str
    age_ms: int | None
    timestamp: datetime
    messages: int = 0
    gaps: int = 0
    reconnects: int = 0
    refused: int = 0
    detail: str | None = None


class Broadcast(Struct, frozen=True, kw_only=True):
    """What some client sent to all. ``fields`` is the whole message; its fractions are ``Decimal``."""

    channel: ClassVar[str] = "broadcast"
    epoch: str
    seq: int
    fields: dict[str, Any]


Published = Price | Trade | Quote | Candle | Status | Broadcast

# ---------------------------------------------------------------- to this client alone


class Top(Struct, frozen=True):
    """The newest position of a channel."""

    epoch: str
    seq: int


class Heartbeat(Struct, frozen=True, kw_only=True, tag="heartbeat"):
    """Once a second: the newest position of every channel subscribed to."""

    channel: ClassVar[str] = "heartbeat"
    timestamp: datetime
    channels: dict[str, Top]


class ErrorMessage(Struct, frozen=True, kw_only=True, tag="error"):
    """The server could not do what a message asked; the connection stays open."""

    code: str
    message: str
    temporary: bool
    timestamp: datetime | None = None
    field: str | None = None
    id: RequestId | None = None
    retry_after_ms: int | None = None
    correlation: str | None = None
    """What to name when asking the server's operator: its log has it too."""


class Subscribed(Struct, frozen=True, kw_only=True, tag="subscribed"):
    """One channel's answer to ``subscribe``; ``heartbeat`` has no position."""

    channel: str
    recovered: bool = False
    epoch: str | None = None
    seq: int | None = None
    mode: str = "all"
    interval_ms: int = 0
    id: RequestId | None = None


class Unsubscribed(Struct, frozen=True, kw_only=True, tag="unsubscribed"):
    """The channels that were given up."""

    channels: list[str]
    id: RequestId | None = None


class _History(Struct, frozen=True, kw_only=True, tag="history"):
    channel: str
    epoch: str
    seq: int
    messages: list[Raw]
    id: RequestId | None = None


class History(Struct, frozen=True, kw_only=True):
    """Past messages of a channel, oldest first, and its newest position."""

    channel: str
    epoch: str
    seq: int
    messages: list[Published]
    id: RequestId | None = None


class Pong(Struct, frozen=True, kw_only=True, tag="pong"):
    """Answer to ``ping``."""

    timestamp: datetime
    id: RequestId | None = None


class Authenticated(Struct, frozen=True, kw_only=True, tag="authenticated"):
    """Answer to a good ``auth``."""

    subject: str
    timestamp: datetime | None = None
    id: RequestId | None = None


class Echo(Struct, frozen=True, kw_only=True):
    """Answer to ``test`` and ``load_test``; ``fields`` is the whole message, its fractions ``Decimal``."""

    type: str
    received_at: datetime
    fields: dict[str, Any]
    id: RequestId | None = None


class _Test(Struct, frozen=True, kw_only=True, tag="test"):
    received_at: datetime
    id: Any = None


class _LoadTest(Struct, frozen=True, kw_only=True, tag="load_test"):
    received_at: datetime
    id: Any = None


class _Broadcast(Struct, frozen=True, kw_only=True, tag="broadcast"):
    epoch: str
    seq: int


Reply = Subscribed | Unsubscribed | History | Pong | Authenticated | Echo
Message = Published | Heartbeat | ErrorMessage | Reply

_Wire = (
    Price
    | Trade
    | Quote
    | Candle
    | Status
    | _Broadcast
    | Heartbeat
    | ErrorMessage
    | Subscribed
    | Unsubscribed
    | _History
    | Pong
    | Authenticated
    | _Test
    | _LoadTest
)
_KNOWN = frozenset(info.__struct_config__.tag for info in get_args(_Wire))


class _Type(Struct):
    type: str


_decode = msgspec.json.Decoder(_Wire).decode
_decode_type = msgspec.json.Decoder(_Type).decode
_decode_fields = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode


def decode(text: bytes) -> Message | None:
    """A frame's text -> a message, or None for a type that is not known.

    Raises:
        InvalidMessage: not JSON, not an object with a ``type``, or a known type with wrong fields.
    """
    try:
        message: _Wire = _decode(text)
    except msgspec.ValidationError as error:
        _check_unknown(text, error)
        return None
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidMessage(f"not JSON: {error}") from None
    if type(message) is Price:  # by far the most frequent
        return message
    if isinstance(message, _Broadcast):
        return Broadcast(epoch=message.epoch, seq=message.seq, fields=_decode_fields(text))
    if isinstance(message, _Test | _LoadTest):
        fields = _decode_fields(text)
        own = message.id if isinstance(message.id, int | str) else None
        return Echo(type=fields["type"], received_at=message.received_at, fields=fields, id=own)
    if isinstance(message, _History):
        return History(
            channel=message.channel,
            epoch=message.epoch,
            seq=message.seq,
            messages=[_published(bytes(raw)) for raw in message.messages],
            id=message.id,
        )
    return message


def _published(text: bytes) -> Published:
    message = decode(text)
    if not isinstance(message, Published):
        raise InvalidMessage("history holds something that is not a published message")
    return message


def _check_unknown(text: bytes, error: msgspec.ValidationError) -> None:
    """Raise ``InvalidMessage`` unless ``text`` is a message of an unknown type."""
    try:
        kind = _decode_type(text).type
    except msgspec.DecodeError:
        raise InvalidMessage(f"not an object with a type: {error}") from None
    if kind in _KNOWN:
        raise InvalidMessage(f"{kind}: {error}")


def encode(message: Mapping[str, Any]) -> bytes:
    """A message to the server as JSON; ``Decimal`` becomes a number with all its digits.

    Raises:
        TypeError, ValueError: a value that JSON cannot hold.
    """
    return _encode(message)


def encode_subscribe(
    request_id: RequestId,
    channels: Sequence[str],
    mode: Mode,
    interval_ms: int,
    since: Mapping[str, tuple[str, int]],
) -> bytes:
    """``subscribe``; ``since`` maps a channel to the last epoch and seq that were seen."""
    message: dict[str, Any] = {
        "type": "subscribe",
        "id": request_id,
        "channels": list(channels),
        "mode": mode,
    }
    if mode == "latest" and interval_ms:
        message["interval_ms"] = interval_ms
    if since:
        message["since"] = {name: {"epoch": epoch, "seq": seq} for name, (epoch, seq) in since.items()}
    return _encode(message)
