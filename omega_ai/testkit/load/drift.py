"""Does a value grow for ever? The verdict of a soak on memory, descriptors and latency. Pure.

A least-squares line will not do: one step (a cache that is filled, an arena of the allocator) gives it a
slope, and one outlier tilts it. Three things are asked instead, and all must say yes before a server is
accused:

- *Trend*: after the warm-up the run is cut into blocks, and of each the lower quartile is taken, which a
  garbage collector's sawtooth and short spikes leave alone. The slope is the median of the slopes of all
  pairs of blocks (Theil 1950; Sen 1968), its interval comes from the variance of Kendall's statistic, widened
  for neighbours that resemble each other (Hamed and Rao 1998). The interval must lie above zero.
- *Persistence*: a leak goes on. Each quarter of the run must be above the one before by its share of the
  growth: after a step, and in a curve that flattens, that is not so.
- *Weight*: less than ``floor`` over the whole run is nothing that anybody should be told.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, median
from typing import Final, Literal

from omega_ai.testkit.result import TimeSeries
from omega_ai.testkit.verdict import Verdict

BLOCKS: Final = 40
"""Into how many the run is cut. More would give single values to each, fewer widen the interval."""
LEAST_BLOCKS: Final = 12
CONFIDENCE: Final = 0.99
QUANTILE: Final = 0.25
"""Of a block, and of a quarter, the value that stands for it."""
SMALLEST_QUARTER: Final = 0.15
"""Share of the growth that each quarter must account for: evenly it is a third, after a step it is none."""

FLOORS: Final = {"rss": (1 << 20, 0.01), "pss": (1 << 20, 0.01), "descriptors": (5, 0.02), "p99": (20e6, 0.5)}
"""Growth over the run that is of no account: absolute, and as a share of the level. The larger one counts."""
DEFAULT_FLOOR: Final = (0.0, 0.05)

Trend = Literal["grows", "steady", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """How fast a value changes, by the second, and between which bounds that lies with ``CONFIDENCE``."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What became of one value over a run."""

    name: str
    unit: str
    trend: Trend
    slope: Slope | None
    level: float
    """Of the last quarter: its lower quartile."""
    growth: float
    """From the first quarter's level to the last one's."""
    seconds: float
    """Length of what was looked at, without the warm-up."""
    why: str
    """One sentence."""

    @property
    def verdict(self) -> Verdict:
        """Fail if it grows."""
        return {"grows": Verdict.FAIL, "steady": Verdict.PASS, "unknown": Verdict.UNKNOWN}[self.trend]


def theil_sen(points: Sequence[tuple[float, float]], confidence: float = CONFIDENCE) -> Slope:
    """The median of the slopes of all pairs, with its interval. At least three points with rising times."""
    count = len(points)
    if count < 3:
        raise ValueError(f"a slope needs at least 3 points, not {count}")
    slopes = sorted(
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for place, earlier in enumerate(points)
        for later in points[place + 1 :]
    )
    estimate = median(slopes)
    residuals = [value - estimate * at for at, value in points]
    variance = _kendall_variance([value for _, value in points]) * _inflation(residuals)
    reach = NormalDist().inv_cdf(0.5 + confidence / 2) * math.sqrt(variance)
    below = math.floor((len(slopes) - reach) / 2)
    above = math.ceil((len(slopes) + reach) / 2)
    last = len(slopes) - 1
    # With few points the interval is wider than all slopes that there are: then nothing bounds it.
    low = slopes[below] if below >= 0 else -math.inf
    high = slopes[above] if above <= last else math.inf
    return Slope(estimate=estimate, low=low, high=high)


def _kendall_variance(values: Sequence[float]) -> float:
    """Variance of Kendall's S under no trend, for values of which some are equal."""
    ties: dict[float, int] = {}
    for value in values:
        ties[value] = ties.get(value, 0) + 1
    n = len(values)
    term = sum(t * (t - 1) * (2 * t + 5) for t in ties.values())
    return max(0.0, (n * (n - 1) * (2 * n + 5) - term) / 18)


def _inflation(residuals: Sequence[float]) -> float:
    """By how much resemblance of neighbours widens the variance; at least 1.

    As Hamed and Rao have it, from the autocorrelation of ranks, of which only significant lags are used.
    """
    n = len(residuals)
    order = sorted(range(n), key=residuals.__getitem__)
    ranks = [0.0] * n
    for rank, place in enumerate(order):
        ranks[place] = rank - (n - 1) / 2
    energy = sum(rank * rank for rank in ranks)
    if not energy:
        return 1.0
    total = 0.0
    limit = 1.96 / math.sqrt(n)
    for lag in range(1, n // 4 + 1):
        correlation = sum(ranks[i] * ranks[i + lag] for i in range(n - lag)) / energy
        if abs(correlation) > limit:
            total += (n - lag) * (n - lag - 1) * (n - lag - 2) * correlation
    return max(1.0, 1 + 2 * total / (n * (n - 1) * (n - 2)))


def judge_drift(
    series: TimeSeries, *, warm_up_s: float = 0.0, floor: tuple[float, float] | None = None
) -> Drift:
    """Whether ``series`` grows. ``floor``: growth of no account, absolute and as a share of the level."""
    points = [point for point in series.points if point[0] >= warm_up_s]
    blocks = block_values(points)
    seconds = points[-1][0] - points[0][0] if points else 0.0
    if len(blocks) < LEAST_BLOCKS:
        return Drift(
            name=series.name,
            unit=series.unit,
            trend="unknown",
            slope=None,
            level=points[-1][1] if points else 0.0,
            growth=0.0,
            seconds=seconds,
            why=f"{len(points)} values after the warm-up are too few: at least {LEAST_BLOCKS} are needed",
        )
    quarters = [_low([value for _, value in part]) for part in _parts(blocks, 4)]
    growth = quarters[-1] - quarters[0]
    absolute, share = floor if floor is not None else FLOORS.get(series.name, DEFAULT_FLOOR)
    least = max(absolute, share * abs(quarters[0]))
    slope = theil_sen(blocks)
    trend, why = _decide(slope, quarters, growth, least)
    return Drift(
        name=series.name,
        unit=series.unit,
        trend=trend,
        slope=slope,
        level=quarters[-1],
        growth=growth,
        seconds=seconds,
        why=why,
    )


def _decide(slope: Slope, quarters: Sequence[float], growth: float, least: float) -> tuple[Trend, str]:
    if not slope.low > 0:
        return "steady", "its slope does not differ from zero beyond chance, or it falls"
    if growth <= least:
        return "steady", "what it grew by is of no account"
    steps = [later - earlier for earlier, later in itertools.pairwise(quarters)]
    if min(steps) < SMALLEST_QUARTER * growth:
        return "steady", "it stepped up, or grew less and less, but it does not go on growing"
    return "grows", "it grew in every quarter of the run, and beyond chance"


def block_values(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The run in blocks of equal length: (middle in seconds, lower quartile) of each that has values."""
    if not points:
        return []
    start, end = points[0][0], points[-1][0]
    length = (end - start) / BLOCKS
    if not length:
        return []
    groups: dict[int, list[float]] = {}
    for at, value in points:
        groups.setdefault(min(BLOCKS - 1, int((at - start) / length)), []).append(value)
    return [(start + (number + 0.5) * length, _low(values)) for number, values in sorted(groups.items())]


def _low(values: Sequence[float]) -> float:
    return sorted(values)[int(QUANTILE * (len(values) - 1))]


def _parts(items: Sequence[tuple[float, float]], count: int) -> list[Sequence[tuple[float, float]]]:
    edges = [round(len(items) * number / count) for number in range(count + 1)]
    return [items[low:high] for low, high in itertools.pairwise(edges)]
