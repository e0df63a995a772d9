"""From one publication to every client that wants it: framed once, joined once, written once per client.

Clients with the same subscriptions and the same compression form an *audience*. What is published in one turn
of the event loop is gathered per audience, joined, and handed to each member in a single write; so the work
per client is that write, whatever the number of messages.

Every published channel keeps a *tail* of its newest frames, from which clients resume without the broker. The
hub also watches each channel's continuity: a jump in ``seq`` or a new ``epoch`` is told to ``mode: all``
subscribers by a ``subscribed`` message with ``recovered: false``, never passed over in silence.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from omega_ai.core.clock import Clock
from omega_ai.core.scheduler import Scheduler
from omega_ai.core.timestamps import format_utc
from omega_ai.core.websocket.deflate import compress_once
from omega_ai.core.websocket.frames import TEXT, build_frame, text_frame
from omega_ai.core.websocket.lane import Lane
from omega_ai.core.websocket.ring import Ring
from omega_ai.data_feed.broker.base import History, Position, Publication
from omega_ai.data_feed.observability.histogram import LatencyHistogram
from omega_ai.data_feed.websocket.messages import PUBLISHED_CHANNELS, encode_heartbeat, encode_subscribed
from omega_ai.data_feed.websocket.session import Session, Subscription

TAIL_MESSAGES = 2048
"""Newest frames kept per channel and process."""

FRAMED_MESSAGES = 50_000
FRAMED_SECONDS = 30.0
"""Frames made for resuming clients are shared within these bounds."""

DEFLATE_FROM = 128
"""Bytes below which compressing a message cannot pay for its own header."""

LookBack = Callable[[str, Position | None, int | None, Callable[[History | None], None]], None]


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


class Audience:
    """All clients with one set of subscriptions and one kind of compression."""

    __slots__ = (
        "_conflated",
        "_due",
        "_held",
        "_hub",
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

    def __init__(self, hub: Hub, subscriptions: frozenset[Subscription], deflate: bool) -> None:
        self._hub = hub
        self.key = (subscriptions, deflate)
        self.deflate = deflate
        self.channels = tuple(sorted(s.channel for s in subscriptions))
        self.modes = {s.channel: s.mode for s in subscriptions}
        self.intervals = {s.channel: s.interval_ms / 1000 for s in subscriptions}
        self.dirty = False
        self._members = 0
        self._lane: Lane[Session] = Lane(hub.ring)
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
                self._hub.stats.conflated += self._members
            self._conflated[channel] = frame
        else:
            return
        if not self.dirty:
            self.dirty = True
            self._hub.mark(self)

    def _is_due(self, frame: Frame) -> bool:
        """Whether the interval since the last one is over; otherwise hold the frame until it is."""
        channel = frame.channel
        now = self._hub.clock.monotonic()
        if channel in self._held:
            self._held[channel] = frame
            self._hub.stats.conflated += self._members
            return False
        due = self._due.get(channel, 0.0)
        if now >= due:
            self._due[channel] = now + self.intervals[channel]
            return True
        self._held[channel] = frame
        self._hub.scheduler.later(due - now, lambda: self._release(channel))
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
        stats = self._hub.stats
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


class _Channel:
    __slots__ = ("at", "audiences", "epoch", "name", "seq", "tail")

    def __init__(self, name: str, tail: int) -> None:
        self.name = name
        self.epoch = ""
        self.seq = 0
        self.at: float | None = None
        self.tail: deque[Frame] = deque(maxlen=tail)
        self.audiences: dict[Audience, None] = {}


class HubStats:
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


class Hub:
    """See the module's text. Implements ``session.Channels``; all calls come from one thread."""

    def __init__(
        self,
        clock: Clock,
        scheduler: Scheduler,
        look_back: LookBack,
        *,
        tail: int = TAIL_MESSAGES,
        ring: Ring | None = None,
    ) -> None:
        self.clock = clock
        self.ring = ring
        self.scheduler = scheduler
        self.stats = HubStats()
        self._look_back = look_back
        self._channels = {name: _Channel(name, tail) for name in PUBLISHED_CHANNELS}
        self._audiences: dict[tuple[frozenset[Subscription], bool], Audience] = {}
        self._dirty: list[Audience] = []
        self._turn_began = 0.0
        self._framed: dict[tuple[str, str, int], bytes] = {}

    # From the broker

    def start(self, positions: Mapping[str, Position]) -> None:
        """Where each channel stands: ``deliver`` goes on from here."""
        for name, position in positions.items():
            channel = self._channels[name]
            if not channel.tail:
                channel.epoch, channel.seq = position

    def prime(self, history: History) -> None:
        """Fill a channel's tail from the broker's history, so that resuming is quick after a start."""
        for publication in reversed(history.publications):
            channel = self._channels[publication.channel]
            oldest = channel.tail[0].seq if channel.tail else channel.seq + 1
            if publication.epoch == channel.epoch and publication.seq == oldest - 1:
                if len(channel.tail) == channel.tail.maxlen:
                    return
                channel.tail.appendleft(Frame(channel.name, publication.seq, publication.message))

    def deliver(self, publication: Publication) -> None:
        """A publication, in order; it reaches the sockets at the end of this turn of the loop."""
        channel = self._channels[publication.channel]
        seq = publication.seq
        if publication.epoch != channel.epoch or seq != channel.seq + 1:
            if publication.epoch == channel.epoch and seq <= channel.seq:
                self.stats.duplicates += 1
                return
            self._break(channel, publication)
        frame = Frame(publication.channel, seq, publication.message)
        channel.seq = seq
        channel.at = self.clock.monotonic()
        channel.tail.append(frame)
        self.stats.publications += 1
        for audience in channel.audiences:
            audience.offer(frame)

    def _break(self, channel: _Channel, publication: Publication) -> None:
        """Continuity is lost: say so to those who count on it."""
        known = channel.epoch != ""
        channel.tail.clear()
        channel.epoch = publication.epoch
        if not known:
            return
        self.stats.breaks += 1
        before = Position(publication.epoch, publication.seq - 1)
        notice = encode_subscribed(None, channel.name, before, "all", 0, recovered=False)
        frame = Frame(channel.name, before.seq, notice)
        for audience in channel.audiences:
            if audience.modes[channel.name] == "all":
                audience.offer(frame)

    # From the clock

    def beat(self) -> None:
        """Send each audience of ``heartbeat`` the tops of its channels. Called once a second."""
        timestamp = format_utc(self.clock.time_ns())
        for audience in list(self._audiences.values()):
            if "heartbeat" in audience.modes:
                tops = {name: self.position(name) for name in audience.channels if name != "heartbeat"}
                audience.offer(Frame("heartbeat", 0, encode_heartbeat(tops, timestamp)))

    # From sessions

    def subscribe(self, session: Session, subscriptions: frozenset[Subscription]) -> None:
        """Move ``session`` to the audience of ``subscriptions``; an empty set leaves them all."""
        old = session.audience
        if isinstance(old, Audience):
            old.flush()  # what was published before this moment belongs to the old membership
            if session.audience is not old:
                return  # it was closed by that write
            old.remove(session)
            session.audience = None
            if not len(old):
                self._drop(old)
        if not subscriptions:
            return
        key = (subscriptions, session.deflate)
        audience = self._audiences.get(key)
        if audience is None:
            audience = self._audiences[key] = Audience(self, subscriptions, session.deflate)
            for name in audience.channels:
                if name in self._channels:
                    self._channels[name].audiences[audience] = None
        else:
            audience.flush()
        audience.add(session)
        session.audience = audience

    def position(self, channel: str) -> Position:
        """See ``session.Channels``."""
        state = self._channels[channel]
        return Position(state.epoch, state.seq)

    def missed(self, channel: str, since: Position) -> list[bytes] | None:
        """See ``session.Channels``."""
        state = self._channels[channel]
        behind = state.seq - since.seq
        if since.epoch != state.epoch or behind < 0 or behind > len(state.tail):
            return None
        if behind == 0:
            return []
        return [frame.plain for frame in list(state.tail)[-behind:]]

    def frames(self, publications: Sequence[Publication]) -> list[bytes]:
        """See ``session.Channels``. Kept for a while: whoever resumes now is seldom alone."""
        if len(self._framed) > FRAMED_MESSAGES:
            self._framed.clear()
        if not self._framed and publications:
            self.scheduler.later(FRAMED_SECONDS, self._framed.clear)
        framed = self._framed
        frames = []
        for publication in publications:
            key = (publication.channel, publication.epoch, publication.seq)
            frame = framed.get(key)
            if frame is None:
                frame = framed[key] = text_frame(publication.message)
            frames.append(frame)
        return frames

    def newest(self, channel: str) -> bytes | None:
        """See ``session.Channels``."""
        tail = self._channels[channel].tail
        return tail[-1].plain if tail else None

    def newest_message(self, channel: str) -> bytes | None:
        """The JSON text of the channel's newest message, for the HTTP side."""
        tail = self._channels[channel].tail
        return tail[-1].message if tail else None

    def age(self, channel: str) -> float:
        """Seconds since the channel's newest message came; infinite if it was there before us."""
        at = self._channels[channel].at
        return math.inf if at is None else self.clock.monotonic() - at

    def look_back(
        self, channel: str, since: Position | None, limit: int | None, done: Callable[[History | None], None]
    ) -> None:
        """See ``session.Channels``."""
        self._look_back(channel, since, limit, done)

    # Flushing

    def mark(self, audience: Audience) -> None:
        """An audience has something to send: flush it once this turn is over."""
        self._dirty.append(audience)
        if len(self._dirty) == 1:
            self._turn_began = self.clock.monotonic()
            self.scheduler.soon(self._flush)

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        for audience in dirty:
            audience.flush()
        self.stats.delivery.record(self.clock.monotonic() - self._turn_began)

    def _drop(self, audience: Audience) -> None:
        """Nobody is left: forget the audience, with whatever it still holds."""
        self._audiences.pop(audience.key, None)
        for name in audience.channels:
            if name in self._channels:
                self._channels[name].audiences.pop(audience, None)
