"""Runs a plan at one level and measures it: what the search and the stress test are made of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from omega_ai.testkit.load.engine import run_load
from omega_ai.testkit.load.judging import judge
from omega_ai.testkit.load.levels import SETTLE_S, Vary, at_level, seconds_for
from omega_ai.testkit.load.measured import Measured, of_run, of_window
from omega_ai.testkit.load.plan import LoadPlan
from omega_ai.testkit.load.search import Kind, Step
from omega_ai.testkit.load.tally import Tally, Window
from omega_ai.testkit.load.thresholds import Threshold, parse_threshold
from omega_ai.testkit.load.validity import problems
from omega_ai.testkit.load.watching import Watch
from omega_ai.testkit.verdict import Verdict, combine

CONFIRM_TIMES: Final = 2.0
"""A level is confirmed by a run so many times as long."""

KEPT: Final = tuple(map(parse_threshold, ("rate.achieved >= 98%", "lost == 0", "errors == 0")))
"""What must hold at a level besides what was asked for: a rate that is not served is not served fast."""


class RunLoad(Protocol):
    """What ``run_load`` is; tests have another."""

    def __call__(
        self,
        plan: LoadPlan,
        *,
        on_window: Callable[[Window], None] | None = None,
        stop: asyncio.Event | None = None,
        server_pid: int | None = None,
    ) -> Awaitable[Tally]:
        """See ``engine.run_load``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Trialled:
    """One level, measured."""

    level: float
    plan: LoadPlan
    tally: Tally
    run: Measured
    """All that was counted; times without the first second, in which clients come."""
    windows: list[Measured]
    invalid: list[str]
    """Why the generator's part proves nothing."""


class Trials:
    """Runs levels of one plan, one after another."""

    def __init__(
        self,
        plan: LoadPlan,
        *,
        vary: Vary,
        step_s: float,
        thresholds: Sequence[Threshold] = (),
        watch: Watch | None = None,
        on_window: Callable[[Window], None] | None = None,
        run: RunLoad = run_load,
    ) -> None:
        self.plan = plan
        self.vary: Vary = vary
        self.step_s = step_s
        self.thresholds = (*thresholds, *KEPT)
        self._watch = watch
        self._on_window = on_window
        self._run = run

    async def at(self, level: float, seconds: float) -> Trialled:
        """Run at ``level`` for ``seconds``, after a second to settle."""
        plan = at_level(self.plan, self.vary, level, seconds)
        tally = await self._run(plan, on_window=self._on_window)
        series = [] if self._watch is None else self._watch.series(tally.started_utc_ns)
        absent = {} if self._watch is None else self._watch.absent
        whole = of_run(tally, series=series, absent=absent)
        steady = of_window(tally.between(SETTLE_S, tally.duration_s + 1), "run")
        return Trialled(
            level=level,
            plan=plan,
            tally=tally,
            run=Measured(
                name="run",
                end_s=tally.duration_s,
                times={**whole.times, **steady.times},
                counts=whole.counts,
                series=whole.series,
                absent=whole.absent,
            ),
            windows=[of_window(window, series=series) for window in tally.windows],
            invalid=problems(plan, tally),
        )

    async def step(self, level: float, kind: Kind) -> Step:
        """Run at ``level`` and judge it: what ``search.find`` asks for."""
        rate = level if self.vary == "rate" else 0.0
        seconds = seconds_for(self.thresholds, rate, self.step_s)
        if kind == "confirm":
            seconds *= CONFIRM_TIMES
        trialled = await self.at(level, seconds)
        verdict, observed = self.judged(trialled)
        return Step(
            level=level,
            kind=kind,
            verdict=verdict,
            observed=observed,
            seconds=trialled.tally.duration_s,
            generator=bool(trialled.invalid) and verdict is not Verdict.FAIL,
        )

    def judged(self, trialled: Trialled) -> tuple[Verdict, str]:
        """The verdict on a level, and why: of what was asked for if it held, else of what did not."""
        found = [(threshold, *judge(threshold, trialled.run)) for threshold in self.thresholds]
        verdict = combine(item[1] for item in found)
        if trialled.invalid:  # a generator that is late makes the server look late
            return Verdict.UNKNOWN, trialled.invalid[0]
        telling = [item for item in found if item[1] is verdict] if verdict is not Verdict.PASS else found
        threshold, _, observed, _ = telling[0]
        return verdict, f"{threshold.metric}.{threshold.statistic} {observed}".replace(".count ", " ")
