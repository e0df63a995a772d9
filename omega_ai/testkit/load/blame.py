"""What went wrong in a load run, laid to the faults in whose windows it fell. Pure.

A fault's window, for this, lasts until all should be well again (``LoadPlan.recovery_s``). When something
happened is known to a window of the tally.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple

from omega_ai.testkit.experiment.model import FaultStep
from omega_ai.testkit.load.fault_plan import explains
from omega_ai.testkit.load.plan import LoadPlan
from omega_ai.testkit.load.tally import Tally, Window, add_window, empty_window, overlap
from omega_ai.testkit.result import FaultWindow

STEADY_NS: Final = 20e6
"""Latency is as before when its 99th percentile is at most so far above that, or twice that."""


class Share(NamedTuple):
    """A part of what was counted."""

    fault: str | None
    """The fault to which it is laid; None: to none."""
    times: int
    explained: bool
    """A server that does nothing wrong may have shown it."""


_COUNTED: Final[dict[str, Callable[[Window], int]]] = {
    "lost": lambda window: window.counts.missing - window.counts.corrupted,
    "duplicated": lambda window: window.counts.duplicated,
    "reordered": lambda window: window.counts.reordered,
    "corrupted": lambda window: window.counts.corrupted,
    "unexpected": lambda window: window.counts.unexpected,
    "unknown": lambda window: window.counts.unknown,
}


class Blame:
    """Of one run."""

    def __init__(self, plan: LoadPlan, tally: Tally) -> None:
        self._tally = tally
        self._recovery = plan.recovery_s
        steps = {step.name: step for step in plan.faults}
        self._faults: list[tuple[FaultWindow, FaultStep]] = [
            (window, steps[window.name]) for window in tally.faults if window.name in steps
        ]

    def of(self, kind: str, total: int) -> list[Share]:
        """``total`` times ``kind`` (``lost`` ...) by faults, in order; what is laid to none comes last."""
        return self.split(kind, total, _COUNTED[kind])

    def errors(self, kind: str, total: int) -> list[Share]:
        """The same of a kind of error."""
        return self.split(kind, total, lambda window: window.errors.get(kind, 0))

    def closes(self, code: int, total: int) -> list[Share]:
        """The same of a close code."""
        return self.split("closed", total, lambda window: window.closes.get(code, 0))

    def split(self, kind: str, total: int, counted: Callable[[Window], int]) -> list[Share]:
        """By what each window counted. What only showed in the end is laid to none."""
        sums: dict[str, int] = {}
        explained: dict[str, bool] = {}
        for window in self._tally.windows if self._faults else ():
            count = counted(window)
            found = self._at(window, kind) if count else None
            if found is not None:
                name = found[1].name
                sums[name] = sums.get(name, 0) + count
                explained[name] = explains(found[1], kind)
        shares, left = [], total
        for _, step in self._faults:
            count = min(left, max(0, sums.get(step.name, 0)))
            if count:
                shares.append(Share(step.name, count, explained[step.name]))
                left -= count
        return [*shares, Share(None, left, False)] if left > 0 else shares

    def _at(self, window: Window, kind: str) -> tuple[FaultWindow, FaultStep] | None:
        """The fault to which what happened then is laid: one that explains it, of these the latest."""
        near = [
            (fault, step)
            for fault, step in self._faults
            if overlap(window, fault.start_s, fault.end_s + self._recovery) > 0
        ]
        return max(near, key=lambda item: (explains(item[1], kind), item[0].start_s), default=None)

    def steady_after(self, fault: FaultWindow) -> float | None:
        """Seconds from the end of a fault until all was steady again: latency as before the first fault,
        nobody refused or dropped, nothing missing.

        It is looked at until the next fault, or the end. Infinite: it was not steady by then. None: nothing
        was seen before the first fault, or no whole window after this one, or another is still at work.
        """
        before = empty_window(0.0, 0.0)
        for window in self._tally.windows:
            if _ends(window) <= self._tally.faults[0].start_s + 1e-6:
                add_window(before, window)
        usual = before.latency.percentile(99)
        if usual is None or any(one.start_s < fault.end_s < one.end_s for one in self._tally.faults):
            return None
        limit = max(2 * usual, usual + STEADY_NS)
        until = min(
            (other.start_s for other in self._tally.faults if other.start_s >= fault.end_s), default=1e18
        )
        since = [
            window
            for window in self._tally.windows
            if fault.end_s < _ends(window) - 1e-6 and _ends(window) <= until + 1e-6
        ]
        bad = [_ends(window) for window in since if not _is_well(window, limit)]
        if not any(window.start_s >= fault.end_s - 1e-6 for window in since):
            return None  # it ended with the run, or nearly so
        if bad and bad[-1] >= _ends(since[-1]):
            return math.inf
        return max(0.0, bad[-1] - fault.end_s) if bad else 0.0


def _ends(window: Window) -> float:
    return window.start_s + window.duration_s


def _is_well(window: Window, limit_ns: float) -> bool:
    counts = window.counts
    if counts.refused or counts.dropped or counts.missing > 0:
        return False
    return (window.latency.percentile(99) or 0) <= limit_ns and (counts.received > 0 or not counts.sent)
