"""``omega load --find`` and ``--stress``: one plan at many levels, each shown as it ends."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from rich.text import Text

from omega_ai.cli.exit_codes import UsageError
from omega_ai.cli.terminal import console
from omega_ai.testkit.load.engine import run_load
from omega_ai.testkit.load.levels import Vary, level_of
from omega_ai.testkit.load.outcome import UNITS, of_search, of_stress
from omega_ai.testkit.load.plan import LoadPlan
from omega_ai.testkit.load.search import Bounds, Search, Step, find
from omega_ai.testkit.load.session import ServerView
from omega_ai.testkit.load.stress import Rung, stress
from omega_ai.testkit.load.tally import Window
from omega_ai.testkit.load.thresholds import Threshold, parse_threshold
from omega_ai.testkit.load.trial import RunLoad, Trials
from omega_ai.testkit.load.watching import Watch
from omega_ai.testkit.result import RunResult, TargetFacts
from omega_ai.testkit.verdict import Verdict

_STYLES = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.UNKNOWN: "yellow"}
_DOING = {"bracket": "", "narrow": "between: ", "confirm": "again, for longer: "}


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """The options of a search or a stress test, read."""

    find: tuple[str, ...] = ()
    """Bounds that must hold; with none, it is a stress test."""
    vary: Vary = "rate"
    step_s: float = 5.0
    highest: float | None = None
    budget_s: float = 600.0

    def check(self) -> None:
        """Read the bounds.

        Raises:
            ThresholdError: one is none.
            ValueError: one that does not fit, or a number that cannot be.
        """
        for text in self.find:
            bound = parse_threshold(text)
            if bound.window_s is not None or bound.phase is not None or bound.stop:
                raise ValueError(
                    f"--find {text!r}: a level is judged as a whole; leave 'each', 'phase', 'stop'"
                )
        if self.step_s < 1:
            raise ValueError("--step is a second or more")
        if self.highest is not None and self.highest <= 0:
            raise ValueError("--highest is above 0")


async def try_levels(
    levels: Levels,
    plan: LoadPlan,
    thresholds: Sequence[str],
    view: ServerView,
    facts: TargetFacts,
    command: str,
    run: RunLoad = run_load,
) -> RunResult:
    """Carry it out; the result is one case.

    Raises:
        PlanError, LoadError: see ``run_load``.
    """
    screen = console(wrap=True)
    unit, start = UNITS[levels.vary], level_of(plan, levels.vary)
    highest = Bounds(start=1.0).highest if levels.highest is None else levels.highest
    if start > highest:
        raise UsageError(f"the first level, {start:g} {unit}, is above --highest {highest:g}.")
    began, clock = time.time_ns(), time.monotonic()

    def show_step(step: Step) -> None:
        mark = Text(f"  {step.verdict.value:<8}", style=_STYLES[step.verdict])
        text = f"{_DOING[step.kind]}{step.level:g} {unit}: {step.observed}"
        screen.print(Text.assemble(mark, text), soft_wrap=True)

    def show_rung(rung: Rung) -> None:
        mark = Text(f"  {'broke' if rung.breaches else 'held':<8}", style="red" if rung.breaches else "green")
        p99 = "" if rung.p99_ns is None else f", latency p99 {rung.p99_ns / 1e6:.1f} ms"
        first = f": {rung.breaches[0].kind}, {rung.breaches[0].text}" if rung.breaches else ""
        screen.print(Text.assemble(mark, f"{rung.level:g} {unit}{p99}{first}"), soft_wrap=True)

    def show_window(window: Window) -> None:
        if status is not None:
            p99 = window.latency.percentile(99)
            said = f"{window.open} open, {window.counts.received / window.duration_s:,.0f} received/s"
            status.update(said + ("" if p99 is None else f", p99 {p99 / 1e6:.1f} ms"))

    bounds: list[Threshold] = [parse_threshold(text) for text in levels.find or thresholds]
    status = screen.status("starting") if screen.is_terminal else None
    async with _watched(view) as watch:
        trials = Trials(
            plan,
            vary=levels.vary,
            step_s=levels.step_s,
            thresholds=bounds,
            watch=watch,
            on_window=show_window,
            run=run,
        )
        if status is not None:
            status.start()
        try:
            if levels.find:
                limits = Bounds(start=start, highest=highest, budget_s=levels.budget_s)
                found = await find(Search(limits, levels.vary == "clients"), trials.step, show_step)
                result = of_search(
                    found, levels.vary, facts, seed=plan.seed, started_utc_ns=began, command=command
                )
                screen.print(result.cases[0].finding, soft_wrap=True, markup=False)
                return result
            stressed = await stress(
                trials,
                start=start,
                highest=highest,
                bounds=bounds,
                alive=lambda: watch is None or watch.trouble is None,
                on_rung=show_rung,
            )
        finally:
            if status is not None:
                status.stop()
    result = of_stress(
        stressed,
        levels.vary,
        facts,
        seed=plan.seed,
        started_utc_ns=began,
        seconds=time.monotonic() - clock,
        command=command,
    )
    screen.print(result.cases[0].finding, soft_wrap=True, markup=False)
    return result


@asynccontextmanager
async def _watched(view: ServerView) -> AsyncIterator[Watch | None]:
    source = view.source()
    if source is None:
        yield None
        return
    async with Watch(source, interval_s=view.interval_s) as watch:
        if watch.trouble is not None:
            raise UsageError(f"the server cannot be looked at: {watch.trouble}.")
        yield watch
