"""The highest load that still meets every threshold: bracketed, halved, and confirmed. Knows no sockets.

Each step is a run of its own at one level. While levels hold, the level is doubled (or halved, while they do
not); then the gap between the highest that held and the lowest that did not is halved, by ratio, until it is
as small as wanted. The level found is tried once more, for longer: a level that holds by luck does not pass.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from omega_ai.testkit.verdict import Verdict

CONFIRMATIONS: Final = 3
"""Levels that are tried for confirmation before it is given up."""
STEP_DOWN: Final = 0.9
"""What is tried next when a level was not confirmed."""

Kind = Literal["bracket", "narrow", "confirm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One level that was tried, and what came of it."""

    level: float
    kind: Kind
    verdict: Verdict
    """Unknown: the generator could not keep up, or too little was seen."""
    observed: str
    seconds: float
    generator: bool = False
    """It was the generator, not the server, that could not go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Where a search may go, and how far it must."""

    start: float
    lowest: float = 1.0
    highest: float = 10_000_000.0
    tolerance: float = 0.05
    """It ends when the lowest level that failed is at most so much above the highest that held."""
    budget_s: float = 600.0
    """No step begins after so many seconds of steps."""

    def problem(self) -> str | None:
        """Why these bounds cannot be."""
        if not 0 < self.lowest <= self.start <= self.highest:
            return f"the start {self.start:g} must lie between {self.lowest:g} and {self.highest:g}, above 0"
        if not 0.001 <= self.tolerance <= 1:
            return f"the tolerance {self.tolerance:g} must lie between 0.001 and 1"
        return None


@dataclass(slots=True)
class Search:
    """What to try next, and what is known. ``whole``: levels are whole numbers, such as clients."""

    bounds: Bounds
    whole: bool = False
    steps: list[Step] = field(default_factory=list)
    confirmed: float | None = None
    _asked: tuple[float, Kind] | None = None

    def __post_init__(self) -> None:
        problem = self.bounds.problem()
        if problem is not None:
            raise ValueError(problem)

    @property
    def held(self) -> float | None:
        """The highest level that held and below which none failed."""
        limit = self.failed
        levels = [
            step.level
            for step in self.steps
            if step.verdict is Verdict.PASS and (limit is None or step.level < limit)
        ]
        return max(levels, default=None)

    @property
    def failed(self) -> float | None:
        """The lowest level that did not hold."""
        levels = [step.level for step in self.steps if step.verdict is not Verdict.PASS]
        return min(levels, default=None)

    @property
    def spent_s(self) -> float:
        """Seconds of all steps."""
        return sum(step.seconds for step in self.steps)

    def next(self) -> tuple[float, Kind] | None:
        """The level to try next, and what for; None when the search is over."""
        self._asked = self._next()
        return self._asked

    def _next(self) -> tuple[float, Kind] | None:
        if self.confirmed is not None or self.spent_s >= self.bounds.budget_s:
            return None
        held, failed, bounds = self.held, self.failed, self.bounds
        tried = sum(step.kind == "confirm" for step in self.steps)
        if tried:
            return self._again(tried, failed)
        if not self.steps:
            return self._rounded(bounds.start), "bracket"
        if held is None:
            assert failed is not None  # noqa: S101 - there was a step
            if failed <= bounds.lowest:
                return None
            return self._rounded(max(bounds.lowest, failed / 2)), "bracket"
        if failed is None:
            if held >= bounds.highest:
                return held, "confirm"
            return self._rounded(min(bounds.highest, held * 2)), "bracket"
        between = self._rounded(math.sqrt(held * failed))
        if failed / held <= 1 + bounds.tolerance or not held < between < failed:
            return held, "confirm"
        return between, "narrow"

    def _again(self, tried: int, failed: float | None) -> tuple[float, Kind] | None:
        """A lower level, after one that held did not hold again."""
        if failed is None or tried >= CONFIRMATIONS:
            return None
        level = self._rounded(failed * STEP_DOWN)
        if self.whole:
            level = min(level, failed - 1)
        return (level, "confirm") if self.bounds.lowest <= level < failed else None

    def add(self, step: Step) -> None:
        """What came of the level that was asked for."""
        if self._asked is None or (step.level, step.kind) != self._asked:
            raise ValueError(f"it was {self._asked} that was asked for, not {(step.level, step.kind)}")
        self._asked = None
        self.steps.append(step)
        if step.kind == "confirm" and step.verdict is Verdict.PASS:
            self.confirmed = step.level

    def _rounded(self, level: float) -> float:
        return float(max(1, round(level))) if self.whole else float(f"{level:.4g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How a search ended."""

    level: float | None
    """The highest level that was confirmed to hold; None: there is none."""
    steps: tuple[Step, ...]
    why: str
    """One sentence: what stands in the way of more."""

    @property
    def verdict(self) -> Verdict:
        """Pass if a level was found; fail if even the lowest did not hold; else unknown."""
        if self.level is not None:
            return Verdict.PASS
        failed = [step for step in self.steps if step.verdict is not Verdict.PASS]
        decided = bool(failed) and len(failed) == len(self.steps) and failed[-1].verdict is Verdict.FAIL
        return Verdict.FAIL if decided else Verdict.UNKNOWN


Trial = Callable[[float, Kind], Awaitable[Step]]
"""Runs one level."""


async def find(search: Search, trial: Trial, on_step: Callable[[Step], None] = lambda _: None) -> Found:
    """Carry a search out."""
    while (asked := search.next()) is not None:
        step = await trial(*asked)
        search.add(step)
        on_step(step)
    return conclude(search)


def conclude(search: Search) -> Found:
    """What the steps say together."""
    level, bounds = search.confirmed, search.bounds
    failed = min(
        (step for step in search.steps if step.verdict is not Verdict.PASS),
        key=lambda step: step.level,
        default=None,
    )
    if level is not None and failed is None:
        why = f"it held at the highest level that may be tried, {bounds.highest:g}"
    elif level is not None and failed is not None:
        limit = "the generator, not the server, is the limit" if failed.generator else failed.observed
        why = f"at {failed.level:g}: {limit}"
    elif search.spent_s >= bounds.budget_s:
        why = f"the time for searching, {bounds.budget_s:g} s, was over before a level was confirmed"
    elif failed is not None and failed.level <= bounds.lowest:
        why = f"it did not hold even at the lowest level, {bounds.lowest:g}: {failed.observed}"
    else:
        why = f"none of {CONFIRMATIONS} levels that held once held again: the server's pace varies"
    return Found(level=level, steps=tuple(search.steps), why=why)
