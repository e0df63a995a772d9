"""Checkers: pure functions from what clients saw to what is wrong with it, one a file.

Each says how much it could examine; of nothing, it says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from omega_ai.testkit.checkers import (
    corrupted,
    duplicated,
    gap,
    late,
    lost,
    prices,
    reordered,
    skew,
    stale,
    unequal,
    unexpected,
)
from omega_ai.testkit.checkers.model import Check
from omega_ai.testkit.reading import Reading

CHECKERS: Final[dict[str, Callable[[Reading], Check]]] = {
    "lost": lost.check,
    "duplicated": duplicated.check,
    "reordered": reordered.check,
    "corrupted": corrupted.check,
    "unexpected": unexpected.check,
    "stale": stale.check,
    "late": late.check,
    "unequal": unequal.check,
    "skew": skew.check,
    "gap": gap.check,
    "prices": prices.check,
}

DELIVERY: Final = ("lost", "duplicated", "reordered", "corrupted", "unexpected", "late")
"""What every exchange of messages is judged by."""


def check(reading: Reading, names: Sequence[str] = DELIVERY) -> list[Check]:
    """Run the checkers ``names``."""
    return [CHECKERS[name](reading) for name in names]


__all__ = ["CHECKERS", "DELIVERY", "Check", "check"]
