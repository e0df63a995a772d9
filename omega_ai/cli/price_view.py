"""What a person should know about a price that is being watched: pure, fed with messages and times."""

from __future__ import annotations

import statistics
from collections import deque
from decimal import Decimal

from omega_ai.cli.price_chart import Trail
from omega_ai.client import Connected, Disconnected, Gap, Heartbeat, NotRecovered, Price, Recovered
from omega_ai.client.messages import Candle, Status

SILENCE = 3.0
"""Seconds without a word from the server, which speaks each second, before it is said."""

STALE_AFTER = 5.0
"""Seconds without a price after which the last one is not the price now: a live feed sends one a second."""

RATE_SECONDS = 10.0

DELAYS = 200
"""How many of the newest delays count."""


class PriceView:
    """The newest price, and how far it can be trusted. ``now`` is monotonic seconds, ``utc_ns`` Unix time."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.price: Price | None = None
        self.direction = 0
        """1 up, -1 down, 0 unchanged or unknown: against the price before."""
        self.prices = 0
        self.lost = 0
        """Messages that are proven lost."""
        self.doubts = 0
        """Times at which it could not be proven that nothing was lost."""
        self.reconnects = 0
        self.connected = False
        self.trouble: str | None = None
        """Why there is no connection, and when the next attempt is made."""
        self._price_at = 0.0
        self._heard_at = 0.0
        self._delays: deque[float] = deque(maxlen=DELAYS)
        self._arrivals: deque[float] = deque(maxlen=10_000)
        self._trails = {False: Trail(), True: Trail()}
        self.statuses: dict[str, Status] = {}
        """The newest of each venue, where they are subscribed to."""

    @property
    def trail(self) -> Trail:
        """Past prices of the kind shown: made-up ones and those of a market are kept apart."""
        return self._trails[self.price is not None and self.price.state == "simulated"]

    def take_candle(self, candle: Candle) -> None:
        """A candle of before, for the chart."""
        if candle.symbol == "BTC-USD":
            self._trails[candle.simulated].add(int(candle.start.timestamp()), float(candle.close))

    def rate(self, now: float) -> float | None:
        """Prices a second over the last ten; None before there were two."""
        while self._arrivals and self._arrivals[0] < now - RATE_SECONDS:
            self._arrivals.popleft()
        if len(self._arrivals) < 2:
            return None
        return len(self._arrivals) / min(RATE_SECONDS, max(1.0, now - self._arrivals[0]))

    def take(self, item: object, *, now: float, utc_ns: int) -> str | None:
        """Take a message or an event; returns a sentence if it is something that a person should read."""
        if isinstance(item, Price):
            self._heard_at = self._price_at = now
            self._arrivals.append(now)
            self._delays.append(utc_ns / 1e9 - item.timestamp.timestamp())
            before = self.price
            if before is not None and item.price != before.price:
                self.direction = 1 if item.price > before.price else -1
            changed = before is None or before.state != item.state
            self.price = item
            self.prices += 1
            if item.state != "stale":  # one that is repeated is no price of now
                self.trail.add(utc_ns // 1_000_000_000, float(item.price))
            return f"the price is {_STATES.get(item.state, item.state)}" if changed else None
        if isinstance(item, Heartbeat):
            self._heard_at = now
            return None
        if isinstance(item, Status):
            self._heard_at = now
            self.statuses[item.venue] = item
            return None
        if isinstance(item, Connected):
            self._heard_at = now
            self.connected, self.trouble = True, None
            if item.first:
                return f"connected to {item.url}"
            self.reconnects += 1
            return f"connected again to {item.url}"
        if isinstance(item, Disconnected):
            self.connected = False
            again = "giving up" if item.retry_in is None else f"trying again in {item.retry_in:.1f} s"
            self.trouble = f"not connected ({item.reason or f'code {item.code}'}), {again}"
            return self.trouble
        if isinstance(item, Recovered):
            return (
                "nothing was missed: continued where the connection broke"
                if item.channel == _CHANNEL
                else None
            )
        if isinstance(item, Gap):
            self.lost += item.last - item.first + 1
            return str(item)
        if isinstance(item, NotRecovered):
            self.doubts += 1
            return str(item)
        return None

    def age(self, now: float) -> float | None:
        """Seconds since the newest price arrived; None before the first."""
        return None if self.price is None else now - self._price_at

    def warning(self, now: float) -> str | None:
        """Why the price shown is not the price now, or None if it is."""
        if not self.connected:
            return self.trouble or "not connected yet"
        if self.price is None:
            return "no price yet"
        if self.price.state != "live":
            return f"the price is {_STATES.get(self.price.state, self.price.state)}"
        silence = now - self._heard_at
        if silence > SILENCE:
            return f"the server has been silent for {silence:.0f} s"
        age = now - self._price_at
        return f"no price for {age:.0f} s: this is the last one known" if age > STALE_AFTER else None

    @property
    def delay(self) -> float | None:
        """Median seconds from publication to arrival, by two clocks that may differ; None before any."""
        return statistics.median(self._delays) if self._delays else None


_CHANNEL = Price.channel
_STATES = {
    "live": "live",
    "degraded": "DEGRADED: fewer venues than it takes to trust it",
    "stale": "STALE: no venue speaks, this is the last known",
    "simulated": "SIMULATED: made up, not the market's",
}


def format_number(value: Decimal | None) -> str:
    """All digits, thousands set apart; a dash for None."""
    return "-" if value is None else f"{value:,f}"
