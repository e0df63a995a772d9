"""More and more load, until the server breaks or the test's own bounds are reached; then, does it recover?"""

from __future__ import annotations

import os

import msgspec

from omega_ai.testkit.case import Outcome, Suite, failed, passed, unknown
from omega_ai.testkit.context import Context
from omega_ai.testkit.load.engine import LoadError
from omega_ai.testkit.load.levels import Vary
from omega_ai.testkit.load.plan import LoadPlan, PlanError
from omega_ai.testkit.load.shapes import Constant
from omega_ai.testkit.load.stress import Rung, Stressed, stress
from omega_ai.testkit.load.thresholds import parse_threshold
from omega_ai.testkit.load.trial import Trials
from omega_ai.testkit.result import Finding, Severity, TimeSeries
from omega_ai.testkit.suites.loading import plan_of, talkers, teller, usual
from omega_ai.testkit.verdict import Verdict

SUITE = Suite("stress", "More and more load until it breaks; and whether it recovers", quick=False)

CLIENTS = 50
STEP_S = 3.0
FIRST_RATE = 200.0
FIRST_CLIENTS = 100
MOST_CLIENTS = 1000
FACTOR = 1.8
RECOVER_S = 5.0


@SUITE.case(
    "messages",
    f"{CLIENTS} clients send more and more",
    expectation="it may become slow or refuse, but it delivers rightly, and recovers when the load goes",
    timeout=300.0,
    alone=True,
    destructive=True,
)
async def messages(context: Context) -> Outcome:
    """Up to nine tenths of what each client may send without being limited."""
    highest = 0.9 * CLIENTS * context.profile.limits.rate
    start = min(FIRST_RATE, highest)
    plan = plan_of(context, talkers(context, CLIENTS, Constant(rate=start), start_s=0.5), STEP_S)
    return await _stressed(context, plan, "rate", start, highest, "messages/s")


@SUITE.case(
    "clients",
    "More and more clients, each of which sends now and then",
    expectation="it may become slow or refuse, but it delivers rightly, and recovers when they go",
    timeout=300.0,
    alone=True,
    destructive=True,
)
async def clients(context: Context) -> Outcome:
    """Up to a thousand, which a process holds with the usual limit of descriptors."""
    each = min(1.0, context.profile.limits.rate / 2)
    groups = talkers(context, FIRST_CLIENTS, Constant(rate=each * FIRST_CLIENTS), start_s=0.5)
    if len(groups) > 1:  # all see what is published: the rate must not grow with who listens
        groups[1] = msgspec.structs.replace(groups[1], messages=Constant(rate=5.0))
    plan = plan_of(context, groups, STEP_S)
    return await _stressed(context, plan, "clients", FIRST_CLIENTS, MOST_CLIENTS, "clients")


async def _stressed(
    context: Context, plan: LoadPlan, vary: Vary, start: float, highest: float, unit: str
) -> Outcome:
    def told(rung: Rung) -> None:
        rungs.append(rung)

    rungs: list[Rung] = []
    trials = Trials(plan, vary=vary, step_s=STEP_S, on_window=teller(context, plan, "stepping up: "))
    longest = context.profile.limits.max_latency_s
    bounds = [usual(context), "rate.achieved >= 90%", "refused == 0", "closed == 0"]
    try:
        result = await stress(
            trials,
            start=start,
            highest=highest,
            factor=FACTOR,
            bounds=[parse_threshold(text) for text in bounds],
            recover_s=RECOVER_S,
            well_ns=longest * 0.5e9,
            alive=lambda: _alive(context),
            on_rung=told,
        )
    except (LoadError, PlanError) as error:
        return unknown(f"the load could not be made: {error}")
    _report(context, result, unit)
    figures = {f"held_{vary}": result.held or 0.0}
    text = f"{result.text} ({unit})"
    if result.verdict is Verdict.FAIL:
        broken = result.broken
        breaches = [] if broken is None else broken.breaches
        kinds = [*breaches]
        findings = [Finding(kind=item.kind, text=item.text, severity=Severity.FAILURE) for item in kinds]
        if result.recovery is not None and not result.recovery.recovered:
            findings.append(Finding(kind="recovery", text=result.recovery.text))
        return failed(text, findings=findings, figures=figures)
    if result.verdict is Verdict.UNKNOWN:
        return unknown(text, figures=figures)
    return passed(text, figures=figures)


def _report(context: Context, result: Stressed, unit: str) -> None:
    """What a level cost, level by level, as a curve."""
    points = [(rung.level, rung.p99_ns / 1e6) for rung in result.rungs if rung.p99_ns is not None]
    context.products.series.append(TimeSeries(name="latency p99", unit=f"ms at {unit}", points=tuple(points)))


def _alive(context: Context) -> bool:
    """Whether the server's process is there, as far as that is known."""
    control, pid = context.target.control, context.target.server_pid
    if control is not None:
        return control.pid is not None
    if pid is None:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
