"""The wire messages of ``omega.v2``.

JSON objects in text frames, UTF-8. Numbers are JSON numbers that keep the digits that the venue or the client
wrote; times are ISO 8601 UTC with microseconds and ``Z``.
"""

# Here: decoding and validation of the client's, encoding of the answers to it. What is published: ``bodies``.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from omega_ai.core.timestamps import parse_utc
from omega_ai.data_feed.broker.base import Position
from omega_ai.data_feed.market import BtcPrice, SourcePrice
from omega_ai.data_feed.websocket.errors import ErrorCode, MessageError, from_validation

SUBPROTOCOL = "omega.v2"

PUBLISHED_CHANNELS = ("btc_price", "trades", "quotes", "candles", "status", "broadcast")
"""Channels with a sequence, kept by the broker. A message's ``type`` is its channel's name."""

CHANNELS = (*PUBLISHED_CHANNELS, "heartbeat")
DEFAULT_CHANNELS = ("btc_price", "broadcast")
CLIENT_PUBLISHED = ("btc_price", "broadcast")

MAX_PRICE = Decimal(10) ** 12
MAX_DIGITS = 40
MAX_INTERVAL_MS = 60_000
HISTORY_LIMIT = 1000

RequestId = Annotated[str, Meta(max_length=128)] | Annotated[int, Meta(ge=-(2**53), le=2**53)]
ChannelName = Annotated[str, Meta(max_length=64)]
ChannelList = Annotated[list[ChannelName], Meta(max_length=64)]
Mode = Literal["all", "latest"]

# ---------------------------------------------------------------- client -> server


class Since(Struct, frozen=True):
    """The last position a client has seen of a channel."""

    epoch: Annotated[str, Meta(max_length=64)]
    seq: Annotated[int, Meta(ge=0, le=2**53)]


class Subscribe(Struct, frozen=True, tag="subscribe", tag_field="type"):
    """Asks for channels, from now on or ``since`` a position."""

    channels: ChannelList
    id: RequestId | None = None
    mode: Mode = "all"
    interval_ms: Annotated[int, Meta(ge=0, le=MAX_INTERVAL_MS)] = 0
    since: dict[ChannelName, Since] = {}


class Unsubscribe(Struct, frozen=True, tag="unsubscribe", tag_field="type"):
    """Gives channels up."""

    channels: ChannelList
    id: RequestId | None = None


class HistoryRequest(Struct, frozen=True, tag="history", tag_field="type"):
    """Asks for past messages of a channel: ``since`` a position, or the newest ``limit``."""

    channel: ChannelName
    id: RequestId | None = None
    since: Since | None = None
    limit: Annotated[int, Meta(ge=1, le=HISTORY_LIMIT)] | None = None


class Ping(Struct, frozen=True, tag="ping", tag_field="type"):
    """Asks for a ``pong``."""

    id: RequestId | None = None


class Auth(Struct, frozen=True, tag="auth", tag_field="type"):
    """Presents a token (a JWT)."""

    token: Annotated[str, Meta(min_length=1, max_length=8192)]
    id: RequestId | None = None


class Echo(Struct, frozen=True, tag="test", tag_field="type"):
    """Anything; comes back to its sender. The other fields are read from the raw text."""


class LoadEcho(Struct, frozen=True, tag="load_test", tag_field="type"):
    """As ``Echo``, for load generators."""


class PublishPrice(Struct, frozen=True, tag="btc_price", tag_field="type"):
    """A client's price. The numbers are read raw, so that their digits are kept and strings are refused."""

    price: Raw
    volume: Raw
    timestamp: str
    symbol: Annotated[str, Meta(pattern=r"^[A-Z0-9]{2,10}-[A-Z0-9]{2,10}$")] = "BTC-USD"
    id: RequestId | None = None


class PublishBroadcast(Struct, frozen=True, tag="broadcast", tag_field="type"):
    """Anything with a time, for all subscribers. The other fields are read from the raw text."""

    timestamp: str


ClientMessage = (
    Subscribe | Unsubscribe | HistoryRequest | Ping | Auth | Echo | LoadEcho | PublishPrice | PublishBroadcast
)


class _IdOnly(Struct):
    id: RequestId | None = None


_decode = msgspec.json.Decoder(ClientMessage).decode
_decode_id = msgspec.json.Decoder(_IdOnly).decode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_any = msgspec.json.Decoder(Any, float_hook=Decimal).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode


def decode_client_message(text: bytes) -> ClientMessage:
    """A frame's text -> a validated message.

    Raises:
        MessageError: with the code, the field and a sentence for the client.
    """
    try:
        message: ClientMessage = _decode(text)
        return message
    except msgspec.ValidationError as error:
        raise from_validation(error) from None
    except msgspec.DecodeError as error:
        # A client reads this: the parser's own words say what and where, and hold nothing secret.
        raise MessageError(ErrorCode.INVALID_JSON, f"not valid JSON: {error}"[:200]) from None
    except RecursionError:
        raise MessageError(ErrorCode.INVALID_JSON, "nested too deep") from None


def request_id_of(text: bytes) -> int | str | None:
    """The ``id`` of a message that could not be decoded, where it can be made out."""
    try:
        return _decode_id(text).id
    except (msgspec.DecodeError, RecursionError):  # ValidationError is a DecodeError
        return None


def number_field(raw: Raw, field: str, *, positive: bool) -> Decimal:
    """A raw JSON number -> ``Decimal`` with all its digits.

    Raises:
        MessageError: not a number (a string, a boolean, null ...), out of bounds, or over-long.
    """
    text = bytes(raw)
    if not text or text[0] not in b"-0123456789":
        raise MessageError(ErrorCode.INVALID_FIELD, f"field '{field}' must be a number", field=field)
    value = Decimal(text.decode()) if len(text) <= MAX_DIGITS else None
    if value is None or abs(value.adjusted()) > MAX_DIGITS:
        raise MessageError(
            ErrorCode.INVALID_FIELD, f"field '{field}' has more than {MAX_DIGITS} digits", field=field
        )
    if value < 0 or (positive and value == 0):
        bound = "greater than 0" if positive else "0 or greater"
        raise MessageError(ErrorCode.INVALID_FIELD, f"field '{field}' must be {bound}", field=field)
    if value > MAX_PRICE:
        raise MessageError(
            ErrorCode.INVALID_FIELD, f"field '{field}' must be at most {MAX_PRICE:f}", field=field
        )
    return value


def time_field(text: str, field: str = "timestamp") -> int:
    """A client's time -> nanoseconds since the Unix epoch.

    Raises:
        MessageError: not ISO 8601, or without a zone.
    """
    try:
        return parse_utc(text)
    except ValueError as error:
        raise MessageError(ErrorCode.INVALID_FIELD, f"field '{field}': {error}", field=field) from None


def client_price(message: PublishPrice) -> BtcPrice:
    """A client's validated price as the channel's.

    One unproven source is what it is, so its ``state`` is ``degraded``.
    """
    price = number_field(message.price, "price", positive=True)
    volume = number_field(message.volume, "volume", positive=False)
    return BtcPrice(
        symbol=message.symbol,
        price=price,
        volume=volume,
        bid=None,
        ask=None,
        source_timestamp_ns=time_field(message.timestamp),
        sources={"client": SourcePrice(used=True, price=price)},
        state="degraded",
    )


# ---------------------------------------------------------------- server -> client, to one


def encode_echo(text: bytes, received_at: str) -> bytes:
    """``test`` and ``load_test``: the sender's own fields, byte for byte, with ``received_at``."""
    if text.endswith(b"}") and b"received_at" not in text and b"\\" not in text:
        # An object with a type, valid as a whole, and nothing in it that could be another spelling of the
        # field: it goes in at the end.
        return text[:-1] + b',"received_at":"' + received_at.encode() + b'"}'
    fields = _decode_fields(text)
    fields["received_at"] = Raw(b'"%b"' % received_at.encode())
    return _encode(fields)


class Pong(Struct, tag="pong", tag_field="type", kw_only=True, omit_defaults=True):
    """Answer to ``ping``."""

    id: RequestId | None = None
    timestamp: str


class Authenticated(Struct, tag="authenticated", tag_field="type", kw_only=True, omit_defaults=True):
    """Answer to a good ``auth``; ``subject`` is whose token it is."""

    id: RequestId | None = None
    subject: str
    timestamp: str


class Subscribed(Struct, tag="subscribed", tag_field="type", kw_only=True, omit_defaults=True):
    """One channel's answer to ``subscribe``: live messages follow after ``seq`` of ``epoch``.

    It also comes unasked, with ``recovered`` false, when a channel's continuity is lost. ``heartbeat`` has no
    sequence, so no ``epoch`` and ``seq``; ``interval_ms`` stands in mode ``latest`` alone.
    """

    id: RequestId | None = None
    channel: str
    epoch: str | None = None
    seq: int | None = None
    mode: Mode
    interval_ms: int | None = None
    recovered: bool


class Unsubscribed(Struct, tag="unsubscribed", tag_field="type", kw_only=True, omit_defaults=True):
    """Answer to ``unsubscribe``: the channels that are given up."""

    id: RequestId | None = None
    channels: list[str]


class HistoryAnswer(Struct, tag="history", tag_field="type", kw_only=True, omit_defaults=True):
    """Answer to ``history``: whole published messages, oldest first, and the channel's position."""

    id: RequestId | None = None
    channel: str
    epoch: str
    seq: int
    messages: list[Raw]


class Top(Struct, frozen=True):
    """A channel's newest position."""

    epoch: str
    seq: int


class Heartbeat(Struct, tag="heartbeat", tag_field="type"):
    """The top of every channel that a client has, each second, so that a lost tail shows."""

    timestamp: str
    channels: dict[str, Top]


def encode_pong(request_id: RequestId | None, timestamp: str) -> bytes:
    """See ``Pong``."""
    return _encode(Pong(id=request_id, timestamp=timestamp))


def encode_authenticated(request_id: RequestId | None, subject: str, timestamp: str) -> bytes:
    """See ``Authenticated``."""
    return _encode(Authenticated(id=request_id, subject=subject, timestamp=timestamp))


def encode_subscribed(
    request_id: RequestId | None,
    channel: str,
    position: Position | None,
    mode: Mode,
    interval_ms: int,
    recovered: bool,
) -> bytes:
    """See ``Subscribed``."""
    return _encode(
        Subscribed(
            id=request_id,
            channel=channel,
            epoch=None if position is None else position.epoch,
            seq=None if position is None else position.seq,
            mode=mode,
            interval_ms=interval_ms if mode == "latest" else None,
            recovered=recovered,
        )
    )


def encode_unsubscribed(request_id: RequestId | None, channels: Sequence[str]) -> bytes:
    """See ``Unsubscribed``."""
    return _encode(Unsubscribed(id=request_id, channels=list(channels)))


def encode_history(
    request_id: RequestId | None, channel: str, position: Position, messages: Sequence[bytes]
) -> bytes:
    """See ``HistoryAnswer``."""
    epoch, seq = position
    past = [Raw(message) for message in messages]
    return _encode(HistoryAnswer(id=request_id, channel=channel, epoch=epoch, seq=seq, messages=past))


def encode_heartbeat(positions: Mapping[str, Position], timestamp: str) -> bytes:
    """See ``Heartbeat``."""
    tops = {name: Top(position.epoch, position.seq) for name, position in positions.items()}
    return _encode(Heartbeat(timestamp, tops))
