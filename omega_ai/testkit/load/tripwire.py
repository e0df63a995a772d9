"""Ends a run early: thresholds that say ``or stop``, watched while it goes on. Pure."""

from __future__ import annotations

from collections.abc import Iterable
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
        self._phases: dict[str, Measured] = {}

    def __bool__(self) -> bool:
        return bool(self._thresholds)

    def add(self, window: Measured, phase: str | None = None) -> str | None:
        """A window that is complete, in order. Why the run must end now; None if it goes on."""
        if not self._thresholds:
            return None
        begin = window.start_s - 2 * self._longest
        self._windows = [kept for kept in self._windows if kept.end_s > begin] + [window]
        self._sofar = window if self._sofar is None else merged([self._sofar, window], "run so far")
        if phase is not None:
            known = self._phases.get(phase)
            self._phases[phase] = window if known is None else merged([known, window], f"phase {phase}")
        for threshold in self._thresholds:
            for part in self._parts(threshold, phase):
                verdict, observed, _ = judge(threshold, part)
                if verdict is Verdict.FAIL:
                    return f"{threshold.text}: observed {observed} in the {part.name}"
        return None

    def _parts(self, threshold: Threshold, phase: str | None) -> list[Measured]:
        if threshold.window_s is not None:
            return self._whole(threshold.window_s)
        part = self._sofar
        if threshold.phase is not None:
            part = self._phases.get(phase or "") if threshold.phase in ("*", phase) else None
        if part is None:
            return []
        if threshold.statistic == "count":
            lasting = threshold.comparison in ("<", "<=") or (
                threshold.comparison == "==" and not threshold.bound
            )
            return [part] if lasting else []
        return [part] if part.seconds >= LEAST_S else []

    def _whole(self, length: float) -> list[Measured]:
        """The windows of ``length`` that lie whole before now: half of one is not what was asked about."""
        begin, now = self._windows[0].start_s, self._windows[-1].end_s
        found = []
        for group in regrouped(self._windows, length):
            start = (group.start_s + 1e-9) // length * length
            if start >= begin - 1e-6 and start + length <= now + 1e-6:
                found.append(group)
        return found
