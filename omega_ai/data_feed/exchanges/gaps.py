"""``GapWatch``: a hole in a venue's trades is asked for, again, and given up in the end. Sans I/O.

Times are monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from omega_ai.data_feed.exchanges.conversation import Patience
from omega_ai.data_feed.exchanges.sequence import Gap
from omega_ai.data_feed.exchanges.tape import Tape
from omega_ai.data_feed.market import MarketEvent, Trade

_FILL_ATTEMPTS = 5
_FILLABLE = 20_000


class GapWatch:
    """Watches over the gap of ``tape``.

    Args:
        tape: what may have one; who puts data on it calls ``look``.
        patience: how long to wait for what.
        fetch: asks the venue for the trades of a gap; then ``filled`` is to be called.
        out: takes the events that a filled or given up gap lets go.
        asking: told, in words, that a gap is being asked for.
        over: told that it is not a gap any more; in words if something is lost, or may be.
    """

    def __init__(
        self,
        tape: Tape,
        patience: Patience,
        *,
        fetch: Callable[[Gap], None],
        out: Callable[[Iterable[MarketEvent]], None],
        asking: Callable[[str], None],
        over: Callable[[str | None], None],
    ) -> None:
        self._tape = tape
        self._patience = patience
        self._fetch = fetch
        self._out = out
        self._asking = asking
        self._over = over
        self._since: float | None = None
        self._fetch_at: float | None = None
        self._answer_outdated = False
        self._attempts = 0
        self._lost = self._doubtful = 0
        self.fetching = False
        """The venue has been asked, and has not answered."""

    def look(self, now: float) -> None:
        """Something was put on the tape."""
        tape = self._tape
        if self._since is None and tape.gap is not None:
            self._opened(now)
        elif tape.lost != self._lost or tape.doubtful != self._doubtful:
            self._ended()

    def began(self, now: float) -> None:
        """Another line speaks; what it left out, or the one before it did, is a gap now."""
        if self._since is None and self._tape.gap is not None:
            self._opened(now)

    def interrupted(self) -> None:
        """What was asked for ends before this interruption; only the next line closes it."""
        self._answer_outdated = self.fetching
        self._since = self._fetch_at = None

    def tend(self, now: float, *, flowing: bool) -> None:
        """Once in a while. ``flowing``: there is a line, and data on it."""
        gap = self._tape.gap
        if gap is None:
            if self._since is not None:
                self._ended()
            return
        if self._since is None:
            # An interruption is a gap only once there is a line again: until then nobody waits.
            if flowing:
                self._opened(now)
            return
        if now - self._since > self._patience.fill_s:
            self._give_up()
        elif not self.fetching and self._fetch_at is not None and now >= self._fetch_at:
            self.fetching = True
            self._fetch_at = None
            self._fetch(gap)

    def filled(self, trades: Sequence[Trade] | None, now: float, *, wanted: bool) -> None:
        """The answer to ``fetch``; None if the venue could not be asked. Not ``wanted``: it is too late."""
        self.fetching = False
        outdated, self._answer_outdated = self._answer_outdated, False
        before = self._tape.gap
        if before is None or outdated or not wanted:
            return
        if trades is not None:
            # An interruption without ids is over with the first answer, whatever is in it.
            self._out(self._tape.fill(trades))
        after = self._tape.gap
        if after is None:
            self._ended("gap: longer than the venue's list of recent trades, some may be lost")
        elif after.first != before.first:
            self._attempts = 0
            self._fetch_at = now
        else:
            self._attempts += 1
            self._fetch_at = now + self._patience.fill_delay_s * 2**self._attempts
            if self._attempts >= _FILL_ATTEMPTS:
                self._give_up()

    def _opened(self, now: float) -> None:
        gap = self._tape.gap
        if gap is None:
            return
        self._since = now
        self._attempts = 0
        self._fetch_at = now + self._patience.fill_delay_s
        missing = gap.missing
        if missing is None:
            return
        if missing > _FILLABLE:
            self._give_up()
        else:
            self._asking(f"gap: {missing} trades missing from id {gap.first}; asking for them")

    def _give_up(self) -> None:
        self._out(self._tape.give_up())
        self._ended()

    def _ended(self, doubt: str = "gap: trades may be lost") -> None:
        """Whatever was not filled is told; ``doubt`` if nobody knows whether it was something."""
        self._since = self._fetch_at = None
        lost = self._tape.lost - self._lost
        detail: str | None = None
        if lost:
            detail = f"gap: {lost} trades lost"
        elif self._tape.doubtful != self._doubtful:
            detail = doubt
        self._lost, self._doubtful = self._tape.lost, self._tape.doubtful
        self._over(detail)
