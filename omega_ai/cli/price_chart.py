"""A small chart of block characters, for a terminal of any size. Pure."""

from __future__ import annotations

from collections.abc import Sequence

KEPT_SECONDS = 3600
FILL_SECONDS = 60
TAIL_SECONDS = 2

_BLOCKS = " ▁▂▃▄▅▆▇█"


class Trail:
    """The last price of each second, for an hour. Times are whole seconds since the Unix epoch."""

    def __init__(self) -> None:
        self._prices: dict[int, float] = {}

    def add(self, second: int, price: float) -> None:
        """A price of that second; a later one of the same second replaces it."""
        self._prices[second] = price
        if len(self._prices) > KEPT_SECONDS + 600:
            newest = sorted(self._prices)[-KEPT_SECONDS:]
            self._prices = {each: self._prices[each] for each in newest}

    def columns(self, end: int, seconds: int, count: int) -> list[float | None]:
        """The ``seconds`` up to ``end`` in ``count`` parts: the last price of each.

        One without a price has the one before it, for up to a minute: candles of before come once in one.
        After the newest price there is only None, so that an old one is not drawn as that of now.
        """
        found: list[tuple[int, float] | None] = [None] * count
        begin = end - seconds
        for second, price in self._prices.items():
            if begin < second <= end:
                at = min(count - 1, (second - begin - 1) * count // seconds)
                known = found[at]
                if known is None or second >= known[0]:
                    found[at] = second, price
        newest = max((at for at, each in enumerate(found) if each is not None), default=-1)
        columns: list[float | None] = []
        last: tuple[int, float] | None = None
        for at, each in enumerate(found):
            last = each or last
            if last is None:
                columns.append(None)
                continue
            age = begin + 1 + at * seconds // count - last[0]
            columns.append(last[1] if age <= (FILL_SECONDS if at < newest else TAIL_SECONDS) else None)
        return columns

    def span(self, end: int) -> int:
        """Seconds from the oldest price to ``end``, at most an hour; 0 without any."""
        oldest = min(self._prices, default=end)
        return max(0, min(KEPT_SECONDS, end - oldest))


def block_chart(values: Sequence[float | None], rows: int) -> list[str]:
    """``values`` as columns of ``rows`` lines, the lowest one block high; a blank where there is no value."""
    known = [value for value in values if value is not None]
    if not known:
        return [" " * len(values)] * rows
    low, high = min(known), max(known)
    most = rows * 8
    # A flat line stands in the middle, not on the floor.
    levels = [
        0
        if value is None
        else (most // 2 if high == low else 1 + round((value - low) / (high - low) * (most - 1)))
        for value in values
    ]
    return [
        "".join(_BLOCKS[max(0, min(8, level - row * 8))] for level in levels)
        for row in range(rows - 1, -1, -1)
    ]
