"""Following one venue for ever: connect, judge, replace, begin again. Sans I/O: what it wants done, it asks
for.

At most two connections live at a time, each called a *line* and known by its number: the current one, and
beside it a candidate when the current one shall be replaced. A candidate's data is kept back until all it
asked for was confirmed and data came; then it becomes the current line, and only then is the old one closed.

States as reported::

    connecting ──data──> live <──data── reconnecting        (the first line / any later one)
                          │  └──lost, refused, overdue──────────^
                          └──no data, signs of life──> stale     (a candidate is tried)
    any ──stop──> stopped
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import structlog

from omega_ai.core.clock import Clock
from omega_ai.core.scheduler import Cancellable, Scheduler
from omega_ai.data_feed.exchanges.backoff import Backoff, ConnectLimit
from omega_ai.data_feed.exchanges.base import Venue
from omega_ai.data_feed.exchanges.conversation import Conversation, Data, Patience
from omega_ai.data_feed.exchanges.gaps import GapWatch
from omega_ai.data_feed.exchanges.sequence import Gap
from omega_ai.data_feed.exchanges.tape import Tape
from omega_ai.data_feed.market import MarketEvent, SourceState, SourceStatus, Trade

_KEPT_BACK = 20_000

log = structlog.get_logger(__name__)


class Actions(Protocol):
    """What the machine asks its owner to do. None of it answers at once: results come by the machine's
    methods."""

    def connect(self, line: int) -> None:
        """Open a connection called ``line``; then ``opened`` or ``lost`` is to be called."""

    def send(self, line: int, message: bytes) -> None:
        """Send a text message."""

    def send_ping(self, line: int) -> None:
        """Send a ping frame."""

    def close(self, line: int, reason: str) -> None:
        """End the connection; ``lost`` need not be called for it any more."""

    def fetch(self, gap: Gap) -> None:
        """Ask the venue's REST interface for the trades of ``gap``; then ``filled`` is to be called."""


class VenueMachine:
    """See the module's text. All methods belong to the thread of ``scheduler``."""

    def __init__(
        self,
        venue: Venue,
        actions: Actions,
        emit: Callable[[MarketEvent], None],
        report: Callable[[SourceStatus], None],
        *,
        clock: Clock,
        scheduler: Scheduler,
        rng: random.Random,
        patience: Patience | None = None,
    ) -> None:
        self.venue = venue
        self._actions = actions
        self._emit = emit
        self._report = report
        self._clock = clock
        self._scheduler = scheduler
        self._patience = patience if patience is not None else Patience()
        self._backoff = Backoff(
            rng, first_s=self._patience.backoff_first_s, most_s=self._patience.backoff_most_s
        )
        self._limit = ConnectLimit(venue.limits.connects, venue.limits.connect_window_s)
        self._tape = Tape(venue)
        self._state: SourceState = "connecting"
        self._detail: str | None = None
        self._lines = 0
        self._current: int | None = None
        self._candidate: int | None = None
        self._conversations: dict[int, Conversation] = {}
        self._opening: dict[int, float] = {}
        self._kept: deque[Data] = deque(maxlen=_KEPT_BACK)
        self._attempt: Cancellable | None = None
        self._ticking: Cancellable | None = None
        self._reported_at = 0.0
        self._data_at: float | None = None
        self._gaps = GapWatch(
            self._tape,
            self._patience,
            fetch=actions.fetch,
            out=self._out,
            asking=self._asking_for_gap,
            over=self._gap_over,
        )
        self._untold: str | None = None
        self._messages = self._refused = self._line_gaps = 0  # of lines that are gone
        self.reconnects = 0
        self._failures = 0
        """Connections lost since data last flowed."""

    # What the owner calls.

    def start(self) -> None:
        """Begin to follow the venue."""
        self._set("connecting", None)
        self._try_connect(0.0)
        self._tick()

    def stop(self) -> None:
        """Let go of everything; the last report says ``stopped``."""
        for timer in (self._attempt, self._ticking):
            if timer is not None:
                timer.cancel()
        self._attempt = self._ticking = None
        for line in {*self._opening, *self._conversations}:
            self._actions.close(line, "the feed stops")
        self._opening.clear()
        for line in list(self._conversations):
            self._drop(line)
        self._current = self._candidate = None
        self._out(self._tape.give_up())
        self._set("stopped", None)

    def opened(self, line: int) -> None:
        """The connection ``line`` stands; the venue may be spoken to."""
        if self._opening.pop(line, None) is None:
            return
        now = self._clock.monotonic()
        conversation = self._conversations[line] = Conversation(self.venue, now, self._patience)
        self._send_due(line, conversation, now)

    def lost(self, line: int, reason: str) -> None:
        """The connection ``line`` is over, or never came to be."""
        if self._opening.pop(line, None) is None and line not in self._conversations:
            return
        self._fail(line, reason)

    def message(self, line: int, raw: bytes) -> None:
        """A text message came on ``line``."""
        conversation = self._conversations.get(line)
        if conversation is None:
            return
        now = self._clock.monotonic()
        found = conversation.message(raw, self._clock.time_ns(), now)
        if conversation.failure is not None:
            self._actions.close(line, conversation.failure)
            self._fail(line, conversation.failure)
            return
        if line == self._current:
            for data in found:
                self._out(self._tape.take(data))
            if found:
                self._data_at = now
            if self._state != "live" and conversation.flowing and not conversation.stalled(now):
                self._flows(conversation)
            self._gaps.look(now)
        else:
            self._kept.extend(found)
            if conversation.flowing:
                self._promote(line, now)

    def binary(self, line: int, payload: bytes) -> None:
        """A binary message came on ``line``."""
        if (conversation := self._conversations.get(line)) is not None:
            conversation.binary(payload, self._clock.monotonic())

    def ping(self, line: int) -> None:
        """A ping frame came on ``line``."""
        if (conversation := self._conversations.get(line)) is not None:
            conversation.ping(self._clock.monotonic())

    def pong(self, line: int) -> None:
        """A pong frame came on ``line``."""
        if (conversation := self._conversations.get(line)) is not None:
            conversation.pong(self._clock.monotonic())

    def filled(self, trades: Sequence[Trade] | None) -> None:
        """The answer to ``fetch``: the venue's trades, None if it could not be asked."""
        wanted = self._state != "stopped"
        self._gaps.filled(trades, self._clock.monotonic(), wanted=wanted)

    # Time

    def _tick(self) -> None:
        now = self._clock.monotonic()
        self._ticking = self._scheduler.later(self._patience.tick_s, self._tick)
        for line, since in list(self._opening.items()):
            if now - since > self._patience.connect_s:
                del self._opening[line]
                reason = f"no connection within {self._patience.connect_s:g} s"
                self._actions.close(line, reason)
                self._fail(line, reason)
        for line, conversation in list(self._conversations.items()):
            conversation.tick(now)
            if conversation.failure is not None:
                self._actions.close(line, conversation.failure)
                self._fail(line, conversation.failure)
            else:
                self._send_due(line, conversation, now)
        self._watch(now)
        current = self._speaking()
        self._gaps.tend(now, flowing=current is not None and current.flowing)
        if now - self._reported_at >= self._patience.report_s:
            self._say()

    def _send_due(self, line: int, conversation: Conversation, now: float) -> None:
        if (message := conversation.outgoing(now)) is not None:
            self._actions.send(line, message)
        if conversation.ping_due(now):
            if self.venue.liveness.ping == "frame":
                self._actions.send_ping(line)
            elif self.venue.liveness.ping is not None:
                self._actions.send(line, self.venue.liveness.ping)

    def _speaking(self) -> Conversation | None:
        """The talk on the current line, once that stands."""
        return None if self._current is None else self._conversations.get(self._current)

    def _watch(self, now: float) -> None:
        """Is the current line in need of another beside it?"""
        current = self._speaking()
        if current is None:
            return
        if current.stalled(now) and current.wants_replacement is None:
            silent = now - current.last_data
            current.wants_replacement = f"no data for {silent:.0f} s, though there are signs of life"
            self._tape.interrupted()
            self._set("stale", current.wants_replacement)
        if current.wants_replacement is not None and self._candidate is None and self._attempt is None:
            log.info("replacing connection", venue=self.venue.name, reason=current.wants_replacement)
            # A venue that asks for it each time must not make us connect without end.
            self._try_connect(max(self._patience.line_age_s - current.age(now), 0.0))

    # Lines

    def _try_connect(self, delay: float) -> None:
        if self._attempt is not None:
            self._attempt.cancel()
        delay = max(delay, self._limit.delay(self._clock.monotonic() + delay))
        self._attempt = self._scheduler.later(delay, self._connect)

    def _connect(self) -> None:
        now = self._clock.monotonic()
        if (wait := self._limit.delay(now)) > 0:
            self._attempt = self._scheduler.later(wait, self._connect)
            return
        self._attempt = None
        self._lines += 1
        line = self._lines
        if self._current is None:
            self._current = line
        else:
            self._candidate = line
            self._kept.clear()
        self._limit.attempt(now)
        self._opening[line] = now
        self._actions.connect(line)

    def _fail(self, line: int, reason: str) -> None:
        self._drop(line)
        if line == self._candidate:
            log.info("replacement failed", venue=self.venue.name, reason=reason)
            self._candidate = None
            self._kept.clear()
            self._try_connect(self._backoff.next())
            return
        if line != self._current:
            return
        self._current = None
        self._tape.interrupted()
        if self.venue.trade_ids == "unique":
            self._gaps.interrupted()
        if self._candidate is not None:
            # It is nearer to data than a new one would be; what it kept back is the first that we have.
            self._current, self._candidate = self._candidate, None
            self._release()
            delay = None
        elif self._attempt is None:
            delay = self._backoff.next()
            self._try_connect(delay)
        else:
            delay = None  # a replacement was about to be made: it takes this place
        again = "" if delay is None else f"; next attempt in {delay:.1f} s"
        if self._state in ("live", "stale", "reconnecting"):
            self.reconnects += self._state != "reconnecting"
            self._set("reconnecting", reason + again)
        else:
            self._set("connecting", reason + again)
        self._tell_of(reason, delay)

    def _tell_of(self, reason: str, delay: float | None) -> None:
        """A loss is a warning; attempts that fail after it are told ever more rarely: 2nd, 4th, 8th."""
        self._failures += 1
        rare = self._failures & (self._failures - 1) == 0
        tell = log.warning if self._failures == 1 else log.info if rare else log.debug
        tell(
            "connection lost",
            venue=self.venue.name,
            reason=reason,
            failures=self._failures,
            next_attempt_s=None if delay is None else round(delay, 1),
        )

    def _drop(self, line: int) -> None:
        conversation = self._conversations.pop(line, None)
        if conversation is not None:
            self._messages += conversation.messages
            self._refused += conversation.refused
            self._line_gaps += conversation.gaps

    def _promote(self, line: int, now: float) -> None:
        """The candidate works: it takes over, and the old line goes."""
        old, self._current, self._candidate = self._current, line, None
        if old is not None:
            previous = self._conversations.get(old)
            if previous is not None and previous.stalled(now):
                self._tape.interrupted()
            self._opening.pop(old, None)
            self._actions.close(old, "replaced")
            self._drop(old)
        self._release()
        self._data_at = now
        self._flows(self._conversations[line])
        self._gaps.began(now)

    def _release(self) -> None:
        kept = list(self._kept)
        self._kept.clear()
        for data in kept:
            self._out(self._tape.take(data))

    def _flows(self, conversation: Conversation) -> None:
        self._backoff.reset()
        if self._failures > 1:
            log.info("connected again", venue=self.venue.name, attempts=self._failures)
        self._failures = 0
        untold, self._untold = self._untold, None
        self._set("live", untold)
        if conversation.wants_replacement is not None and conversation.wants_replacement.startswith(
            "no data"
        ):
            conversation.wants_replacement = None  # the calm is over

    # Gaps

    def _asking_for_gap(self, detail: str) -> None:
        if self._state == "live":
            self._set("live", detail)

    def _gap_over(self, detail: str | None) -> None:
        if detail is not None:
            log.warning("gap not filled", venue=self.venue.name, detail=detail)
        if self._state == "live":
            self._set("live", detail)
        else:
            # Why it is not live is the more important word now; the gap is told once it is.
            self._untold = detail or self._untold
            self._say()

    # Out

    def _out(self, events: Iterable[MarketEvent]) -> None:
        for event in events:
            self._emit(event)

    def _set(self, state: SourceState, detail: str | None) -> None:
        self._state = state
        self._detail = detail
        self._say()

    def _say(self) -> None:
        now = self._clock.monotonic()
        self._reported_at = now
        conversations = self._conversations.values()
        self._report(
            SourceStatus(
                venue=self.venue.name,
                state=self._state,
                age_ms=None if self._data_at is None else round((now - self._data_at) * 1000),
                messages=self._messages + sum(conversation.messages for conversation in conversations),
                gaps=self._tape.gaps
                + self._line_gaps
                + sum(conversation.gaps for conversation in conversations),
                reconnects=self.reconnects,
                refused=self._refused + sum(conversation.refused for conversation in conversations),
                detail=self._detail,
            )
        )
