"""What went wrong is laid to the fault in whose window it fell, and excused only if that explains it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from omega_ai.testkit.experiment.model import FaultStep
from omega_ai.testkit.load.blame import Blame, Share
from omega_ai.testkit.load.detour import DetourCost
from omega_ai.testkit.load.fault_case import broken, fault_text
from omega_ai.testkit.load.plan import Group, LoadPlan, Role
from omega_ai.testkit.load.record import LoadRecord, join, result_parts
from omega_ai.testkit.load.shapes import Constant
from omega_ai.testkit.load.tally import Accounts, Counts, Delivery, Tally, Window, add_window, empty_window
from omega_ai.testkit.load.validity import problems
from omega_ai.testkit.profile import load_profile
from omega_ai.testkit.result import CaseResult, FaultWindow, Severity
from omega_ai.testkit.verdict import Verdict

MS = 1_000_000
CUT = FaultStep(name="cut", network="reset_peer", at_s=5.0, for_s=2.0)
SLOW = FaultStep(name="slow", network="latency", at_s=12.0, for_s=3.0)
HUNG = FaultStep(name="hung", process="pause", at_s=2.0, for_s=1.0)


def window(second: int, latency_ms: float = 1.0, **counts: int) -> Window:
    """A second with a hundred messages of that latency."""
    made = empty_window(float(second), 1.0)
    made.counts = Counts(
        **({"intended": 100, "sent": 100, "received": 100, "connects_intended": 1, "connected": 1} | counts)
    )
    made.latency.record(round(latency_ms * MS), 100)
    return made


def record(
    windows: Iterable[Window], faults: tuple[FaultStep, ...] = (CUT, SLOW), lost: int = 0, **more: Any
) -> LoadRecord:
    """A run of twenty seconds; ``windows`` replace the calm ones."""
    special = {round(item.start_s): item for item in windows}
    seconds = [special.get(number, window(number)) for number in range(20)]
    total = empty_window(0.0, 20.0)
    for item in seconds:
        add_window(total, item)
    settings: dict[str, Any] = {"recovery_s": 3.0, "shards": 1, "shard": 0} | {
        name: more.pop(name) for name in ("recovery_s", "shards", "shard") if name in more
    }
    thresholds = more.pop("thresholds", ())
    made = [
        FaultWindow(name=step.name, start_s=step.at_s, end_s=step.end_s, description="it")
        for step in faults
        if step.process is None
    ]
    plan = LoadPlan(
        urls=("ws://localhost:1/",),
        profile=load_profile("echo"),
        duration_s=20.0,
        groups=(Group(role=Role.ECHO, clients=10, messages=Constant(rate=100)),),
        faults=faults,
        **settings,
    )
    tally = Tally(
        started_utc_ns=0,
        duration_s=20.0,
        total=total,
        windows=seconds,
        window_s=1.0,
        accounts=Accounts(
            echo=Delivery(
                due=2000,
                delivered=2000 - lost - total.counts.unknown,
                lost=lost,
                unknown=total.counts.unknown,
            )
        ),
        offenders=[],
        parts=[],
        **({"faults": made} | more),
    )
    return LoadRecord.of(plan, tally, thresholds=thresholds)


def case(made: LoadRecord, name: str) -> CaseResult:
    """One of its cases."""
    return next(item for item in result_parts(made).suite.cases if item.id == f"load.{name}")


def closing(second: int, times: int = 3, code: int = 1006) -> Window:
    """A second in which connections ended."""
    made = window(second, dropped=times, unknown=times)
    made.closes[code] = times
    return made


def test_who_is_cut_by_a_fault_is_not_held_against_the_server() -> None:
    """It is told, with the fault's name; what was on its way, too."""
    made = record([closing(5), closing(9, 2)])
    connections, delivery = case(made, "connections"), case(made, "delivery")
    assert (connections.verdict, delivery.verdict) == (Verdict.PASS, Verdict.PASS)
    (finding,) = connections.findings
    assert (finding.fault, finding.count, finding.severity) == ("cut", 5, Severity.NOTE)
    assert [item.fault for item in delivery.findings if item.kind == "unknown"] == ["cut"]


def test_who_is_cut_at_another_time_is() -> None:
    """Also where a fault explains a part of it."""
    made = record([closing(5), closing(19, 2)])
    case_ = case(made, "connections")
    assert case_.verdict is Verdict.FAIL
    assert [(item.fault, item.count, item.severity) for item in case_.findings] == [
        ("cut", 3, Severity.NOTE),
        (None, 2, Severity.FAILURE),
    ]


def test_what_a_fault_cannot_explain_is_named_and_fails() -> None:
    """Everything is late: nobody need be closed for that, and nothing lost."""
    made = record([closing(13, code=4008), window(14, missing=7)], lost=7)
    connections, delivery = case(made, "connections"), case(made, "delivery")
    assert connections.verdict is delivery.verdict is Verdict.FAIL
    assert [(item.fault, item.severity) for item in connections.findings] == [("slow", Severity.FAILURE)]
    lost = next(item for item in delivery.findings if item.kind == "lost")
    assert (lost.fault, lost.count, lost.severity) == ("slow", 7, Severity.FAILURE)


def test_errors_are_laid_to_faults_by_their_kind() -> None:
    """As close codes are."""
    refused = window(6, refused=4)
    refused.errors["tcp: connection refused"] = 4
    late = window(13, refused=1)
    late.errors["timeout: TCP"] = 1
    findings = case(record([refused, late]), "connections").findings
    assert [(item.fault, item.count, item.severity) for item in findings] == [
        ("cut", 4, Severity.NOTE),
        ("slow", 1, Severity.NOTE),
    ]


def test_of_faults_at_one_time_that_which_explains_it_is_named() -> None:
    """Though another began later."""
    slow = FaultStep(name="slow", network="latency", at_s=6.0, for_s=5.0)
    made = record([window(7, dropped=1)], faults=(CUT, slow))
    blame = Blame(made.plan, made.tally)
    assert blame.split("closed", 1, lambda item: item.counts.dropped) == [Share("cut", 1, True)]
    assert blame.split("duplicated", 1, lambda item: item.counts.dropped) == [Share("slow", 1, False)]


def test_what_came_after_all_is_not_laid_to_anything() -> None:
    """A gap that closed again was no loss: shares never exceed what there is."""
    drop = FaultStep(name="drop", network="ws_drop", at_s=5.0, for_s=2.0)
    made = record([window(5, missing=10), window(7, missing=-4)], faults=(drop,))
    blame = Blame(made.plan, made.tally)
    assert blame.of("lost", 6) == [Share("drop", 6, True)]
    assert blame.of("lost", 5) == [Share("drop", 5, True)]
    assert blame.of("lost", 9) == [Share("drop", 6, True), Share(None, 3, False)]
    assert Blame(record([], faults=()).plan, made.tally).of("lost", 6) == [Share(None, 6, False)]


def test_it_is_told_when_it_was_steady_again() -> None:
    """By latency, refusals, closings and gaps; up to the next fault."""
    late = FaultWindow(name="slow", start_s=12.004, end_s=15.0, description="it")  # a little, as it is
    cut = FaultWindow(name="cut", start_s=5.0, end_s=7.0, description="it")
    windows = [window(7, 80), window(8, dropped=1), window(12, 500), window(19, 500)]
    made = record(windows, faults=(CUT, SLOW))
    made.tally.faults = [cut, late]
    blame = Blame(made.plan, made.tally)
    assert blame.steady_after(cut) == pytest.approx(2.0)
    assert blame.steady_after(late) == math.inf
    assert fault_text(made.plan, made.tally, late).endswith("not steady again after it")
    calm = record([])
    assert Blame(calm.plan, calm.tally).steady_after(calm.tally.faults[0]) == 0.0
    over = record([window(8, 80)], faults=(CUT, msgspec.structs.replace(SLOW, at_s=6.0)))
    assert Blame(over.plan, over.tally).steady_after(over.tally.faults[0]) is None  # the other goes on
    to_the_end = record([], faults=(CUT, msgspec.structs.replace(SLOW, for_s=7.5)))
    assert Blame(to_the_end.plan, to_the_end.tally).steady_after(to_the_end.tally.faults[1]) is None
    at_once = record([], faults=(msgspec.structs.replace(CUT, at_s=0.0),))
    assert Blame(at_once.plan, at_once.tally).steady_after(at_once.tally.faults[0]) is None


def test_the_faults_are_a_case() -> None:
    """With what was seen in each, and what the proxy added."""
    cost = DetourCost(connections=10, unreached=2, added_ns=80_000, late_p99_ns=MS, cpu_s=2.0, wall_s=20.0)
    made = record([window(12, 90), window(13, 90), window(14, 90)], detours=[cost])
    found = broken(made)
    assert found.verdict is Verdict.PASS
    assert found.finding == "2 of 2 faults were made: cut, slow"
    texts = [item.text for item in found.findings]
    assert "slow: 12.0 to 15.0 s, it: latency p99 90.0 ms, steady again at once" in texts
    assert (
        "10 connections went through a fault proxy, which adds 0.08 ms there and back at rest, was late by "
        "1.0 ms (p99), and took 10% of a core; for 2 of them it did not reach the server"
    ) in texts


def test_a_fault_that_was_not_made_leaves_it_open() -> None:
    """Whoever asked for it did not get what was to be shown."""
    found = broken(record([], undone={"slow": "the run ended before"}, faults=(CUT,)))
    assert found.verdict is Verdict.UNKNOWN
    assert "the fault slow was not made: the run ended before" in found.finding
    nobody = broken(record([], faults=(CUT, HUNG)))
    assert nobody.verdict is Verdict.UNKNOWN
    assert "--server-pid" in nobody.finding
    assert broken(record([], faults=(CUT, HUNG), shards=2)).verdict is Verdict.PASS


def test_thresholds_can_ask_of_a_fault() -> None:
    """Of one, of each; of one that did not happen nothing is known."""
    bounds = (
        "fault slow: latency.p99 < 100ms",
        "each fault: latency.p99 < 80ms",
        "fault cut: closed == 0",
        "fault hung: lost == 0",
    )
    windows = [window(second, 90) for second in (12, 13, 14)]
    parts = result_parts(record(windows, thresholds=bounds))
    assert [(item.verdict, item.where) for item in parts.thresholds] == [
        (Verdict.PASS, "fault slow"),
        (Verdict.FAIL, "fault slow"),
        (Verdict.PASS, "fault cut"),
        (Verdict.UNKNOWN, "all faults"),
    ]
    assert [item.name for item in parts.fault_windows] == ["cut", "slow"]


def test_a_fault_shorter_than_a_window_has_the_window_it_is_in() -> None:
    """Or a threshold on it would be about nothing."""
    made = record([window(5, 90)])
    brief = FaultWindow(name="brief", start_s=5.3, end_s=5.6)
    astride = FaultWindow(name="astride", start_s=4.8, end_s=5.2)
    assert made.tally.during(brief).latency.count == 100
    assert made.tally.during(astride).latency.count == 200
    assert made.tally.during(FaultWindow(name="long", start_s=4.9, end_s=7.1)).latency.count == 200


def test_faults_of_two_machines_are_one() -> None:
    """Each made those on its own connections' way; the one that has the process, that of the process."""
    faults = (HUNG, CUT)
    one = record([], faults=faults, shards=2, detours=[DetourCost(connections=3)])
    other = record([], faults=faults, shards=2, shard=1, detours=[DetourCost(shard=1, connections=4)])
    hung = FaultWindow(name="hung", start_s=2.1, end_s=3.0)
    other.tally.faults = [hung, FaultWindow(name="cut", start_s=4.9, end_s=7.2)]
    whole = join([one, other])
    assert [(item.name, item.start_s, item.end_s) for item in whole.tally.faults] == [
        ("hung", 2.1, 3.0),
        ("cut", 4.9, 7.2),
    ]
    assert [cost.connections for cost in whole.tally.detours] == [3, 4]
    assert "shard 2: 4 connections" in " ".join(item.text for item in broken(whole).findings)


def test_a_proxy_that_was_late_makes_the_run_invalid() -> None:
    """What it adds looks as if it were the server's."""
    made = record([], detours=[DetourCost(connections=10, late_p99_ns=30 * MS)])
    (problem,) = problems(made.plan, made.tally)
    assert "fault proxy was up to 30.0 ms late" in problem
    slower = record([window(5, 900), window(6, 900)], detours=[DetourCost(late_p99_ns=30 * MS)])
    assert problems(slower.plan, slower.tally) == []  # a twentieth of what was measured does no harm
