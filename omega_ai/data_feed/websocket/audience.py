"""Fan-out: what is published in one turn of the event loop, to everybody who wants it, in one write each.

Clients with the same subscriptions and the same compression form an *audience*. A message is framed once, and
compressed once if any audience wants it so; the frames of a turn are joined once per audience, and the work
per client is a single write, or with io_uring a part of one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from omega_ai.core.clock import Clock
from omega_ai.core.scheduler import Scheduler
from omega_ai.core.websocket.deflate import compress_once
from omega_ai.core.websocket.frames import TEXT, build_frame, text_frame
from omega_ai.core.websocket.lane import Lane
from omega_ai.core.websocket.ring import Ring
from omega_ai.data_feed.broker.base import Publication
from omega_ai.data_feed.observability.histogram import LatencyHistogram
from omega_ai.data_feed.websocket.context import Subscription
from omega_ai.data_feed.websocket.session import Session
from omega_ai.data_feed.websocket.venue_delivery import VenueDelivery

DEFLATE_FROM = 128
"""Bytes below which compressing a message cannot pay for its own header."""


class Frame:
    """One published message, framed once for all; compressed once, when the first audience asks for it."""

    __slots__ = ("_deflated", "channel", "message", "plain", "seq")

    def __init__(self, channel: str, seq: int, message: bytes) -> None:
        self.channel = channel
        self.seq = seq
        self.message = message
        self.plain = text_frame(message)
        self._deflated: bytes | None = None

    @property
    def deflated(self) -> bytes:
        """The compressed frame; the plain one where compression does not make it smaller (RFC 7692 s. 6)."""
        if self._deflated is None:
            self._deflated = self.plain
            if len(self.message) >= DEFLATE_FROM:
                frame = build_frame(TEXT, compress_once(self.message), rsv1=True)
                if len(frame) < len(self.plain):
                    self._deflated = frame
        return self._deflated


class FanOutStats:
    """Plain counters, read when metrics are asked for."""

    __slots__ = (
        "breaks",
        "bytes",
        "conflated",
        "deliveries",
        "delivery",
        "duplicates",
        "publications",
        "writes",
    )

    def __init__(self) -> None:
        self.publications = 0
        self.deliveries = 0
        self.bytes = 0
        self.delivery = LatencyHistogram()
        """From the first publication of a turn to the last write of it."""
        self.writes = 0
        self.conflated = 0
        self.duplicates = 0
        self.breaks = 0


class Traces(Protocol):
    """Told of the prices that are traced; see ``observability.tracing``."""

    every: int
    """One price in so many."""

    def arrived(self, publication: Publication, market: bytes | None) -> None:
        """A traced price came from the broker, and the newest trade or quote of its turn."""
        ...

    def written(self) -> None:
        """All that came in this turn has been written."""
        ...


class FanOut:
    """What all audiences share: time, the ring, the counters, and who has something to send in this turn."""

    def __init__(self, clock: Clock, scheduler: Scheduler, ring: Ring | None = None) -> None:
        self.clock = clock
        self.scheduler = scheduler
        self.ring = ring
        self.stats = FanOutStats()
        self.venue = VenueDelivery(clock)
        self.traces: Traces | None = None
        self._dirty: list[Audience] = []
        self._turn_began = 0.0

    def mark(self, audience: Audience) -> None:
        """An audience has something to send: flush it once this turn is over."""
        self._dirty.append(audience)
        if len(self._dirty) == 1:
            self._turn_began = self.clock.monotonic()
            self.scheduler.soon(self.flush)

    def flush(self) -> None:
        """Send what is due now: at the end of the turn, or before something that takes long."""
        if not self._dirty:
            return
        dirty, self._dirty = self._dirty, []
        for audience in dirty:
            audience.flush()
        now = self.clock.monotonic()
        self.stats.delivery.record(now - self._turn_began)
        self.venue.written(self._turn_began, now)
        if self.traces is not None:
            self.traces.written()


class Audience:
    """All clients with one set of subscriptions and one kind of compression."""

    __slots__ = (
        "_conflated",
        "_due",
        "_fan_out",
        "_held",
        "_lane",
        "_loose",
        "_members",
        "_order",
        "_pending",
        "channels",
        "deflate",
        "dirty",
        "intervals",
        "key",
        "modes",
    )

    def __init__(self, fan_out: FanOut, subscriptions: frozenset[Subscription], deflate: bool) -> None:
        self._fan_out = fan_out
        self.key = (subscriptions, deflate)
        self.deflate = deflate
        self.channels = tuple(sorted(s.channel for s in subscriptions))
        self.modes = {s.channel: s.mode for s in subscriptions}
        self.intervals = {s.channel: s.interval_ms / 1000 for s in subscriptions}
        self.dirty = False
        self._members = 0
        self._lane: Lane[Session] = Lane(fan_out.ring)
        self._loose: dict[Session, None] = {}  # without a connection of their own
        self._order: tuple[Session, ...] | None = ()
        self._pending: list[Frame] = []  # mode all, in order
        self._conflated: dict[str, Frame] = {}  # mode latest: the newest of this turn
        self._held: dict[str, Frame] = {}  # mode latest with an interval: waits for its moment
        self._due: dict[str, float] = {}

    def __len__(self) -> int:
        return self._members

    def add(self, session: Session) -> None:
        """A member gets everything offered from now on."""
        self._members += 1
        if session.connection is not None:
            self._lane.add(session.connection, session)
        else:
            self._loose[session] = None
            self._order = None

    def remove(self, session: Session) -> None:
        """A member gets nothing any more."""
        self._members -= 1
        if session.connection is not None:
            self._lane.remove(session.connection)
        else:
            del self._loose[session]
            self._order = None

    def offer(self, frame: Frame) -> None:
        """A message for all members; leaves with the others of this turn."""
        channel = frame.channel
        if self.modes[channel] == "all":
            self._pending.append(frame)
        elif self.intervals[channel] == 0.0 or self._is_due(frame):
            if channel in self._conflated:
                self._fan_out.stats.conflated += self._members
            self._conflated[channel] = frame
        else:
            return
        if not self.dirty:
            self.dirty = True
            self._fan_out.mark(self)

    def _is_due(self, frame: Frame) -> bool:
        """Whether the interval since the last one is over; otherwise hold the frame until it is."""
        channel = frame.channel
        now = self._fan_out.clock.monotonic()
        if channel in self._held:
            self._held[channel] = frame
            self._fan_out.stats.conflated += self._members
            return False
        due = self._due.get(channel, 0.0)
        if now >= due:
            self._due[channel] = now + self.intervals[channel]
            return True
        self._held[channel] = frame
        self._fan_out.scheduler.later(due - now, lambda: self._release(channel))
        return False

    def _release(self, channel: str) -> None:
        frame = self._held.pop(channel, None)
        if frame is not None and self._members:
            self._due[channel] = 0.0
            self.offer(frame)

    def flush(self) -> None:
        """One write per member, of everything gathered."""
        self.dirty = False
        frames = self._pending
        latest = self._conflated
        if not frames and not latest:
            return
        self._pending = []
        if latest:
            self._conflated = {}
        together = [*frames, *latest.values()] if latest else frames
        if self.deflate:
            pieces = [frame.deflated for frame in together]
        else:
            pieces = [frame.plain for frame in together]
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        members = self._members
        loose = self._order
        if loose is None:
            loose = self._order = tuple(self._loose)
        # The lane sends to all that read along, in one system call where there is io_uring; it gives back
        # those that have to be served one by one.
        for member in (*self._lane.send(data), *loose):
            outbox = member.outbox
            if not outbox.blocked:
                outbox.send(data)
            else:
                self._queue(member, together, pieces)
        stats = self._fan_out.stats
        stats.deliveries += members * len(together)
        stats.bytes += members * len(data)
        stats.writes += members

    def _queue(self, member: Session, frames: Iterable[Frame], pieces: Iterable[bytes]) -> None:
        """A member that does not keep up: every ``all`` frame waits, of ``latest`` ones the newest."""
        for frame, piece in zip(frames, pieces, strict=True):
            if member.closed:
                return
            if self.modes[frame.channel] == "all":
                member.outbox.send(piece)
            else:
                member.outbox.offer(frame.channel, piece)
