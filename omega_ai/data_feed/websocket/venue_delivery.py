"""How long a price's whole way takes within the feed: from a venue's frame in to the write to clients.

The messages of ``trades`` and ``quotes`` say when their venue's frame came in (``received_at``), also to a
process that gets them from Redis. What was written in the turn of the event loop in which such a message
arrived came of it: the trade, the quote, or the price that they moved. One turn in ten milliseconds at most
is looked at, so that it costs nothing when there is much to do.

A price that was held back by ``--price-interval-ms`` leaves in a later turn and is not counted: it waited on
purpose. Simulated messages are not counted either: they have no venue. Between machines, the figure is as
right as their clocks.
"""

from __future__ import annotations

from omega_ai.core.clock import Clock
from omega_ai.core.timestamps import parse_utc
from omega_ai.data_feed.observability.histogram import LatencyHistogram

EVERY = 0.01
"""Seconds between two samples at least."""

ONE_TURN = 0.001
"""Seconds by which a message may precede what is written of it in the same turn."""

_MARK = b'"received_at":"'
_SIMULATED = b'"simulated":true'


class VenueDelivery:
    """``arrived`` is called for each message of a venue, ``written`` after each turn's writes."""

    __slots__ = ("_at", "_clock", "_message", "_next", "histogram")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._message: bytes | None = None
        self._at = 0.0
        self._next = 0.0
        self.histogram = LatencyHistogram()

    def arrived(self, message: bytes, at: float) -> None:
        """A published trade or quote came from the broker at ``at`` (monotonic seconds)."""
        self._message = message
        self._at = at

    def of_this_turn(self, now: float) -> bytes | None:
        """The newest trade or quote, if it came in the turn that goes on at ``now``."""
        return self._message if now - self._at <= ONE_TURN else None

    def written(self, began: float, now: float) -> None:
        """What was gathered from ``began`` on has been written by ``now`` (monotonic seconds)."""
        message, self._message = self._message, None
        if message is None or now < self._next or began - self._at > ONE_TURN:
            return
        received_ns = received_at(message)
        if received_ns is not None:
            self._next = now + EVERY
            self.histogram.record((self._clock.time_ns() - received_ns) / 1e9)


def received_at(message: bytes) -> int | None:
    """When the venue's frame of a published trade or quote came in, UTC nanoseconds; None where none did."""
    start = message.rfind(_MARK)
    if start < 0 or message.find(_SIMULATED, start) >= 0:
        return None
    start += len(_MARK)
    try:
        return parse_utc(message[start : message.find(b'"', start)].decode())
    except ValueError:
        return None
