"""What a stand-in says in one venue's words, on one connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

import msgspec

from omega_ai.data_feed.exchanges.standin.market import Market
from omega_ai.data_feed.market import Quote, Trade

encode: Callable[[Any], bytes] = msgspec.json.Encoder(decimal_format="number").encode
"""Decimals as JSON numbers with their digits; a venue that sends strings makes them with ``text``."""


class Dialect:
    """One connection's talk. Methods that return None have nothing to say: not subscribed, or no such
    message.

    Times in seconds: a heartbeat message and a ping frame are sent so often; without a subscription within
    ``subscribe_within_s``, or any message within ``idle_s``, the venue cuts the connection.
    """

    heartbeat_s: ClassVar[float | None] = None
    ping_frame_s: ClassVar[float | None] = None
    subscribe_within_s: ClassVar[float | None] = None
    idle_s: ClassVar[float | None] = None

    def __init__(self, market: Market) -> None:
        self.market = market
        self.subscribed: set[str] = set()
        self.refuse_subscriptions = False

    @property
    def follows_trades(self) -> bool:
        """Whether trades were subscribed to: every venue's channel of them has the word in its name."""
        return any("trade" in name.lower() for name in self.subscribed)

    def opened(self) -> Sequence[bytes]:
        """What the venue says first."""
        return ()

    def receive(self, text: bytes) -> Sequence[bytes]:
        """Answers to a client's message: subscriptions, pings."""
        raise NotImplementedError

    def trade(self, trade: Trade) -> bytes | None:
        """One trade as news."""
        raise NotImplementedError

    def quote(self, quote: Quote) -> bytes | None:
        """The top of the book."""
        raise NotImplementedError

    def volume(self) -> bytes | None:
        """The 24-hour volume, where it is a message of its own."""
        return None

    def heartbeat(self, at_ns: int) -> bytes | None:  # noqa: ARG002 - most venues' say no time
        """The venue's sign of life."""
        return None

    def reconnect_request(self) -> bytes | None:
        """That this connection will end and another be made first."""
        return None

    def large(self, size: int) -> bytes:
        """A message of about ``size`` bytes of a channel that nobody needs, as a deep book would be."""
        return encode({"channel": "l2_data", "topic": "books", "event": "noise", "pad": "x" * size})

    def skip(self) -> None:
        """A message was lost on the way: whatever numbers messages moves on."""

    @classmethod
    def rest(cls, market: Market, path: str, query: Mapping[str, str]) -> bytes | None:
        """The answer of the venue's REST interface, None where it has no such path."""
        raise NotImplementedError


def text(amount: Decimal) -> str:
    """A number's digits, without an exponent."""
    return format(amount, "f")


def decode(message: bytes) -> dict[str, Any]:
    """A client's JSON object; an empty one where it is none, which every dialect refuses."""
    try:
        found = msgspec.json.decode(message)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
