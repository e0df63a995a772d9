"""What the suites load, stress and soak share: a plan for the target, run and made a result."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from omega_ai.testkit.case import NotApplicable, Outcome, Undecided, judged, unknown
from omega_ai.testkit.context import Context
from omega_ai.testkit.load.cases import connected, delivered
from omega_ai.testkit.load.curves import curves, histograms, named
from omega_ai.testkit.load.engine import LoadError, run_load
from omega_ai.testkit.load.judging import judge_all
from omega_ai.testkit.load.measured import of_run, of_window
from omega_ai.testkit.load.plan import Group, LoadPlan, Phase, PlanError, Role
from omega_ai.testkit.load.prometheus_side import PrometheusPage
from omega_ai.testkit.load.record import LoadRecord
from omega_ai.testkit.load.server_side import process_source
from omega_ai.testkit.load.shapes import Shape
from omega_ai.testkit.load.tally import Window
from omega_ai.testkit.load.thresholds import Threshold
from omega_ai.testkit.load.validity import problems
from omega_ai.testkit.load.watching import Watch
from omega_ai.testkit.result import CaseResult, Finding, Severity
from omega_ai.testkit.verdict import Verdict

LAG_SHARE = 0.25
"""How late, as a share of the latency that is asked for, the generator may be: it harms nothing beside it."""
TRIES = 2
"""Runs, if in the first one the generator did not keep up."""


def plan_of(
    context: Context, groups: Sequence[Group], seconds: float, phases: Sequence[Phase] = ()
) -> LoadPlan:
    """A plan for the target."""
    target = context.target
    longest = context.profile.limits.max_latency_s
    return LoadPlan(
        urls=(target.url,),
        profile=context.profile,
        groups=tuple(groups),
        duration_s=seconds,
        seed=context.rng.randrange(2**31),
        phases=tuple(phases),
        grace_s=longest + 1.5,
        token=target.token,
        ca=None if target.ca is None else str(target.ca),
        lag_limit_s=LAG_SHARE * longest,
        window_s=0.25 if seconds < 10 else 1.0,
    )


def talkers(
    context: Context, clients: int, messages: Shape, *, start_s: float, ramp_s: float = 0.0
) -> list[Group]:
    """Clients that send, and get what they sent: by echo, or by publishing where that comes back to all.

    They come within ``ramp_s``, and send from ``start_s`` on.
    """
    profile = context.profile
    if profile.echo is not None:
        return [
            Group(role=Role.ECHO, clients=clients, messages=messages, messages_start_s=start_s, ramp_s=ramp_s)
        ]
    if profile.publish is not None:
        return [
            Group(role=Role.LISTEN, clients=clients, ramp_s=ramp_s),
            Group(role=Role.PUBLISH, clients=2, messages=messages, messages_start_s=start_s),
        ]
    raise NotApplicable("no message is known that it answers, or passes on")


def gentle(context: Context, rate: float, clients: int) -> float:
    """``rate`` of all clients, or less: half of what each may send without being limited."""
    return min(rate, clients * context.profile.limits.rate / 2)


def usual(context: Context) -> str:
    """The bound on latency, as the profile has it."""
    return f"latency.p99 < {context.profile.limits.max_latency_s:g}s"


def teller(context: Context, plan: LoadPlan, doing: str = "") -> Callable[[Window], None]:
    """Says how a run goes."""

    def tell(window: Window) -> None:
        p99 = window.latency.percentile(99)
        said = f"{doing}{window.open} clients, {window.counts.received / window.duration_s:.0f} messages/s"
        if p99 is not None:
            said += f", p99 {p99 / 1e6:.1f} ms"
        context.progress(said, min(1.0, (window.start_s + window.duration_s) / plan.duration_s))

    return tell


async def load(
    context: Context, plan: LoadPlan, *, watch: Watch | None = None, keep: bool = True, **more: float
) -> LoadRecord:
    """Run ``plan``, again if the generator did not keep up. ``keep``: its curves go into the report.

    ``more`` are further fields of ``LoadRecord``.

    Raises:
        Undecided: the generator could not keep up, or could not be started.
    """
    tell = teller(context, plan)
    reasons: list[str] = []
    for _ in range(TRIES):
        try:
            tally = await run_load(plan, on_window=tell)
        except (LoadError, PlanError) as error:
            raise Undecided(f"the load could not be made: {error}") from None
        reasons = problems(plan, tally)
        if not reasons:
            series = () if watch is None else tuple(watch.series(tally.started_utc_ns))
            absent = {} if watch is None else watch.absent
            record = LoadRecord.of(plan, tally, series=series, absent=absent, **more)
            if keep:
                _report(context, record)
            return record
    raise Undecided(f"this says nothing of the server: {reasons[0]}")


def _report(context: Context, record: LoadRecord) -> None:
    suite, _, case = context.name.partition(".")
    for name, distribution in histograms(record.tally.total).items():
        if not name.startswith("generator"):
            context.products.histograms[f"{suite} {case} {name}"] = distribution
    context.products.series += [*curves(record.tally), *map(named, record.series)]


@asynccontextmanager
async def watched(context: Context, interval_s: float) -> AsyncIterator[Watch | None]:
    """The server's side, if it can be seen."""
    target = context.target
    if target.pid is not None:
        source = process_source(target.pid)
    elif target.server_metrics is not None:
        source = PrometheusPage(target.server_metrics)
    else:
        yield None
        return
    async with Watch(source, clock=context.clock, interval_s=interval_s) as watch:
        if watch.trouble is not None:
            raise Undecided(f"the server's process cannot be looked at: {watch.trouble}")
        yield watch


def judged_load(
    record: LoadRecord,
    what: str,
    thresholds: Sequence[Threshold] = (),
    extra: Sequence[CaseResult] = (),
) -> Outcome:
    """Delivery, connections and thresholds of a run as one outcome."""
    run = of_run(record.tally, series=record.series, absent=record.absent)
    windows = [of_window(window) for window in record.tally.windows]
    phases = [
        of_window(
            record.tally.between(phase.start_s, phase.start_s + phase.duration_s), f"phase {phase.name}"
        )
        for phase in record.plan.phases
    ]
    cases = [delivered(record), connected(record), *extra]
    findings = [finding for case in cases for finding in case.findings]
    for result in judge_all(thresholds, run, windows, phases):
        if result.verdict is not Verdict.PASS:
            where = "" if result.where == "run" else f" ({result.where})"
            severity = Severity.FAILURE if result.verdict is Verdict.FAIL else Severity.UNKNOWN
            kind = "late" if "latency" in result.expression else "bound"
            text = f"{result.expression}: {result.observed}{where}"
            findings.append(Finding(kind=kind, text=text, severity=severity))
    figures = {name: value for case in cases for name, value in case.figures.items()}
    if any(case.verdict is Verdict.UNKNOWN and not case.findings for case in cases):
        return unknown(f"{what}: nothing was seen", findings=findings, figures=figures)
    p99 = figures.get("latency_p99_ms")
    text = what if p99 is None else f"{what}, latency p99 {p99:.1f} ms"
    return judged(findings, text, examined=round(figures.get("messages", 0)), figures=figures)
