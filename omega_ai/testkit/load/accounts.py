"""Which numbers of a stream have come: exact, in memory that does not grow with what is in order.

A *stream* is what one client sees of one sender, or of one numbering of the feed. What was skipped is kept as
ranges; a server that loses messages here and there makes many, and of more than ``MAX_HOLES`` the oldest are
settled as lost: whatever of them still comes then is *unexpected*, as it can no longer be told from a copy.
"""

from __future__ import annotations

from bisect import bisect_right
from enum import IntEnum
from typing import Final

MAX_HOLES: Final = 20_000


class Arrival(IntEnum):
    """What the coming of a number means."""

    EXPECTED = 0
    """It is the next one, or the first."""
    GAP = 1
    """It is later than the next one: those between are missing, for now."""
    REORDERED = 2
    """It was missing: a later one came before it."""
    DUPLICATED = 3
    TOO_LATE = 4
    """It was settled as lost, or cut off at a close, or it is a copy of what came long ago."""


_NO_ENDS: Final[list[int]] = []
"""What no stream with holes has: most have none, and there are many streams."""


class Stream:
    """Numbers that came. ``next`` is the number after the highest that came."""

    __slots__ = ("_ends", "_starts", "first", "missing", "next", "settled")

    def __init__(self, first: int = 0) -> None:
        self.first = first
        self.next = first
        self.missing = 0
        """Skipped, and not come since."""
        self.settled = first
        """Below this, nothing is known any more."""
        self._starts: list[int] | None = None
        self._ends: list[int] = _NO_ENDS

    def see(self, number: int) -> Arrival:
        """``number`` came. With ``GAP``, ``missing`` has grown."""
        expected = self.next
        if number == expected:
            self.next = number + 1
            return Arrival.EXPECTED
        if number > expected:
            self._skip(expected, number)
            self.next = number + 1
            return Arrival.GAP
        if number < self.settled:
            return Arrival.TOO_LATE
        starts, ends = self._starts, self._ends
        place = -1 if starts is None else bisect_right(starts, number) - 1
        if starts is None or place < 0 or number >= ends[place]:
            return Arrival.DUPLICATED
        start, end = starts[place], ends[place]
        if end - start == 1:
            del starts[place], ends[place]
        elif number == start:
            starts[place] = number + 1
        elif number == end - 1:
            ends[place] = number
        else:
            ends[place] = number
            starts.insert(place + 1, number + 1)
            ends.insert(place + 1, end)
        self.missing -= 1
        return Arrival.REORDERED

    def cut(self, upto: int) -> int:
        """The connection ended when numbers below ``upto`` had been sent: how many of them were on their way.

        What comes of them later is told from a copy no more. What was skipped before stays missing.
        """
        on_way = max(0, upto - self.next)
        self.next = max(self.next, upto)
        self.settled = self.next
        self._starts = None
        return on_way

    def _skip(self, start: int, end: int) -> None:
        self.missing += end - start
        starts = self._starts
        if starts is None:
            starts = self._starts = []
            self._ends = []
        starts.append(start)
        self._ends.append(end)
        if len(starts) > MAX_HOLES:
            old = len(starts) // 2
            self.settled = self._ends[old - 1]
            del starts[:old], self._ends[:old]
