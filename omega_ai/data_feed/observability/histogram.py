"""A latency histogram that costs one bisection and three additions a record, read by the scraper as it is.

Prometheus' own client takes a lock and a dictionary look-up per observation, which the path of a price cannot
afford a hundred thousand times a second.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec import Struct

LATENCY_BOUNDS: tuple[float, ...] = (
    25e-6, 50e-6, 100e-6, 150e-6, 250e-6, 500e-6,
    1e-3, 2e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3,
    1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds in seconds of the classic form: fine where the feed works (150 us, 1 ms), coarse where it has
failed."""

SCHEMA = 2
"""Of native histograms: four buckets to each doubling, so that a quantile is off by less than a fifth."""

_LOWEST, _HIGHEST = -20 << SCHEMA, 4 << SCHEMA
NATIVE_BOUNDS = tuple(2.0 ** (index / (1 << SCHEMA)) for index in range(_LOWEST, _HIGHEST + 1))
"""From a microsecond to 16 s. Bucket ``i`` ends at 2 to the power of i / 4."""

FINE_BOUNDS = tuple(sorted({*LATENCY_BOUNDS, *NATIVE_BOUNDS}))
"""All bounds of both forms: what is counted in these gives either of them exactly."""


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

    def coarse(self) -> HistogramReading:
        """In the classic bounds, exactly; as it is, when it was not counted in ``FINE_BOUNDS``."""
        if self.bounds != FINE_BOUNDS:
            return self
        counts, at = [0] * (len(LATENCY_BOUNDS) + 1), 0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            counts[at] += count
            if bound == LATENCY_BOUNDS[min(at, len(LATENCY_BOUNDS) - 1)]:
                at += 1
        counts[-1] += self.counts[-1]
        return HistogramReading(LATENCY_BOUNDS, tuple(counts), self.total)

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


class NativeBuckets(NamedTuple):
    """A native histogram: ``counts`` by the index of their bucket; those near zero are apart."""

    schema: int
    zero_threshold: float
    zero_count: int
    counts: dict[int, int]


def native_buckets(reading: HistogramReading) -> NativeBuckets:
    """A reading as a native histogram; what lies above all bounds goes into the bucket after the last."""
    counts: dict[int, int] = {}
    zeros = 0
    for bound, count in zip((*reading.bounds, math.inf), reading.counts, strict=True):
        if count and bound <= NATIVE_BOUNDS[0]:
            zeros += count
        elif count:
            index = _LOWEST + bisect_left(NATIVE_BOUNDS, bound)
            counts[index] = counts.get(index, 0) + count
    return NativeBuckets(SCHEMA, NATIVE_BOUNDS[0], zeros, counts)


def merge_readings(readings: Sequence[HistogramReading]) -> HistogramReading | None:
    """Several histograms of the same bounds as one, exactly; None of none."""
    if not readings:
        return None
    counts = tuple(sum(column) for column in zip(*(r.counts for r in readings), strict=True))
    return HistogramReading(readings[0].bounds, counts, sum(r.total for r in readings))


class LatencyHistogram:
    """Counts of durations in fixed buckets. Belongs to one thread."""

    __slots__ = ("_counts", "_total", "bounds")

    def __init__(self, bounds: Iterable[float] = FINE_BOUNDS) -> None:
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
