"""How late the event loop is: a timer that measures its own delay.

All that a feed process does shares one loop, so its lag is a floor under every latency.
"""

from __future__ import annotations

from omega_ai.core.clock import Clock
from omega_ai.core.scheduler import Cancellable, Scheduler
from omega_ai.data_feed.observability.histogram import HistogramReading, LatencyHistogram

EVERY = 0.1
"""Seconds between two samples: ten a second cost nothing, and no pause of a tenth of a second is missed."""


class LoopLag:
    """Samples from ``start`` to ``stop``; ``read`` gives the histogram."""

    def __init__(self, clock: Clock, scheduler: Scheduler, every: float = EVERY) -> None:
        self._clock = clock
        self._scheduler = scheduler
        self._every = every
        self._histogram = LatencyHistogram()
        self._timer: Cancellable | None = None
        self._due = 0.0

    def start(self) -> None:
        """Begin; does nothing if it has begun."""
        if self._timer is None:
            self._wait()

    def stop(self) -> None:
        """End; may be started again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def read(self) -> HistogramReading:
        """What was measured so far."""
        return self._histogram.read()

    def _wait(self) -> None:
        self._due = self._clock.monotonic() + self._every
        self._timer = self._scheduler.later(self._every, self._sample)

    def _sample(self) -> None:
        late = self._clock.monotonic() - self._due
        # A pause swallows the samples that would have seen it; count what they would have seen, or one pause
        # of a second would weigh as much as one of a millisecond.
        self._histogram.record(late)
        while late > self._every:
            late -= self._every
            self._histogram.record(late)
        self._wait()
