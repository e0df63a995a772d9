"""``history`` requests: what may be asked for, what is answered, and how much of it one client is given.

A request of a hundred bytes may be answered with megabytes, all of them read from the broker first. So a
client has an ``Allowance`` of bytes besides the rate of its messages.
"""

from __future__ import annotations

from typing import NamedTuple

from omega_ai.data_feed.broker.base import History, Position
from omega_ai.data_feed.websocket import messages as wire
from omega_ai.data_feed.websocket.errors import ErrorCode, MessageError


class HistoryBound(NamedTuple):
    """How much history one client is given: bytes of messages."""

    rate: float
    """A second, on average; > 0."""
    burst: int
    """At once, and in one answer at most."""


class Allowance:
    """A token bucket that may be overdrawn, since the size of an answer is known only when it has been read.

    Who owes nothing may ask; the answer is charged afterwards, and the next question waits until it is paid
    for. The bound is given with each call: it may change while the client is there.
    """

    __slots__ = ("_at", "_left")

    def __init__(self, bound: HistoryBound, now: float) -> None:
        self._left = float(bound.burst)
        self._at = now

    def check(self, bound: HistoryBound, now: float) -> None:
        """Whether there is anything left at ``now`` (monotonic, in seconds).

        Raises:
            MessageError: ``rate_limited``, with the time to wait.
        """
        self._left = min(float(bound.burst), self._left + (now - self._at) * bound.rate)
        self._at = now
        if self._left < 0:
            raise MessageError(
                ErrorCode.RATE_LIMITED,
                f"more than {bound.rate:.0f} bytes of history a second",
                retry_after_ms=int(-self._left / bound.rate * 1000) + 1,
            )

    def charge(self, bound: HistoryBound, size: int) -> None:
        """``size`` bytes of messages were read.

        Raises:
            MessageError: ``invalid_field``: they are more than there ever is at once, and are not sent.
        """
        self._left -= min(size, bound.burst)
        if size > bound.burst:
            text = f"these are {size} bytes, more than {bound.burst} at once: ask for fewer, with 'limit'"
            raise MessageError(ErrorCode.INVALID_FIELD, text, field="limit")


def position_asked(message: wire.HistoryRequest) -> Position | None:
    """From where on; None: the newest ``limit``.

    Raises:
        MessageError: the request contradicts itself.
    """
    if message.channel == "heartbeat":
        raise MessageError(ErrorCode.INVALID_FIELD, "'heartbeat' has no history", field="channel")
    if (message.since is None) == (message.limit is None):
        raise MessageError(
            ErrorCode.INVALID_FIELD, "exactly one of 'since' and 'limit' is required", field="since"
        )
    return None if message.since is None else Position(message.since.epoch, message.since.seq)


def answer(message: wire.HistoryRequest, history: History | None) -> bytes:
    """The answer to ``message``; ``history`` is what was read, None if the broker failed.

    Raises:
        MessageError: there is none.
    """
    if history is None:
        raise MessageError(ErrorCode.INTERNAL, "history cannot be read now: the broker is away")
    if not history.whole:
        text = "that position is of another epoch, or older than what is kept"
        raise MessageError(ErrorCode.UNRECOVERABLE_POSITION, text, field="since")
    if len(history.publications) > wire.HISTORY_LIMIT:
        text = f"more than {wire.HISTORY_LIMIT} messages since then: subscribe with 'since' instead"
        raise MessageError(ErrorCode.UNRECOVERABLE_POSITION, text, field="since")
    past = [publication.message for publication in history.publications]
    return wire.encode_history(message.id, message.channel, history.position, past)
