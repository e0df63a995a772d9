"""A memory for identifiers that come mostly one after the other: exact, and small."""

from __future__ import annotations

from bisect import bisect_right

_RANGES_AT_MOST = 1_000_000


class SeenIds:
    """Ids met so far. Numbers are kept as ranges, so that a million consecutive ones take no more room than
    two.

    Bounded: beyond a million ranges (or as many other names) the lowest (oldest) are forgotten.
    """

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []  # both included
        self._names: dict[str, None] = {}

    def add(self, identifier: str, count: int = 1) -> bool:
        """Remember ``identifier`` and the ``count - 1`` numbers before it; whether it is new."""
        if not (identifier.isascii() and identifier.isdigit() and len(identifier) < 20):
            if identifier in self._names:
                return False
            self._names[identifier] = None
            if len(self._names) > _RANGES_AT_MOST:
                del self._names[next(iter(self._names))]
            return True
        last = int(identifier)
        at = bisect_right(self._starts, last) - 1
        if at >= 0 and last <= self._ends[at]:
            return False
        first = max(last - max(count, 1) + 1, self._ends[at] + 1 if at >= 0 else 0)
        joins_before = at >= 0 and self._ends[at] + 1 == first
        joins_after = at + 1 < len(self._starts) and self._starts[at + 1] == last + 1
        if joins_before and joins_after:
            self._ends[at] = self._ends.pop(at + 1)
            del self._starts[at + 1]
        elif joins_before:
            self._ends[at] = last
        elif joins_after:
            self._starts[at + 1] = first
        else:
            self._starts.insert(at + 1, first)
            self._ends.insert(at + 1, last)
            if len(self._starts) > _RANGES_AT_MOST:
                del self._starts[0], self._ends[0]
        return True

    @property
    def holes(self) -> int:
        """How often the numbers jump."""
        return max(len(self._starts) - 1, 0)
