"""Time as an argument, so that whatever depends on it is tested without sleeping."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back. For durations and deadlines."""
        ...

    def time_ns(self) -> int:
        """Nanoseconds since the Unix epoch, UTC. For time stamps only: it may jump."""
        ...


class SystemClock:
    """The machine's clocks."""

    __slots__ = ()

    monotonic = staticmethod(time.monotonic)
    time_ns = staticmethod(time.time_ns)


class ManualClock:
    """A clock that moves when told to, for tests and for simulation.

    Both times move together; ``jump`` shifts the UTC time alone, as a clock that was set does.
    """

    __slots__ = ("_monotonic_ns", "_utc_ns")

    def __init__(self, utc_ns: int = 1_767_225_600_000_000_000, monotonic: float = 1000.0) -> None:
        self._utc_ns = utc_ns
        self._monotonic_ns = round(monotonic * 1e9)

    def monotonic(self) -> float:
        """Seconds, as advanced so far."""
        return self._monotonic_ns / 1e9

    def time_ns(self) -> int:
        """Nanoseconds since the Unix epoch, as advanced and jumped so far."""
        return self._utc_ns

    def advance(self, seconds: float) -> None:
        """Move both times on by ``seconds`` (>= 0)."""
        if seconds < 0:
            raise ValueError(f"time does not go back: advance({seconds})")
        step = round(seconds * 1e9)
        self._monotonic_ns += step
        self._utc_ns += step

    def jump(self, seconds: float) -> None:
        """Shift the UTC time by ``seconds``, either way; the monotonic time stays."""
        self._utc_ns += round(seconds * 1e9)
