"""What happens at a stand-in exchange: trades and quotes, made up from a seed or taken from a recording.

It is the truth that a test compares with: every trade that there was, whether it reached anybody or not.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from msgspec import structs

from omega_ai.data_feed.exchanges.base import Venue
from omega_ai.data_feed.market import MarketEvent, Quote, Side, Trade, Volume
from omega_ai.data_feed.sources.recording import Recording
from omega_ai.data_feed.sources.replay import Player, Timeline

_KEPT = 1_000_000
_NS_PER_S = 1_000_000_000


class Market:
    """Base of both kinds. ``shift_ns`` is how far the venue's clock is off, now."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.symbol = venue.symbol
        self.trades: deque[Trade] = deque(maxlen=_KEPT)
        """All trades of ``symbol`` so far, the oldest first."""
        self.quotes: dict[str, Quote] = {}
        """The newest of each symbol."""
        self.volume = Decimal(1000)
        self.shift_ns = 0

    waits = False
    """Whether nothing happens before somebody has subscribed."""

    def until(self, now_ns: int) -> list[MarketEvent]:
        """What happened since the last call, up to ``now_ns`` (nanoseconds since the Unix epoch)."""
        events: list[MarketEvent] = []
        for event in self._next(now_ns):
            stamp_ns = None if event.timestamp_ns is None else event.timestamp_ns + self.shift_ns
            if isinstance(event, Trade):
                event = structs.replace(event, timestamp_ns=stamp_ns)
                if event.symbol == self.symbol:
                    self.trades.append(event)
                    self.volume += event.size
            elif isinstance(event, Quote):
                event = structs.replace(event, timestamp_ns=stamp_ns)
                self.quotes[event.symbol] = event
            else:
                event = structs.replace(event, timestamp_ns=stamp_ns)
            events.append(event)
        return events

    def _next(self, now_ns: int) -> Iterator[MarketEvent]:
        raise NotImplementedError


class GeneratedMarket(Market):
    """A seeded walk: ``rate`` trades a second on average, as many quotes, USDT near a dollar."""

    def __init__(
        self, venue: Venue, seed: int, start_ns: int, *, rate: float = 20.0, price: Decimal = Decimal(60_000)
    ) -> None:
        super().__init__(venue)
        self._rng = random.Random(f"{venue.name}/{seed}")
        self._tether_rng = random.Random(f"{venue.name}/{seed}/usdt")  # its own: however often one looks
        self._rate = rate
        self._cents = float(price * 100)
        self._due_ns = start_ns
        self._rate_due_ns = start_ns
        self._trade_id = self._rng.randrange(10**6, 10**9)

    def _next(self, now_ns: int) -> Iterator[MarketEvent]:
        rng = self._rng
        while self._due_ns <= now_ns:
            at_ns = self._due_ns
            self._due_ns += max(round(rng.expovariate(self._rate) * _NS_PER_S), 1)
            self._cents *= 1 + rng.gauss(0, 0.00002)
            half = rng.randrange(1, 50)
            bid, ask = _cents(round(self._cents) - half), _cents(round(self._cents) + half)
            yield self._quote(self._rng, self.symbol, bid, ask, at_ns)
            side: Side = rng.choice(("buy", "sell"))
            yield Trade(
                self.venue.name,
                self.symbol,
                str(self._number()),
                ask if side == "buy" else bid,
                Decimal(rng.randrange(1, 10**8)).scaleb(-8),
                side,
                # Microseconds, or milliseconds: no venue sends more; a truth with more could not be compared.
                at_ns - at_ns % 1_000_000,
                at_ns,
            )
        while self._rate_due_ns <= now_ns:
            at_ns = self._rate_due_ns
            self._rate_due_ns += _NS_PER_S
            tether_rng = self._tether_rng
            mid = 99_950 + tether_rng.randrange(-20, 20)
            low, high = Decimal(mid - 1).scaleb(-5), Decimal(mid + 1).scaleb(-5)
            yield self._quote(tether_rng, "USDT-USD", low, high, at_ns)
            yield Volume(self.venue.name, self.symbol, self.volume, at_ns - at_ns % 1_000_000, at_ns)

    def _number(self) -> int:
        self._trade_id += 1 if self.venue.trade_ids == "consecutive" else self._rng.randrange(1, 1000)
        return self._trade_id

    def _quote(self, rng: random.Random, symbol: str, bid: Decimal, ask: Decimal, at_ns: int) -> Quote:
        size = Decimal(rng.randrange(1, 10**9)).scaleb(-8)
        return Quote(self.venue.name, symbol, bid, size, ask, size, at_ns - at_ns % 1_000_000, at_ns)


class RecordedMarket(Market):
    """A recording of this venue, with its times moved to now; ids, prices and order are as recorded.

    It begins when the first client has subscribed. A recording of BTC in another currency is played as the
    market that the venue's connector follows.

    Raises:
        SourceError: the file is of no use; see ``Recording``.
    """

    waits = True

    def __init__(self, venue: Venue, path: Path, *, speed: float = 1.0) -> None:
        super().__init__(venue)
        self._speed = speed
        self._timeline: Timeline | None = None
        self._steps = iter(Player(Recording(path)))
        self._pending: tuple[int, tuple[MarketEvent, ...]] | None = None
        self.finished = False

    def _next(self, now_ns: int) -> Iterator[MarketEvent]:
        if self._timeline is None:
            self._timeline = Timeline(now_ns, self._speed)
        while not self.finished:
            if self._pending is None:
                self._pending = self._load(self._timeline, now_ns)
                if self._pending is None:
                    self.finished = True
                    return
            due_ns, events = self._pending
            if due_ns > now_ns:
                return
            self._pending = None
            yield from events

    def _load(self, timeline: Timeline, now_ns: int) -> tuple[int, tuple[MarketEvent, ...]] | None:
        for step in self._steps:
            if step.venue != self.venue.name or not step.events:
                continue
            recorded_ns = step.recorded_ns
            due_ns = now_ns if recorded_ns is None else timeline.place(recorded_ns)
            moved: list[MarketEvent] = []
            for event in step.events:
                stamp_ns = event.timestamp_ns
                if stamp_ns is not None and recorded_ns is not None:
                    stamp_ns = due_ns + timeline.scaled(stamp_ns - recorded_ns)
                symbol = self.symbol if event.symbol.startswith("BTC-") else event.symbol
                moved.append(structs.replace(event, symbol=symbol, timestamp_ns=stamp_ns, received_ns=due_ns))
            return due_ns, tuple(moved)
        return None


def _cents(amount: int) -> Decimal:
    return Decimal(max(amount, 1)).scaleb(-2)
