"""A latency histogram that costs one bisection and three additions a record, read by the scraper as it is.

Prometheus' own client takes a lock and a dictionary look-up per observation, which the path of a price cannot
afford a hundred thousand times a second.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence

from msgspec import Struct

LATENCY_BOUNDS: tuple[float, ...] = (
    25e-6, 50e-6, 100e-6, 150e-6, 250e-6, 500e-6,
    1e-3, 2e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3,
    1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds in seconds: fine where the feed works (150 us, 1 ms), coarse where it has failed."""


class HistogramReading(Struct, frozen=True):
    """A histogram at one moment.

    ``counts[i]`` is how many values are at most ``bounds[i]`` and above the bound before it; the last, extra
    count is of those above every bound. ``total`` is the sum of all values, in seconds.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float

    @property
    def count(self) -> int:
        """How many values were recorded."""
        return sum(self.counts)

    def quantile(self, q: float) -> float | None:
        """The bound below which a share ``q`` (0 to 1) of the values lies; None without values.

        It is the bucket's upper bound, never an interpolation, so it errs to the bad side by at most one
        bucket. Infinity when the value lies above every bound.
        """
        count = self.count
        if not count:
            return None
        rank = max(1, math.ceil(q * count))
        seen = 0
        for bound, here in zip((*self.bounds, math.inf), self.counts, strict=True):
            seen += here
            if seen >= rank:
                return bound
        return math.inf

    def since(self, earlier: HistogramReading | None) -> HistogramReading:
        """What was recorded after ``earlier``, a reading of the same histogram (None: from the start).

        When it has gone back (a worker was replaced, and its counts with it), everything counts as after.
        """
        if earlier is None:
            return self
        counts = tuple(now - then for now, then in zip(self.counts, earlier.counts, strict=True))
        if min(counts) < 0:
            return self
        return HistogramReading(self.bounds, counts, self.total - earlier.total)


def merge_readings(readings: Sequence[HistogramReading]) -> HistogramReading | None:
    """Several histograms of the same bounds as one, exactly; None of none."""
    if not readings:
        return None
    counts = tuple(sum(column) for column in zip(*(r.counts for r in readings), strict=True))
    return HistogramReading(readings[0].bounds, counts, sum(r.total for r in readings))


class LatencyHistogram:
    """Counts of durations in fixed buckets. Belongs to one thread."""

    __slots__ = ("_counts", "_total", "bounds")

    def __init__(self, bounds: Iterable[float] = LATENCY_BOUNDS) -> None:
        self.bounds = tuple(bounds)
        if not self.bounds or list(self.bounds) != sorted(set(self.bounds)):
            raise ValueError(f"bounds must rise: {self.bounds}")
        self._counts = [0] * (len(self.bounds) + 1)
        self._total = 0.0

    def record(self, seconds: float, times: int = 1) -> None:
        """Count a duration, ``times`` over. A negative one (two machines' clocks) counts as 0."""
        if seconds < 0.0:
            seconds = 0.0
        self._counts[bisect_left(self.bounds, seconds)] += times
        self._total += seconds * times

    def read(self) -> HistogramReading:
        """The counts as they are now."""
        return HistogramReading(self.bounds, tuple(self._counts), self._total)
