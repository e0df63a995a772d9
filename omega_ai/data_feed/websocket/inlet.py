"""``Inlet``: what clients send is taken in within a share of each turn of the event loop.

An event loop hands over everything that has arrived before anything else gets its turn. When thousands
connect or subscribe at once, that is a tenth of a second and more, in which nobody gets a live message. So
what exceeds a turn's share waits for the next turns, in order; of each connection at most what one read has
brought, since nothing more is read from it meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from omega_ai.core.clock import Clock
from omega_ai.core.scheduler import Scheduler

SHARE_SECONDS: Final = 0.001
"""Of each turn, for what has just arrived, and as much again for what has been waiting."""


class Source(Protocol):
    """A connection, as far as it matters here."""

    held: bytes
    """What was received and waits; the inlet's to write."""

    def take_in(self, data: bytes) -> None:
        """Process what was received."""
        ...

    def hold_reading(self) -> None:
        """Receive nothing more for the time being."""
        ...

    def go_on_reading(self) -> None:
        """Receive again."""
        ...


class Inlet:
    """See the module's text. ``urgent`` sends what is live, ``settle`` the answers to what was taken in."""

    __slots__ = ("_clock", "_scheduler", "_settle", "_urgent", "_waiting", "deferred", "until")

    def __init__(
        self,
        clock: Clock,
        scheduler: Scheduler,
        *,
        urgent: Callable[[], None],
        settle: Callable[[], None],
    ) -> None:
        self._clock = clock.monotonic
        self._scheduler = scheduler
        self._urgent = urgent
        self._settle = settle
        self._waiting: deque[Source] = deque()
        self.deferred = 0
        """Arrivals that had to wait for another turn, so far."""
        self.until = 0.0
        """When this turn's share is used up; 0 before the first arrival of a turn."""

    def __len__(self) -> int:
        return len(self._waiting)

    def arrived(self, source: Source, data: bytes, *, new: bool) -> None:
        """``source`` has received ``data``: it is taken in now, or later. ``new``: it is not yet open.

        Who is new does not overtake those who wait.
        """
        if source.held:
            source.held += data
            return
        until = self.until
        if not until:
            self.until = until = self._clock() + SHARE_SECONDS
            self._scheduler.soon(self._end_turn)
            if not (new and self._waiting):
                source.take_in(data)
                return
        elif not (new and self._waiting) and self._clock() < until:
            source.take_in(data)
            return
        self.deferred += 1
        source.held = data
        source.hold_reading()
        self._waiting.append(source)

    def _end_turn(self) -> None:
        self.until = 0.0
        self._settle()
        waiting = self._waiting
        if not waiting:
            return
        self._urgent()
        until = self._clock() + SHARE_SECONDS
        while waiting:
            source = waiting.popleft()
            data, source.held = source.held, b""
            if data:  # or it is gone
                source.take_in(data)
                source.go_on_reading()
                if self._clock() >= until:
                    break
        self._settle()
        if waiting:
            # What arrives in the next turn has a share of its own, from its beginning.
            self.until = self._clock() + SHARE_SECONDS
            self._scheduler.soon(self._end_turn)
