"""Results made by hand."""

from __future__ import annotations

from typing import Any

from omega_ai.testkit.result import CaseResult, RunResult, SuiteResult, TargetFacts, WireLine
from omega_ai.testkit.verdict import Verdict


def case(case_id: str, verdict: Verdict, **more: Any) -> CaseResult:
    """One case."""
    defaults: dict[str, Any] = {
        "title": f"title of {case_id}",
        "expectation": "what is right",
        "finding": f"finding of {case_id}",
        "evidence": (
            WireLine(at_ns=1_500_000, client="a", direction="sent", kind="text", size=5, data="<b>\x00&"),
        ),
        "reproduce": f"omega test --case {case_id}",
    }
    return CaseResult(id=case_id, suite=case_id.partition(".")[0], verdict=verdict, **(defaults | more))


def run(*cases: CaseResult, **more: Any) -> RunResult:
    """A run of these cases."""
    names = dict.fromkeys(item.suite for item in cases)
    suites = tuple(SuiteResult(name=n, cases=tuple(c for c in cases if c.suite == n)) for n in names)
    target = TargetFacts(url="ws://localhost:1/", profile="echo", limits=("nothing",))
    return RunResult(target=target, seed=7, started="2026-01-01T00:00:00.000000Z", suites=suites, **more)
