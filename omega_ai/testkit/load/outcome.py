"""A search or a stress test as the result that reports are made of. Pure."""

from __future__ import annotations

import platform

from omega_ai import __version__
from omega_ai.core.timestamps import format_utc
from omega_ai.testkit.load.cases import SUITE
from omega_ai.testkit.load.levels import Vary
from omega_ai.testkit.load.search import Found
from omega_ai.testkit.load.stress import Stressed
from omega_ai.testkit.result import (
    CaseResult,
    Finding,
    RunResult,
    Severity,
    SuiteResult,
    TargetFacts,
    TimeSeries,
)
from omega_ai.testkit.verdict import Verdict

UNITS = {"rate": "messages/s", "clients": "clients"}


def of_search(
    found: Found, vary: Vary, target: TargetFacts, *, seed: int, started_utc_ns: int, command: str = ""
) -> RunResult:
    """A search for the highest level that holds."""
    unit = UNITS[vary]
    if found.level is None:
        text = f"no level was found at which all holds: {found.why}"
    else:
        text = f"all holds up to {found.level:g} {unit}; {found.why}"
    notes = [
        Finding(
            kind=step.kind,
            text=f"{step.level:g} {unit}, {step.seconds:.0f} s: {step.verdict}, {step.observed}",
            severity=Severity.NOTE,
        )
        for step in found.steps
    ]
    case = CaseResult(
        id=f"{SUITE}.find",
        suite=SUITE,
        title=f"The most {unit} at which every bound holds",
        verdict=found.verdict,
        expectation="there is a level that holds, and holds when it is tried again",
        finding=text,
        findings=tuple(notes),
        figures={} if found.level is None else {f"highest_{vary}": found.level},
        reproduce=command,
    )
    seconds = sum(step.seconds for step in found.steps)
    return _levels(case, (), target, seed, started_utc_ns, seconds, command)


def of_stress(
    stressed: Stressed,
    vary: Vary,
    target: TargetFacts,
    *,
    seed: int,
    started_utc_ns: int,
    seconds: float,
    command: str = "",
) -> RunResult:
    """A stress test."""
    unit = UNITS[vary]
    failing = stressed.verdict is Verdict.FAIL
    findings = []
    for rung in stressed.rungs:
        p99 = "" if rung.p99_ns is None else f", latency p99 {rung.p99_ns / 1e6:.1f} ms"
        findings.append(Finding(kind="level", text=f"{rung.level:g} {unit}{p99}", severity=Severity.NOTE))
        findings += [
            Finding(
                kind=breach.kind,
                text=f"at {rung.level:g} {unit}, after {breach.at_s:.0f} s: {breach.text}",
                severity=Severity.FAILURE if failing else Severity.NOTE,
            )
            for breach in rung.breaches
        ]
    if stressed.recovery is not None and not stressed.recovery.recovered:
        findings.append(Finding(kind="recovery", text=stressed.recovery.text))
    case = CaseResult(
        id=f"{SUITE}.stress",
        suite=SUITE,
        title=f"More and more {unit}, until it breaks",
        verdict=stressed.verdict,
        expectation="it may become slow or refuse, but it delivers rightly, and recovers when the load goes",
        finding=f"{stressed.text} ({unit})",
        findings=tuple(sorted(findings, key=lambda finding: finding.severity is Severity.NOTE)),
        figures={} if stressed.held is None else {f"held_{vary}": stressed.held},
        reproduce=command,
    )
    curve = TimeSeries(
        name="latency p99",
        unit=f"ms at {unit}",
        points=tuple((rung.level, rung.p99_ns / 1e6) for rung in stressed.rungs if rung.p99_ns is not None),
    )
    return _levels(case, (curve,), target, seed, started_utc_ns, seconds, command)


def _levels(
    case: CaseResult,
    series: tuple[TimeSeries, ...],
    target: TargetFacts,
    seed: int,
    started_utc_ns: int,
    seconds: float,
    command: str,
) -> RunResult:
    return RunResult(
        target=target,
        seed=seed,
        started=format_utc(started_utc_ns),
        duration_s=seconds,
        suites=(SuiteResult(name=SUITE, title=case.title, cases=(case,), duration_s=seconds),),
        series=series,
        versions=_versions(),
        command=command,
    )


def _versions() -> dict[str, str]:
    return {
        "omega-btc-ai": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
