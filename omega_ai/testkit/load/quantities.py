"""Quantities as people write them in thresholds: ``5ms``, ``1MB/h``, ``99%``, ``200/s``.

Inside, one unit for each dimension: nanoseconds, bytes, a plain number, and these by the second.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


class Dimension(StrEnum):
    """What a number counts. The value names it in errors."""

    TIME = "a time"
    BYTES = "a size"
    COUNT = "a number"
    SHARE = "a share"
    TIME_RATE = "a time by time"
    BYTE_RATE = "a size by time"
    COUNT_RATE = "a number by time"


class Quantity(NamedTuple):
    """``value`` in the dimension's own unit: ns, bytes, number; rates by the second."""

    value: float
    dimension: Dimension
    bare: bool = False
    """It was written without a unit."""


TIMES: Final = {"ns": 1.0, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9, "min": 60e9, "h": 3600e9}
SIZES: Final = {"B": 1.0, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1024.0, "MiB": 2.0**20, "GiB": 2.0**30}
PER: Final = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}

_RATE_OF: Final = {
    Dimension.TIME: Dimension.TIME_RATE,
    Dimension.BYTES: Dimension.BYTE_RATE,
    Dimension.COUNT: Dimension.COUNT_RATE,
}
UNITS_OF: Final = {
    Dimension.TIME: tuple(TIMES),
    Dimension.BYTES: tuple(SIZES),
    Dimension.COUNT: (),
    Dimension.SHARE: ("%",),
    Dimension.TIME_RATE: ("ms/h", "ms/min", "us/s"),
    Dimension.BYTE_RATE: ("MB/h", "KB/min", "B/s"),
    Dimension.COUNT_RATE: ("/s", "/min", "/h", "/d"),
}
"""Units to write a quantity of each dimension in: all of them, or examples of those joined by a slash."""


class UnitError(ValueError):
    """No unit of ours; ``str(error)`` says which there are."""


def quantity(number: float, unit: str) -> Quantity:
    """``number`` in ``unit``; an empty unit is a plain number.

    Raises:
        UnitError: an unknown unit.
    """
    if not unit:
        return Quantity(number, Dimension.COUNT, bare=True)
    if unit == "%":
        return Quantity(number / 100, Dimension.SHARE)
    over, slash, under = unit.partition("/")
    if slash and under not in PER:
        raise UnitError(f"nothing is counted by {under!r}; there are /{', /'.join(PER)}")
    if over in TIMES:
        value, dimension = number * TIMES[over], Dimension.TIME
    elif over in SIZES:
        value, dimension = number * SIZES[over], Dimension.BYTES
    elif not over:
        value, dimension = number, Dimension.COUNT
    else:
        raise UnitError(
            f"no unit {over!r}; there are {', '.join((*TIMES, *SIZES, '%'))}, each also by /s or /h"
        )
    return Quantity(value / PER[under], _RATE_OF[dimension]) if slash else Quantity(value, dimension)


def shown(value: float, dimension: Dimension) -> str:
    """A value for people, in a unit of its size."""
    if dimension is Dimension.TIME:
        return _scaled(value, (("s", 1e9), ("ms", 1e6), ("us", 1e3), ("ns", 1.0)), digits=3)  # what is known
    if dimension is Dimension.BYTES:
        return _scaled(value, (("GB", 1e9), ("MB", 1e6), ("KB", 1e3), ("B", 1.0)))
    if dimension is Dimension.SHARE:
        return f"{100 * value:.4g}%"
    if dimension is Dimension.TIME_RATE:
        return f"{shown(value * 3600, Dimension.TIME)}/h"
    if dimension is Dimension.BYTE_RATE:
        return f"{shown(value * 3600, Dimension.BYTES)}/h"
    if dimension is Dimension.COUNT_RATE:
        return f"{value:.6g}/s" if abs(value) >= 1 or not value else f"{value * 3600:.4g}/h"
    return f"{value:.12g}"


def _scaled(value: float, units: tuple[tuple[str, float], ...], digits: int = 4) -> str:
    for name, size in units:
        if abs(value) >= size:
            return f"{_rounded(value / size, digits)}{name}"
    return f"{_rounded(value, digits)}{units[-1][0]}"


def _rounded(value: float, digits: int) -> str:
    """So many digits, and all of those before the point."""
    return f"{value:.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"
