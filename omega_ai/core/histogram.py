"""Histograms of full resolution: HdrHistogram's cells, counted in integers, merged without error.

A value of at most 2,047 has a cell of its own; above that, each doubling has 1,024 cells, so that every
value is known to better than one part in a thousand (three significant digits), from 1 ns to hours, in
bounded memory: at most 1,024 cells for each doubling. Cells that are empty take nothing. Minimum, maximum,
count and sum are exact.

Who records a million values a second does it by hand, as ``record`` does: ``cell_of`` is two lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct

SUB_BITS: Final = 11
"""Values of so many bits are exact."""
HALF: Final = 1 << (SUB_BITS - 1)
LARGEST: Final = (1 << 47) - 1
"""What is larger is counted as this: 39 hours, if values are nanoseconds."""


def cell_of(value: int) -> int:
    """The cell in which ``value`` (0 to ``LARGEST``) is counted. Cells rise with values."""
    shift = value.bit_length() - SUB_BITS
    return value if shift <= 0 else (shift << (SUB_BITS - 1)) + (value >> shift)


def lowest_of(cell: int) -> int:
    """The smallest value that is counted in ``cell``."""
    shift = (cell >> (SUB_BITS - 1)) - 1
    return cell if shift <= 0 else (cell - (shift << (SUB_BITS - 1))) << shift


def highest_of(cell: int) -> int:
    """The largest value that is counted in ``cell``."""
    return lowest_of(cell + 1) - 1


class Histogram(Struct, omit_defaults=True):
    """How often values were seen. Whatever is done to it, the counts stay whole numbers.

    ``cells`` maps a cell (see ``cell_of``) to how many values fell into it; an empty histogram has minimum
    0 and maximum 0.
    """

    cells: dict[int, int] = {}
    count: int = 0
    total: int = 0
    """Sum of all values."""
    minimum: int = 0
    maximum: int = 0

    @classmethod
    def of(cls, values: Iterable[int]) -> Histogram:
        """Of these values."""
        histogram = cls()
        for value in values:
            histogram.record(value)
        return histogram

    def __bool__(self) -> bool:
        return self.count > 0

    def record(self, value: int, times: int = 1) -> None:
        """Count ``value``, ``times`` over. A negative one counts as 0."""
        if times < 1:
            return
        value = min(max(value, 0), LARGEST)
        if not self.count or value < self.minimum:
            self.minimum = value
        if value > self.maximum:
            self.maximum = value
        self.count += times
        self.total += value * times
        cell = cell_of(value)
        self.cells[cell] = self.cells.get(cell, 0) + times

    def add(self, other: Histogram) -> None:
        """Count everything that ``other`` counted."""
        if not other.count:
            return
        self.minimum = min(self.minimum, other.minimum) if self.count else other.minimum
        self.maximum = max(self.maximum, other.maximum)
        self.count += other.count
        self.total += other.total
        cells = self.cells
        for cell, times in other.cells.items():
            cells[cell] = cells.get(cell, 0) + times

    def copy(self) -> Histogram:
        """One that may be changed without changing this."""
        return Histogram(dict(self.cells), self.count, self.total, self.minimum, self.maximum)

    @property
    def mean(self) -> float:
        """Of all values, exact; 0 of none."""
        return self.total / self.count if self.count else 0.0

    def percentile(self, percent: float) -> int | None:
        """The smallest value that at least ``percent`` (0 to 100) of all do not exceed; None of none.

        Never less than what was seen by more than a thousandth, never more than the largest value seen.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"a percentile is 0 to 100, not {percent}")
        if not self.count:
            return None
        wanted = max(1, -int(-percent * self.count // 100))
        seen = 0
        for cell in sorted(self.cells):
            seen += self.cells[cell]
            if seen >= wanted:
                return min(max(highest_of(cell), self.minimum), self.maximum)
        return self.maximum

    def above(self, value: int) -> int:
        """How many values were larger than ``value``, as far as cells tell: those of its own cell are not."""
        cell = cell_of(min(max(value, 0), LARGEST))
        return sum(times for place, times in self.cells.items() if place > cell)

    def buckets(self) -> Iterator[tuple[int, int]]:
        """(highest value of the cell but at most the largest seen, how often), values rising."""
        for cell in sorted(self.cells):
            yield min(highest_of(cell), self.maximum), self.cells[cell]
