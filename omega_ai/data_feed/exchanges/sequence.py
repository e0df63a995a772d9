"""Trades of one market in order, each once: doubles dropped, holes seen, and filled where they can be.

Pure. One object a venue and symbol; it outlives connections, which is what makes a reconnect seamless.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from operator import itemgetter

from msgspec import Struct

from omega_ai.data_feed.market import Trade

_REMEMBERED = 20_000
_WAITING_AT_MOST = 10_000
_NOT_A_GAP = 1_000_000  # no outage spans so many ids: the venue counts anew, or the id is garbage
_LATER_NS = 1_000_000_000


class Gap(Struct, frozen=True):
    """Trades ``first`` to ``last`` (ids, both included) did not come.

    ``since_ns`` is the venue's time of the trade before the gap.
    """

    first: int
    last: int
    since_ns: int

    @property
    def missing(self) -> int:
        """How many ids the gap spans."""
        return self.last - self.first + 1


class TradeSequence:
    """Order and uniqueness by trade id.

    With ``consecutive`` ids, a jump opens a ``gap``. With ``hold``, later trades then wait until ``fill``
    closes it or ``give_up`` accepts the loss, so that what comes out is always in the order of the ids;
    waiting is bounded, beyond 10,000 trades the gap is given up. Without ``consecutive``, ids only tell
    doubles apart, among the newest 20,000.
    """

    def __init__(self, *, consecutive: bool, hold: bool = True) -> None:
        self._consecutive = consecutive
        self._hold = hold
        self._last: Trade | None = None
        self._last_id = -1
        self._waiting: list[tuple[int, int, Trade]] = []  # heap of (id, count, trade)
        self._waiting_ids: set[int] = set()
        self._seen: set[str] = set()
        self._order: deque[str] = deque()
        self.doubles = 0
        """Trades dropped because they had come before."""
        self.lost = 0
        """Trades known to exist that never came, as far as gaps were given up."""
        self.gaps = 0
        """Gaps seen, filled or not."""

    @property
    def gap(self) -> Gap | None:
        """The hole that holds trades back now, if there is one."""
        if not self._waiting or self._last is None:
            return None
        number, count, _ = self._waiting[0]
        return Gap(self._last_id + 1, number - count, self._last.timestamp_ns)

    def offer(self, trade: Trade, count: int = 1) -> list[Trade]:
        """Take one trade (it stands for ``count`` ids, its own the last); return what may go out, in
        order."""
        number = _number(trade) if self._consecutive else None
        if number is None:  # also when a venue changes its ids: better unordered than lost
            return self._offer_unique(trade)
        last = self._last
        if last is None:
            return self._advance(trade, number)
        if number <= self._last_id:
            if trade.timestamp_ns - last.timestamp_ns < _LATER_NS:
                self.doubles += 1
                return []
            return [*self.give_up(), *self._advance(trade, number)]  # a lower id, but later: it counts anew
        if number - count <= self._last_id:
            return self._advance(trade, number)
        if number in self._waiting_ids:
            self.doubles += 1
            return []
        if not self._waiting:
            self.gaps += 1
        heapq.heappush(self._waiting, (number, count, trade))
        self._waiting_ids.add(number)
        if not self._hold or len(self._waiting) > _WAITING_AT_MOST:
            return self.give_up()
        return []

    def fill(self, trades: Iterable[Trade]) -> list[Trade]:
        """Take trades that were asked for because of ``gap``, in any order; return what may go out, in order.

        Whatever lies outside the gap is left alone: the stream brought it already, or will.
        """
        numbered = [(number, trade) for trade in trades if (number := _number(trade)) is not None]
        out: list[Trade] = []
        for number, trade in sorted(numbered, key=itemgetter(0)):
            gap = self.gap
            if gap is not None and gap.first <= number <= gap.last:
                out += self.offer(trade)
        return out

    def give_up(self) -> list[Trade]:
        """Accept that the missing trades will not come; return those that waited."""
        out: list[Trade] = []
        while self._waiting:
            number, count, trade = heapq.heappop(self._waiting)
            self._waiting_ids.discard(number)
            missing = number - count - self._last_id
            if 0 < missing < _NOT_A_GAP:
                self.lost += missing
            out += self._advance(trade, number)
        return out

    def _advance(self, trade: Trade, number: int) -> list[Trade]:
        self._last, self._last_id = trade, number
        out = [trade]
        while self._waiting and self._waiting[0][0] - self._waiting[0][1] <= self._last_id:
            number, _, waiting = heapq.heappop(self._waiting)
            self._waiting_ids.discard(number)
            if number > self._last_id:
                self._last, self._last_id = waiting, number
                out.append(waiting)
        return out

    def _offer_unique(self, trade: Trade) -> list[Trade]:
        if trade.trade_id in self._seen:
            self.doubles += 1
            return []
        self._seen.add(trade.trade_id)
        self._order.append(trade.trade_id)
        if len(self._order) > _REMEMBERED:
            self._seen.discard(self._order.popleft())
        return [trade]


def _number(trade: Trade) -> int | None:
    text = trade.trade_id
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
