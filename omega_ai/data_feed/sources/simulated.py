"""A market that does not exist: a seeded walk, for trying things out without an exchange.

The same seed and the same clock readings give the same events. Venues are called ``sim-1`` to ``sim-n``, so
that no line of any output can be taken for a real one, and the source is ``simulated``, so the price says so
as well.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from decimal import Decimal

from omega_ai.core.clock import Clock, SystemClock
from omega_ai.data_feed.market import MarketEvent, Quote, Side, SourceState, SourceStatus, Trade, Volume
from omega_ai.data_feed.sources.base import Drain, Emit, Report, SourceError, no_drain

_SYMBOL = "BTC-USD"
_REPORT_EVERY_S = 1.0
_BEHIND_AT_MOST_S = 1.0
_TOLERANCE_S = 1e-6  # sums of a float rate do not meet the clock exactly


class SimulatedMarket:
    """The walk itself: ``step`` gives the next moment's events. Pure; all amounts in cents and satoshis.

    One common price moves by about 10 % of itself a day (independent normal steps, scaled to the rate); each
    venue sits within a few hundredths of a percent of it, 1 to 20 cents wide, and trades at its own quote.
    """

    def __init__(self, seed: int, venues: int, rate: float, start_price: Decimal = Decimal(60_000)) -> None:
        self._rng = random.Random(seed)
        self._cents = float(start_price * 100)
        self._names = tuple(f"sim-{number}" for number in range(1, venues + 1))
        self._step_sigma = 0.10 / (86_400 * rate) ** 0.5
        self._trade_ids = dict.fromkeys(self._names, 0)
        self._volumes = {name: Decimal(self._rng.randrange(1_000, 9_000)) for name in self._names}

    @property
    def names(self) -> tuple[str, ...]:
        """The pretended venues."""
        return self._names

    def step(self, now_ns: int) -> tuple[MarketEvent, ...]:
        """One venue's next quote and the trade that made it, both of ``now_ns``."""
        rng = self._rng
        self._cents = min(max(self._cents * (1 + rng.gauss(0, self._step_sigma)), 100.0), 1e10)
        venue = rng.choice(self._names)
        half_spread = rng.randrange(1, 11)
        mid = round(self._cents * (1 + rng.gauss(0, 0.0001)))
        bid, ask = _dollars(max(mid - half_spread, 1)), _dollars(mid + half_spread)
        side: Side = "buy" if rng.random() < 0.5 else "sell"
        size = _bitcoins(max(round(rng.expovariate(1 / 2_000_000)), 1))
        self._trade_ids[venue] += 1
        self._volumes[venue] += size
        number = str(self._trade_ids[venue])
        return (
            Quote(
                venue,
                _SYMBOL,
                bid,
                _bitcoins(rng.randrange(1, 500_000_000)),
                ask,
                _bitcoins(rng.randrange(1, 500_000_000)),
                now_ns,
                now_ns,
            ),
            Trade(venue, _SYMBOL, number, ask if side == "buy" else bid, size, side, now_ns, now_ns),
            Volume(venue, _SYMBOL, self._volumes[venue], now_ns, now_ns),
        )


class SimulatedSource:
    """Runs a ``SimulatedMarket`` at ``rate`` trades a second in all, until cancelled.

    Raises:
        SourceError: ``rate`` not from 0.01 to 100,000, or ``venues`` not from 1 to 100.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        rate: float = 10.0,
        venues: int = 3,
        clock: Clock | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not 0.01 <= rate <= 100_000:
            raise SourceError(f"the simulated source's rate must be from 0.01 to 100000 trades/s, not {rate}")
        if not 1 <= venues <= 100:
            raise SourceError(f"the simulated source has from 1 to 100 venues, not {venues}")
        self._market = SimulatedMarket(seed, venues, rate)
        self._rate = rate
        self._clock = clock if clock is not None else SystemClock()
        self._sleep = sleep
        self._messages = dict.fromkeys(self._market.names, 0)
        self._newest_ns: dict[str, int] = {}

    @property
    def name(self) -> str:
        """``simulated``."""
        return "simulated"

    @property
    def simulated(self) -> bool:
        """Always."""
        return True

    @property
    def venues(self) -> tuple[str, ...]:
        """``sim-1`` to ``sim-n``."""
        return self._market.names

    async def run(self, emit: Emit, report: Report, drain: Drain = no_drain) -> None:
        """Walk until cancelled; see ``Source.run``. A moment that could not be kept is left out, not made
        up."""
        for venue in self.venues:
            report(self._status(venue, "live"))
        reported = due = self._clock.monotonic()
        try:
            while True:
                now = self._clock.monotonic()
                due = max(due, now - _BEHIND_AT_MOST_S)
                while due <= now + _TOLERANCE_S:
                    for event in self._market.step(self._clock.time_ns()):
                        emit(event)
                        self._messages[event.venue] += 1
                        self._newest_ns[event.venue] = event.received_ns
                    due += 1 / self._rate
                if now - reported >= _REPORT_EVERY_S:
                    reported = now
                    for venue in self.venues:
                        report(self._status(venue, "live"))
                await drain()
                await self._sleep(min(max(due - self._clock.monotonic(), 0.0), _REPORT_EVERY_S))
        finally:
            for venue in self.venues:
                report(self._status(venue, "stopped"))

    def _status(self, venue: str, state: SourceState) -> SourceStatus:
        newest_ns = self._newest_ns.get(venue)
        age_ms = None if newest_ns is None else max(self._clock.time_ns() - newest_ns, 0) // 1_000_000
        return SourceStatus(venue, state, age_ms, self._messages[venue], 0, 0, 0, "simulated")


def _dollars(cents: int) -> Decimal:
    return Decimal(cents).scaleb(-2)


def _bitcoins(satoshis: int) -> Decimal:
    return Decimal(satoshis).scaleb(-8)
