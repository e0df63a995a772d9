"""Ends a run early: thresholds that say ``or stop``, watched while it goes on. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from omega_ai.testkit.load.judging import judge
from omega_ai.testkit.load.measured import Measured, merged, regrouped
from omega_ai.testkit.load.thresholds import Threshold
from omega_ai.testkit.verdict import Verdict

LEAST_S: Final = 5.0
"""Before so much of the run, or of a phase, has gone by, only what cannot be made good ends it."""


class Tripwire:
    """Is given each window when it is complete, and says when the run must end.

    What can still be made good is left to the end of the run: a bound from below on a count.
    """

    def __init__(self, thresholds: Iterable[Threshold]) -> None:
        self._thresholds = [threshold for threshold in thresholds if threshold.stop]
        self._longest = max((threshold.window_s or 0.0 for threshold in self._thresholds), default=0.0)
        self._windows: list[Measured] = []
        self._sofar: Measured | None = None
        self._places: dict[str, Measured] = {}
        """By ``phase NAME`` or ``fault NAME``, what was seen of it so far."""

    def __bool__(self) -> bool:
        return bool(self._thresholds)

    def add(self, window: Measured, phase: str | None = None, faults: Sequence[str] = ()) -> str | None:
        """A window that is complete, in order, and what it lies in. Why the run must end now; None if it goes
        on."""
        if not self._thresholds:
            return None
        begin = window.start_s - 2 * self._longest
        self._windows = [kept for kept in self._windows if kept.end_s > begin] + [window]
        self._sofar = window if self._sofar is None else merged([self._sofar, window], "run so far")
        inside = ([] if phase is None else [f"phase {phase}"]) + [f"fault {name}" for name in faults]
        for place in inside:
            known = self._places.get(place)
            self._places[place] = window if known is None else merged([known, window], place)
        for threshold in self._thresholds:
            for part in self._parts(threshold, inside):
                verdict, observed, _ = judge(threshold, part)
                if verdict is Verdict.FAIL:
                    return f"{threshold.text}: observed {observed} in the {part.name}"
        return None

    def _parts(self, threshold: Threshold, inside: Sequence[str]) -> list[Measured]:
        if threshold.window_s is not None:
            return self._whole(threshold.window_s)
        found = [self._sofar]
        for what, name in (("phase", threshold.phase), ("fault", threshold.fault)):
            if name is not None:
                wanted = [place for place in inside if place.startswith(f"{what} ")]
                if name != "*":
                    wanted = [place for place in wanted if place == f"{what} {name}"]
                found = [self._places[place] for place in wanted]
        return [part for part in found if part is not None and self._may_tell(threshold, part)]

    def _may_tell(self, threshold: Threshold, part: Measured) -> bool:
        if threshold.statistic == "count":
            upper = threshold.comparison in ("<", "<=")
            return upper or (threshold.comparison == "==" and not threshold.bound)
        return part.seconds >= LEAST_S

    def _whole(self, length: float) -> list[Measured]:
        """The windows of ``length`` that lie whole before now: half of one is not what was asked about."""
        begin, now = self._windows[0].start_s, self._windows[-1].end_s
        found = []
        for group in regrouped(self._windows, length):
            start = (group.start_s + 1e-9) // length * length
            if start >= begin - 1e-6 and start + length <= now + 1e-6:
                found.append(group)
        return found
