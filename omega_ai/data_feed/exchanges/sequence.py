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
    """Trades that did not come: ``first`` to ``last`` (ids, both included), None where ids do not tell.

    ``since_ns`` is the venue's time of the trade before the gap, ``received_ns`` ours.
    """

    first: int | None
    last: int | None
    since_ns: int
    received_ns: int

    @property
    def missing(self) -> int | None:
        """How many ids the gap spans."""
        return None if self.first is None or self.last is None else self.last - self.first + 1


class TradeSequence:
    """Order and uniqueness by trade id.

    With ``consecutive`` ids, a jump opens a ``gap``. Without, ids only tell doubles apart, among the newest
    20,000, and an interruption of the connection (``interrupted``) is a gap of unknown size.

    With ``hold``, later trades wait until ``fill`` closes the gap or ``give_up`` accepts the loss, so that
    what comes out is always in order; waiting is bounded, beyond 10,000 trades the gap is given up.
    """

    def __init__(self, *, consecutive: bool, hold: bool = True) -> None:
        self._consecutive = consecutive
        self._hold = hold
        self._last: Trade | None = None
        self._first_id = 0
        self._last_id = -1
        self._waiting: list[tuple[int, int, Trade]] = []  # heap of (id, count, trade)
        self._waiting_ids: set[int] = set()
        self._held: list[Trade] | None = None  # trades after an interruption, where ids do not tell
        self._seen: set[str] = set()
        self._order: deque[str] = deque()
        self.doubles = 0
        """Trades dropped because they had come before."""
        self.lost = 0
        """Trades known to exist that never came, as far as gaps were given up."""
        self.gaps = 0
        """Gaps seen, filled or not."""
        self.doubtful = 0
        """Interruptions after which it is not known whether trades were lost."""

    @property
    def gap(self) -> Gap | None:
        """The hole that holds trades back now, if there is one."""
        if self._last is None:
            return None
        if self._held is not None:
            return Gap(None, None, self._last.timestamp_ns, self._last.received_ns)
        if not self._waiting:
            return None
        number, count, _ = self._waiting[0]
        return Gap(self._last_id + 1, number - count, self._last.timestamp_ns, self._last.received_ns)

    def offer(self, trade: Trade, count: int = 1) -> list[Trade]:
        """Take one trade (it stands for ``count`` ids, its own the last); return what may go out, in
        order."""
        number = _number(trade) if self._consecutive else None
        if number is None:  # also when a venue changes its ids: better unordered than lost
            return self._offer_unique(trade)
        last = self._last
        if last is None:
            self._first_id = number
            return self._advance(trade, number)
        if number <= self._last_id:
            if number >= self._first_id or trade.timestamp_ns - last.timestamp_ns < _LATER_NS:
                self.doubles += 1
                return []
            out = self.give_up()  # an id lower than any, and later: the venue counts anew
            self._first_id = number
            return [*out, *self._advance(trade, number)]
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

    def interrupted(self) -> None:
        """Trades may have been missed from here on, and ids will not tell: hold until ``fill`` or
        ``give_up``."""
        if not self._consecutive and self._hold and self._last is not None and self._held is None:
            self._held = []

    def fill(self, trades: Iterable[Trade]) -> list[Trade]:
        """Take trades that were asked for because of ``gap``, in any order; return what may go out, in order.

        Whatever lies outside the gap is left alone: the stream brought it already, or will.
        """
        if self._held is not None:
            return self._fill_unique(trades, self._held)
        numbered = [(number, trade) for trade in trades if (number := _number(trade)) is not None]
        out: list[Trade] = []
        for number, trade in sorted(numbered, key=itemgetter(0)):
            gap = self.gap
            if gap is None or gap.first is None or gap.last is None:
                break
            if gap.first <= number <= gap.last:
                out += self.offer(trade)
        return out

    def give_up(self) -> list[Trade]:
        """Accept that the missing trades will not come; return those that waited."""
        out: list[Trade] = []
        if self._held is not None:
            out, self._held = self._held, None
            self.gaps += 1
            self.doubtful += 1
            self._last = out[-1] if out else self._last
        while self._waiting:
            number, count, trade = heapq.heappop(self._waiting)
            self._waiting_ids.discard(number)
            missing = number - count - self._last_id
            if 0 < missing < _NOT_A_GAP:
                self.lost += missing
            elif missing > 0:
                self._first_id = number  # a new count: what was lower may come again
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
        if not self._remember(trade):
            self.doubles += 1
            return []
        if self._held is not None:
            self._held.append(trade)
            return self.give_up() if len(self._held) > _WAITING_AT_MOST else []
        self._last = trade
        return [trade]

    def _fill_unique(self, trades: Iterable[Trade], held: list[Trade]) -> list[Trade]:
        """What was missed lies after the last trade given out: by number where ids are numbers, else by
        time."""
        last = self._last
        last_number = _number(last) if last is not None else None
        missed: list[Trade] = []
        reaches = False  # back to what was given out before
        for trade in trades:
            number = _number(trade)
            if last is None:
                after = True
            elif number is not None and last_number is not None:
                after = number > last_number
            else:
                after = trade.timestamp_ns > last.timestamp_ns
            reaches = reaches or not after
            if after and self._remember(trade):
                missed.append(trade)
        if missed or not reaches:
            # A list that does not reach back, and be it empty, says nothing of what lies before it.
            self.gaps += 1
            self.doubtful += not reaches
        out = missed + held
        if all(_number(trade) is not None for trade in out):
            out.sort(key=lambda trade: _number(trade) or 0)
        elif missed:
            out.sort(key=lambda trade: trade.timestamp_ns)
        self._held = None
        self._last = out[-1] if out else last
        return out

    def _remember(self, trade: Trade) -> bool:
        if trade.trade_id in self._seen:
            return False
        self._seen.add(trade.trade_id)
        self._order.append(trade.trade_id)
        if len(self._order) > _REMEMBERED:
            self._seen.discard(self._order.popleft())
        return True


def _number(trade: Trade) -> int | None:
    text = trade.trade_id
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
