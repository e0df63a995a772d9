"""The top of a book that is sent as a whole once and then as changes. Pure."""

from __future__ import annotations

from decimal import Decimal

from omega_ai.data_feed.exchanges.events import BookChange
from omega_ai.data_feed.market import Quote

_LEVELS_AT_MOST = 5_000


class TopOfBook:
    """Follows one market's levels and tells its best bid and ask.

    A jump in the update ids means that a change was lost: the book is dropped, and there is no quote until
    the next whole one. A level may be left behind by a venue that cuts its book to a depth without saying so;
    therefore the book is cut to that depth after each change.
    """

    def __init__(self) -> None:
        self._bids: dict[Decimal, Decimal] = {}
        self._asks: dict[Decimal, Decimal] = {}
        self._update_id: int | None = None
        self._whole = False
        self._shown: tuple[Decimal, Decimal, Decimal, Decimal] | None = None
        self.gaps = 0
        """Changes found to be missing."""

    def apply(self, change: BookChange) -> Quote | None:
        """Take a change; the quote if the top of the book changed by it."""
        if change.whole:
            self._bids.clear()
            self._asks.clear()
            self._whole = True
        elif not self._whole:
            return None
        elif change.update_id is not None and self._update_id is not None:
            if change.update_id == self._update_id:
                return None  # repeated
            if change.update_id != self._update_id + 1:
                self.gaps += 1
                self._whole = False
                self._shown = None
                return None
        self._update_id = change.update_id
        _merge(self._bids, change.bids)
        _merge(self._asks, change.asks)
        _cut(self._bids, change.depth, lowest_first=True)
        _cut(self._asks, change.depth, lowest_first=False)
        if not self._bids or not self._asks:
            return None
        bid, ask = max(self._bids), min(self._asks)
        shown = (bid, self._bids[bid], ask, self._asks[ask])
        if shown == self._shown and not change.whole:
            return None
        self._shown = shown
        return Quote(
            change.venue,
            change.symbol,
            bid,
            self._bids[bid],
            ask,
            self._asks[ask],
            change.timestamp_ns,
            change.received_ns,
        )


def _merge(side: dict[Decimal, Decimal], levels: tuple[tuple[Decimal, Decimal], ...]) -> None:
    for price, size in levels:
        if size:
            side[price] = size
        else:
            side.pop(price, None)


def _cut(side: dict[Decimal, Decimal], depth: int, *, lowest_first: bool) -> None:
    excess = len(side) - min(depth, _LEVELS_AT_MOST)
    if excess > 0:
        for price in sorted(side, reverse=not lowest_first)[:excess]:
            del side[price]
