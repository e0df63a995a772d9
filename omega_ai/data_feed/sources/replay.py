"""A recording, played again as if it came now: ``replay:FILE``, ``replay:FILE?speed=10``,
``replay:FILE?speed=max``.

Exactly the trades of the file come out, each once, in the recorded order. Times are moved so that the first
message falls on the start of the replay, and the distances between them are divided by the speed; with
``max``, every message is of the moment at which it is played. Such a price was somebody's price once, not
today's, and a reader cannot see that from the number: so the source is ``simulated``, and the consolidated
price says so.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import structlog
from msgspec import Struct, structs

from omega_ai.core.clock import Clock, SystemClock
from omega_ai.data_feed.exchanges import kraken
from omega_ai.data_feed.exchanges.base import Venue
from omega_ai.data_feed.exchanges.books import TopOfBook
from omega_ai.data_feed.exchanges.detect import venue_of
from omega_ai.data_feed.exchanges.events import (
    AggregateTrade,
    BookChange,
    Event,
    TradeSnapshot,
    Unparseable,
)
from omega_ai.data_feed.market import MarketEvent, Quote, SourceState, SourceStatus, Trade, Volume
from omega_ai.data_feed.sources.base import Drain, Emit, Report, SourceError, no_drain
from omega_ai.data_feed.sources.ids import SeenIds
from omega_ai.data_feed.sources.recording import BadLine, Message, Recording

_BATCH = 200
_REPORT_EVERY_S = 1.0
_KEEP_BAD_LINES = 20

log = structlog.get_logger(__name__)


class Timeline:
    """Recorded time to replay time.

    A recorded clock that goes back (two recordings in one file, a clock that was set) does not take the
    replay back: it goes on from where it was.
    """

    def __init__(self, start_ns: int, speed: float) -> None:
        self._speed = speed
        self._from_ns: int | None = None
        self._to_ns = start_ns
        self._newest_ns = start_ns

    def place(self, recorded_ns: int) -> int:
        """When, in replay time (ns), the message received at ``recorded_ns`` is due; never decreases."""
        if self._from_ns is None:
            self._from_ns = recorded_ns
        due = self._to_ns + self.scaled(recorded_ns - self._from_ns)
        if due < self._newest_ns:
            self._from_ns, self._to_ns = recorded_ns, self._newest_ns
            return self._newest_ns
        self._newest_ns = due
        return due

    def scaled(self, duration_ns: int) -> int:
        """A recorded duration as it is in the replay; 0 at full speed."""
        return 0 if math.isinf(self._speed) else round(duration_ns / self._speed)


class Step(Struct, frozen=True):
    """What one recorded message brings. ``recorded_ns`` is when it was received, as far as the file tells."""

    venue: str
    recorded_ns: int | None
    events: tuple[MarketEvent, ...]


class VenueCount:
    """What came of one venue in this replay."""

    def __init__(self, venue: Venue) -> None:
        self.messages = 0
        self.trades = 0
        self.quotes = 0
        self.doubles = 0
        """Trades left out because the file has them twice (a snapshot after a reconnect)."""
        self._consecutive = venue.trade_ids == "consecutive"
        self._seen: dict[str, SeenIds] = {}
        self.books: defaultdict[str, TopOfBook] = defaultdict(TopOfBook)

    def is_new(self, trade: Trade, count: int) -> bool:
        """Whether this trade has not come before; remembers it."""
        seen = self._seen.get(trade.symbol)
        if seen is None:
            seen = self._seen[trade.symbol] = SeenIds()
        if seen.add(trade.trade_id, count):
            self.trades += 1
            return True
        self.doubles += 1
        return False

    @property
    def gaps(self) -> int:
        """Holes in the trade ids of the file, for venues whose ids leave none."""
        return sum(seen.holes for seen in self._seen.values()) if self._consecutive else 0


class Player:
    """Recorded messages to market events, without time passing: parsed, each trade once, everything
    counted."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._venue: Venue | None = None
        self.counts: dict[str, VenueCount] = {}
        self.bad_lines: list[BadLine] = []
        """The first of the lines refused, at most 20."""
        self.refused = 0
        """How many lines were refused."""

    def __iter__(self) -> Iterator[Step]:
        """Play from the beginning; may be done once."""
        for message in self._recording:
            if isinstance(message, BadLine):
                self._refuse(message)
            elif self._recording.format == "kraken-rest":
                yield from self._document(message)
            else:
                yield from self._message(message)

    def _message(self, message: Message) -> Iterator[Step]:
        received_ns = message.received_ns if message.received_ns is not None else 0
        venue = self._venue
        events = venue.parse(message.raw, received_ns) if venue is not None else ()
        if venue is None or any(isinstance(event, Unparseable) for event in events):
            # The first message, or one that is not of the venue before: a file may hold several venues.
            other = venue_of(message.raw)
            if other is None:
                reason = next(
                    (e.reason for e in events if isinstance(e, Unparseable)), "no known venue's message"
                )
                self._refuse(BadLine(message.line, reason))
                return
            if other is not venue:
                venue = self._venue = other
                events = venue.parse(message.raw, received_ns)
        for event in events:
            if isinstance(event, Unparseable):
                self._refuse(BadLine(message.line, event.reason))
        count = self._count(venue)
        count.messages += 1
        market = tuple(self._market(events, count))
        recorded_ns = message.received_ns
        if recorded_ns is None:
            recorded_ns = max(
                (event.timestamp_ns for event in market if event.timestamp_ns is not None), default=None
            )
        yield Step(venue.name, recorded_ns, market)

    def _document(self, message: Message) -> Iterator[Step]:
        """One answer with many trades: each falls at its own time."""
        count = self._count(kraken.VENUE)
        events = kraken.parse_rest_trades(message.raw, 0)
        for event in events:
            if isinstance(event, Unparseable):
                self._refuse(BadLine(message.line, event.reason))
        count.messages += 1
        for market in self._market(events, count):
            yield Step(kraken.NAME, market.timestamp_ns, (market,))

    def _market(self, events: Sequence[Event], count: VenueCount) -> Iterator[MarketEvent]:
        for event in events:
            match event:
                case Trade():
                    if count.is_new(event, 1):
                        yield event
                case AggregateTrade(trade=trade, count=ids):
                    if count.is_new(trade, ids):
                        yield trade
                case TradeSnapshot(trades=trades):
                    yield from (trade for trade in trades if count.is_new(trade, 1))
                case Quote():
                    count.quotes += 1
                    yield event
                case BookChange():
                    if (quote := count.books[event.symbol].apply(event)) is not None:
                        count.quotes += 1
                        yield quote
                case Volume():
                    yield event
                case _:
                    pass

    def _count(self, venue: Venue) -> VenueCount:
        count = self.counts.get(venue.name)
        if count is None:
            count = self.counts[venue.name] = VenueCount(venue)
        return count

    def _refuse(self, bad: BadLine) -> None:
        self.refused += 1
        if len(self.bad_lines) < _KEEP_BAD_LINES:
            self.bad_lines.append(bad)
            log.warning(
                "recorded message refused", path=str(self._recording.path), line=bad.line, reason=bad.reason
            )


class ReplaySource:
    """Plays one recording, once.

    ``speed`` 1 is real time, 10 ten times as fast, ``math.inf`` as fast as the consumer takes it.

    Raises:
        SourceError: the file is missing, unreadable, empty or of no known format, or the speed is not above
        0.
    """

    def __init__(
        self,
        path: Path,
        *,
        speed: float = 1.0,
        clock: Clock | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not speed > 0:
            raise SourceError(f"replay speed must be a number above 0, or 'max', not {speed}")
        self._recording = Recording(path)
        self._speed = speed
        self._clock = clock if clock is not None else SystemClock()
        self._sleep = sleep
        self._newest_ns: dict[str, int] = {}
        self._reported: float = 0.0
        self.player = Player(self._recording)

    @property
    def name(self) -> str:
        """As it was asked for, without the options."""
        return f"replay:{self._recording.path}"

    @property
    def simulated(self) -> bool:
        """Always: see the module's text."""
        return True

    @property
    def venues(self) -> tuple[str, ...]:
        """Those met in the file so far."""
        return tuple(self.player.counts)

    async def run(self, emit: Emit, report: Report, drain: Drain = no_drain) -> None:
        """Play the file to its end; see ``Source.run``.

        Raises:
            SourceError: not one trade or quote came of the whole file.
        """
        self.player = player = Player(self._recording)
        timeline = Timeline(self._clock.time_ns(), self._speed)
        zero = self._clock.monotonic() - self._clock.time_ns() / 1e9
        full_speed = math.isinf(self._speed)
        played = unyielded = 0
        for step in player:
            if step.venue not in self._newest_ns:
                self._newest_ns[step.venue] = self._clock.time_ns()
                report(self._status(step.venue, "live"))
            due_ns = timeline.place(step.recorded_ns) if step.recorded_ns is not None else None
            if due_ns is not None and not full_speed and await self._wait(zero + due_ns / 1e9, report):
                unyielded = 0
            now_ns = self._clock.time_ns()
            at_ns = now_ns if full_speed or due_ns is None else due_ns
            self._newest_ns[step.venue] = now_ns
            for event in step.events:
                emit(_moved(event, step.recorded_ns, at_ns, timeline))
            played += len(step.events)
            unyielded += 1 + len(step.events)
            if unyielded >= _BATCH:
                await drain()
                await self._sleep(0)
                unyielded = 0
            self._report_in_time(report)
        await drain()
        self._end(played, report)

    async def _wait(self, due: float, report: Report) -> bool:
        """Sleep until ``due`` (monotonic seconds), reporting meanwhile; whether there was anything to wait
        for."""
        waited = False
        while (delay := due - self._clock.monotonic()) > 0.0005:
            await self._sleep(min(delay, _REPORT_EVERY_S))
            waited = True
            self._report_in_time(report)
        return waited

    def _report_in_time(self, report: Report) -> None:
        now = self._clock.monotonic()
        if now - self._reported >= _REPORT_EVERY_S:
            self._reported = now
            for venue in self.player.counts:
                report(self._status(venue, "live"))

    def _status(self, venue: str, state: SourceState, detail: str | None = None) -> SourceStatus:
        count = self.player.counts[venue]
        age_ms = max(self._clock.time_ns() - self._newest_ns[venue], 0) // 1_000_000
        return SourceStatus(venue, state, age_ms, count.messages, count.gaps, 0, self.player.refused, detail)

    def _end(self, played: int, report: Report) -> None:
        for venue, count in self.player.counts.items():
            self._newest_ns.setdefault(venue, self._clock.time_ns())
            report(self._status(venue, "stopped", "the recording is over"))
            log.info(
                "recording played",
                path=str(self._recording.path),
                venue=venue,
                trades=count.trades,
                quotes=count.quotes,
                doubles=count.doubles,
                refused_lines=self.player.refused,
            )
        if not played:
            first = next(
                (f"; line {bad.line} was refused: {bad.reason}" for bad in self.player.bad_lines), ""
            )
            raise SourceError(f"recording {self._recording.path} holds no trade and no quote{first}")


def _moved(event: MarketEvent, recorded_ns: int | None, at_ns: int, timeline: Timeline) -> MarketEvent:
    """``event`` as received at ``at_ns``, its venue's time as far from that as it was when recorded."""
    timestamp_ns = event.timestamp_ns
    if timestamp_ns is not None and recorded_ns is not None:
        timestamp_ns = at_ns + timeline.scaled(timestamp_ns - recorded_ns)
    if isinstance(event, Trade):
        return structs.replace(event, timestamp_ns=timestamp_ns, received_ns=at_ns)
    if isinstance(event, Quote):
        return structs.replace(event, timestamp_ns=timestamp_ns, received_ns=at_ns)
    return structs.replace(event, timestamp_ns=timestamp_ns, received_ns=at_ns)
