"""Faults in what messages say of themselves: time and price."""

from __future__ import annotations

from datetime import timedelta

from omega_ai.core.timestamps import format_utc
from omega_ai.testkit.zoo.site import Site


class WrongZone(Site):
    """Writes the time of another zone as if it were UTC."""

    def time(self) -> str:
        """See the class."""
        return format_utc(self.clock.time_ns() + round(timedelta(hours=2).total_seconds() * 1e9))


class Old(Site):
    """Sends messages that are half a minute old."""

    def time(self) -> str:
        """See the class."""
        return format_utc(self.clock.time_ns() - 30 * 10**9)


class Crossed(Site):
    """Bids more than it asks, one time in 50."""

    def next_price(self) -> tuple[float, float, float]:
        """See the class."""
        price, bid, ask = super().next_price()
        return (price, ask, bid) if self.prices % 50 == 20 else (price, bid, ask)


class Frozen(Site):
    """Sends one and the same price all the time."""

    def next_price(self) -> tuple[float, float, float]:
        """See the class."""
        return 60_000.0, 59_999.5, 60_000.5


class Jumps(Site):
    """Shifts the decimal point, one time in 80."""

    def next_price(self) -> tuple[float, float, float]:
        """See the class."""
        price, bid, ask = super().next_price()
        return (price / 10, bid / 10, ask / 10) if self.prices % 80 == 30 else (price, bid, ask)


class Negative(Site):
    """Sends a price of zero, one time in 80."""

    def next_price(self) -> tuple[float, float, float]:
        """See the class."""
        price, bid, ask = super().next_price()
        return (0.0 if self.prices % 80 == 30 else price), bid, ask
