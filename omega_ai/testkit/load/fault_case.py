"""The faults of a load run as a case: was each made, what was seen, when was it steady again? Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from omega_ai.testkit.load.blame import Blame
from omega_ai.testkit.load.cases import made_case
from omega_ai.testkit.load.detour import cost_text
from omega_ai.testkit.load.plan import LoadPlan
from omega_ai.testkit.load.tally import Tally
from omega_ai.testkit.result import CaseResult, FaultWindow, Finding, Severity

if TYPE_CHECKING:
    from omega_ai.testkit.load.record import LoadRecord


def broken(record: LoadRecord) -> CaseResult:
    """Whether the faults that were asked for were made: without them, the run shows less than it was to."""
    plan, tally = record.plan, record.tally
    findings = [
        Finding(
            kind="fault",
            text=f"{fault.name}: {fault_text(plan, tally, fault)}",
            severity=Severity.NOTE,
            at_ns=round(fault.start_s * 1e9),
        )
        for fault in tally.faults
    ]
    undone = dict(tally.undone)
    if plan.shards == 1:
        made = {fault.name for fault in tally.faults}
        for step in plan.faults:
            if step.name not in made:
                undone.setdefault(step.name, "no machine was given the server's process (--server-pid)")
    findings += [
        Finding(kind="undone", text=f"the fault {name} was not made: {why}", severity=Severity.UNKNOWN)
        for name, why in undone.items()
    ]
    findings += [Finding(kind="detour", text=text, severity=Severity.NOTE) for text in detour_texts(tally)]
    blame = Blame(plan, tally)
    figures = {}
    for fault in tally.faults:
        after = blame.steady_after(fault)
        if after is not None and math.isfinite(after):
            figures[f"{fault.name}: steady_again_ms"] = after * 1000.0
    names = ", ".join(fault.name for fault in tally.faults)
    return made_case(
        "faults",
        "What was broken on purpose",
        "every fault happens when it is to",
        f"{len(tally.faults)} of {len(plan.faults)} faults were made" + (f": {names}" if names else ""),
        findings,
        examined=len(tally.faults),
        figures=figures,
    )


def fault_text(plan: LoadPlan, tally: Tally, fault: FaultWindow) -> str:
    """A fault in one line: when, what, and what was seen meanwhile."""
    seen, counts = [], (window := tally.during(fault)).counts
    p99 = window.latency.percentile(99)
    if p99 is not None:
        seen.append(f"latency p99 {p99 / 1e6:.1f} ms")
    for name, count in (
        ("refused", counts.refused),
        ("closed", counts.dropped),
        ("missing", counts.missing),
        ("duplicated", counts.duplicated),
        ("corrupted", counts.corrupted),
        ("unknown", counts.unknown),
    ):
        if count > 0:
            seen.append(f"{count} {name}")
    after = Blame(plan, tally).steady_after(fault)
    if after is not None:
        seen.append(_steady_text(after))
    text = f"{fault.start_s:.1f} to {fault.end_s:.1f} s, {fault.description}"
    return f"{text}: {', '.join(seen)}" if seen else text


def _steady_text(after_s: float) -> str:
    if math.isinf(after_s):
        return "not steady again after it"
    return f"steady again after {after_s:.1f} s" if after_s else "steady again at once"


def detour_texts(tally: Tally) -> list[str]:
    """What each machine's proxy did, and added to what was measured."""
    texts = []
    for cost in tally.detours:
        text = cost_text(cost)
        if cost.unreached:
            text += f"; for {cost.unreached} of them it did not reach the server"
        texts.append(text if len(tally.detours) == 1 else f"shard {cost.shard + 1}: {text}")
    return texts
