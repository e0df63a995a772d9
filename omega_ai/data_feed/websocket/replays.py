"""Bringing clients up to date, a little in each turn of the event loop, so that the others do not wait.

A client that resumes is not among a channel's subscribers yet. Its ``Replay`` goes through what it has missed
and, since the channel goes on meanwhile, through what has been published since; once there is nothing left,
the client joins, in the same turn: no gap, no double. A client that does not read costs a place in a table
until it does: nothing is queued for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from omega_ai.core.clock import Clock
from omega_ai.core.scheduler import Scheduler
from omega_ai.data_feed.broker.base import History, Position
from omega_ai.data_feed.websocket.backlog import Backlog, Origin

if TYPE_CHECKING:
    from omega_ai.data_feed.websocket.context import Subscription
    from omega_ai.data_feed.websocket.joining import Joining

TURN_BYTES: Final = 256 * 1024
"""Bytes of replays written in one turn of the loop; the piece that exceeds them is still written."""
TURN_SECONDS: Final = 0.001
"""Seconds after which a turn takes up no further piece."""
STALL_SECONDS: Final = 30.0
"""So long a client in the middle of its replay may read nothing."""


class Past(Protocol):
    """What replays ask of the hub."""

    def position(self, channel: str) -> Position:
        """The newest position of a channel."""
        ...

    def backlog(self, channel: str, since: Position, history: History | None = None) -> Backlog | None:
        """What there is from ``since`` up to the position, from memory or from what was read."""
        ...

    def look_back_to_resume(
        self, channel: str, since: Position, done: Callable[[History | None], None]
    ) -> None:
        """Read the broker's history, if ``backlog`` does not cover it by then."""
        ...


class Replay:
    """One client's way through one channel's past, up to ``reached``."""

    __slots__ = ("backlog", "broken", "client", "over", "position", "subscription", "waiting")

    def __init__(
        self, client: Joining, subscription: Subscription, since: Position, backlog: Backlog | None
    ) -> None:
        self.client = client
        self.subscription = subscription
        self.position = since
        self.backlog = backlog
        self.broken = False
        """The channel's continuity was lost meanwhile: there is an end, but it does not join what is live."""
        self.over = False
        self.waiting = False
        """For an answer of the broker."""


class Replays:
    """All replays of a server process. ``urgent`` sends what is live, and due: it goes first in each turn."""

    def __init__(self, clock: Clock, scheduler: Scheduler, past: Past, urgent: Callable[[], None]) -> None:
        self._clock = clock
        self._scheduler = scheduler
        self._past = past
        self._urgent = urgent
        self._ready: deque[Replay] = deque()
        self._stalled: dict[Replay, float] = {}  # by how long
        self._all: dict[Replay, None] = {}
        self._spent = 0
        self._turn_is_due = False
        self._sweep_is_due = False
        self.begun: dict[Origin, int] = {}
        """How many, by where what was missed came from."""

    def __len__(self) -> int:
        return len(self._all)

    def start(self, client: Joining, subscription: Subscription, since: Position, backlog: Backlog) -> Replay:
        """Begin; what is little leaves at once, unless others are waiting already.

        Calls ``client.caught_up``, or ``client.continuity_lost`` if the channel broke meanwhile, in the
        end, possibly from within.
        """
        self.begun[backlog.origin] = self.begun.get(backlog.origin, 0) + 1
        backlog.origin = "shared"
        replay = Replay(client, subscription, since, backlog)
        self._all[replay] = None
        client.under_way[subscription.channel] = replay
        self._ready.append(replay)
        if len(self._ready) == 1 and self._spent < TURN_BYTES:
            self._spent += self._step(self._ready.popleft())
        self._schedule()
        return replay

    def cancel(self, replay: Replay) -> None:
        """The client does not want it any more, or is gone."""
        replay.over = True
        replay.backlog = None
        self._all.pop(replay, None)
        self._stalled.pop(replay, None)

    def wake(self, replay: Replay) -> None:
        """Its client reads again."""
        if self._stalled.pop(replay, None) is not None:
            self._ready.append(replay)
            self._schedule()

    def break_off(self, channel: str) -> None:
        """The channel's continuity is about to be lost: what is left of the old life is still given."""
        for replay in self._all:
            if replay.subscription.channel == channel and not replay.broken:
                replay.backlog = self._past.backlog(channel, replay.position) or replay.backlog
                replay.broken = True
                if replay.waiting:
                    replay.waiting = False
                    self._ready.append(replay)
        self._schedule()

    def _schedule(self) -> None:
        if (self._ready or self._spent) and not self._turn_is_due:
            self._turn_is_due = True
            self._scheduler.soon(self._turn)

    def _turn(self) -> None:
        self._turn_is_due = False
        self._spent = 0
        if not self._ready:
            return
        self._urgent()
        deadline = self._clock.monotonic() + TURN_SECONDS
        while self._ready and self._spent < TURN_BYTES:
            replay = self._ready.popleft()
            if not replay.over:
                self._spent += self._step(replay)
                if self._clock.monotonic() > deadline:
                    break
        self._schedule()

    def _step(self, replay: Replay) -> int:
        """Send one client its next piece, and let it join if that was all; returns the bytes sent."""
        outbox = replay.client.outbox
        if outbox.blocked:
            self._stall(replay)
            return 0
        written = 0
        while True:
            backlog = replay.backlog
            if backlog is not None and backlog.covers(replay.position) and backlog.last > replay.position.seq:
                if written:
                    # Others first.
                    self._stall(replay) if outbox.blocked else self._ready.append(replay)
                    return written
                data, reached = backlog.piece(replay.position.seq)
                replay.position = Position(replay.position.epoch, reached)
                outbox.send(data)
                written = len(data)
                if replay.over:
                    return written
            elif replay.broken:
                self.cancel(replay)
                replay.client.continuity_lost(replay)
                return written
            elif replay.position == self._past.position(replay.subscription.channel):
                self.cancel(replay)
                replay.client.caught_up(replay)
                return written
            else:
                replay.backlog = self._past.backlog(replay.subscription.channel, replay.position)
                if replay.backlog is None:
                    self._look_back(replay)
                    return written

    def _look_back(self, replay: Replay) -> None:
        """The client was so slow that what it needs next is in nobody's memory any more."""
        replay.waiting = True

        def done(history: History | None) -> None:
            if replay.over or not replay.waiting:
                return
            replay.waiting = False
            channel = replay.subscription.channel
            if history is not None and history.whole:
                replay.backlog = self._past.backlog(channel, replay.position, history)
            if replay.backlog is None:
                self.cancel(replay)
                replay.client.too_slow()
                return
            self._ready.append(replay)
            self._schedule()

        self._past.look_back_to_resume(replay.subscription.channel, replay.position, done)

    def _stall(self, replay: Replay) -> None:
        self._stalled[replay] = self._clock.monotonic() + STALL_SECONDS
        if not self._sweep_is_due:
            self._sweep_is_due = True
            self._scheduler.later(STALL_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """Close those that have read nothing for too long: they would keep alive what they have missed."""
        self._sweep_is_due = False
        now = self._clock.monotonic()
        for replay, until in list(self._stalled.items()):
            if until <= now and not replay.over:
                self.cancel(replay)
                replay.client.too_slow()
        if self._stalled:
            self._sweep_is_due = True
            self._scheduler.later(max(min(self._stalled.values()) - now, 0.1), self._sweep)
