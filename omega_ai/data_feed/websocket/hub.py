"""Who gets which publication, and from where on: the channels of one server process.

Clients with the same subscriptions share an ``Audience``. Every published channel keeps a *tail* of its
newest frames, from which clients resume without the broker. The hub also watches each channel's continuity: a
jump in ``seq`` or a new ``epoch`` is told to ``mode: all`` subscribers by a ``subscribed`` message with
``recovered: false``, never passed over in silence.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Protocol
from weakref import WeakSet

from omega_ai.core.clock import Clock
from omega_ai.core.scheduler import Scheduler
from omega_ai.core.timestamps import format_utc
from omega_ai.core.websocket.ring import Ring
from omega_ai.data_feed.broker.base import History, Position, Publication
from omega_ai.data_feed.observability.histogram import HistogramReading
from omega_ai.data_feed.websocket.audience import Audience, FanOut, FanOutStats, Frame, Traces
from omega_ai.data_feed.websocket.backlog import Backlog
from omega_ai.data_feed.websocket.context import Subscription
from omega_ai.data_feed.websocket.joining import Joining
from omega_ai.data_feed.websocket.messages import PUBLISHED_CHANNELS, encode_heartbeat, encode_subscribed
from omega_ai.data_feed.websocket.replays import Replays
from omega_ai.data_feed.websocket.session import Session

TAIL_MESSAGES = 2048
"""Newest frames kept per channel and process."""

KEEP_SECONDS = 2.0
"""So long the last stretch of the past is kept for others who resume."""
BACKLOG_SECONDS = 30.0
"""So long at most, however many come."""
BACKLOG_BYTES = 256 * 1_048_576
"""Bytes of messages that stretches of the past may hold, of all channels together; one may always be held."""


class LookBack(Protocol):
    """``HistoryReader.look_back``."""

    def __call__(
        self,
        channel: str,
        since: Position | None,
        limit: int | None,
        done: Callable[[History | None], None],
        known: Callable[[], History | None] | None = None,
        /,
    ) -> None:
        """Ask for history; ``known`` may spare the read."""
        ...


class _Channel:
    __slots__ = (
        "at",
        "audiences",
        "backlog",
        "backlog_made",
        "backlog_used",
        "epoch",
        "name",
        "of_venues",
        "seq",
        "tail",
    )

    def __init__(self, name: str, tail: int) -> None:
        self.name = name
        self.of_venues = name in ("trades", "quotes")
        self.epoch = ""
        self.seq = 0
        self.at: float | None = None
        self.tail: deque[Frame] = deque(maxlen=tail)
        self.audiences: dict[Audience, None] = {}
        self.backlog: Backlog | None = None
        self.backlog_made = self.backlog_used = 0.0

    def newest(self, count: int) -> list[bytes]:
        """The newest ``count`` messages of the tail, oldest first."""
        messages = [frame.message for frame in islice(reversed(self.tail), count)]
        messages.reverse()
        return messages


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
        self.scheduler = scheduler
        self._fan_out = FanOut(clock, scheduler, ring)
        self._look_back = look_back
        self._channels = {name: _Channel(name, tail) for name in PUBLISHED_CHANNELS}
        self._audiences: dict[tuple[frozenset[Subscription], bool], Audience] = {}
        self._backlogs: WeakSet[Backlog] = WeakSet()
        self.replays = Replays(clock, scheduler, self, self._fan_out.flush)

    @property
    def stats(self) -> FanOutStats:
        """What was published and delivered so far."""
        return self._fan_out.stats

    def trace(self, traces: Traces) -> None:
        """Tell ``traces`` of prices from now on."""
        self._fan_out.traces = traces

    @property
    def venue_delivery(self) -> HistogramReading:
        """From venues' frames in to writes."""
        return self._fan_out.venue.histogram.read()

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
        if channel.of_venues:
            self._fan_out.venue.arrived(publication.message, channel.at)
        traces = self._fan_out.traces
        if traces is not None and seq % traces.every == 0 and channel.name == "btc_price":
            traces.arrived(publication, self._fan_out.venue.of_this_turn(channel.at))
        channel.tail.append(frame)
        self.stats.publications += 1
        for audience in channel.audiences:
            audience.offer(frame)

    def _break(self, channel: _Channel, publication: Publication) -> None:
        """Continuity is lost: say so to those who count on it."""
        known = channel.epoch != ""
        self.replays.break_off(channel.name)
        channel.backlog = None
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

    def send_what_is_live(self) -> None:
        """Do not wait for the end of the turn: something that takes long comes first otherwise."""
        self._fan_out.flush()

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
            audience = self._audiences[key] = Audience(self._fan_out, subscriptions, session.deflate)
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

    def backlog(self, channel: str, since: Position, history: History | None = None) -> Backlog | None:
        """See ``session.Channels``. Kept for a moment: whoever resumes now is seldom alone."""
        state = self._channels[channel]
        now = self.clock.monotonic()
        kept = state.backlog
        if kept is not None and now - state.backlog_made > BACKLOG_SECONDS:
            kept = None
        if kept is not None and kept.covers(since) and self._complete(state, kept):
            state.backlog_used = now
            return kept
        made = self._from_tail(state, since, whole_tail=kept is not None)
        if made is None and history is not None:
            made = self._from_history(state, since, history)
        if made is None or made.last < made.first:
            return made
        if state.backlog is None:
            self.scheduler.later(KEEP_SECONDS, lambda: self._forget_backlog(state))
        state.backlog = made
        state.backlog_made = state.backlog_used = now
        self._backlogs.add(made)
        self._bound_backlogs(made)
        return made

    def _from_tail(self, state: _Channel, since: Position, *, whole_tail: bool) -> Backlog | None:
        behind = state.seq - since.seq
        if since.epoch != state.epoch or not 0 <= behind <= len(state.tail):
            return None
        if whole_tail:
            behind = len(state.tail)
        return Backlog(state.epoch, state.seq + 1 - behind, state.newest(behind))

    def _from_history(self, state: _Channel, since: Position, history: History) -> Backlog | None:
        """What was read, up to where this process is, completed with what has come since."""
        if not history.whole or history.position.epoch != since.epoch or since.epoch != state.epoch:
            return None
        read = history.publications
        first = read[0].seq if read else since.seq + 1
        messages = [p.message for p in read[: max(state.seq + 1 - first, 0)]]
        made = Backlog(state.epoch, first, messages, origin="broker")
        return made if made.covers(since) and self._complete(state, made) else None

    def _complete(self, state: _Channel, backlog: Backlog) -> bool:
        """Add to ``backlog`` what was published since; False if that is not known any more."""
        behind = state.seq - backlog.last
        if backlog.epoch != state.epoch or not 0 <= behind <= len(state.tail):
            return False
        if behind:
            backlog.extend(state.newest(behind))
        return True

    def _forget_backlog(self, state: _Channel) -> None:
        """Nobody new has come for a while; those who are still at it keep what they need themselves."""
        now = self.clock.monotonic()
        idle = now - state.backlog_used
        if len(self.replays) and now - state.backlog_made < BACKLOG_SECONDS:
            idle = 0.0  # the storm goes on: more may come as soon as those before them are through
        if idle >= KEEP_SECONDS - 0.001:
            state.backlog = None
        else:
            self.scheduler.later(KEEP_SECONDS - idle, lambda: self._forget_backlog(state))

    def _bound_backlogs(self, newest: Backlog) -> None:
        """However many stretches are in use by slow readers: over the bound they have to look back again."""
        if self.backlog_bytes > BACKLOG_BYTES:
            for backlog in list(self._backlogs):
                if backlog is not newest:
                    backlog.release()

    @property
    def backlog_bytes(self) -> int:
        """Of all stretches that are held. They are shared, so there are few; counted when asked for."""
        return sum(backlog.size for backlog in self._backlogs)

    def replay(self, client: Joining, subscription: Subscription, since: Position, backlog: Backlog) -> None:
        """See ``session.Channels``."""
        self.replays.start(client, subscription, since, backlog)

    def look_back_to_resume(
        self, channel: str, since: Position, done: Callable[[History | None], None]
    ) -> None:
        """See ``session.Channels``."""

        def known() -> History | None:
            if self.backlog(channel, since) is None:
                return None
            return History(self.position(channel), [], whole=True)

        self._look_back(channel, since, None, done, known)

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

    def _drop(self, audience: Audience) -> None:
        """Nobody is left: forget the audience, with whatever it still holds."""
        self._audiences.pop(audience.key, None)
        for name in audience.channels:
            if name in self._channels:
                self._channels[name].audiences.pop(audience, None)
