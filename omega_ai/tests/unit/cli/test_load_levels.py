"""``omega load --find`` and ``--stress``, on a server that is a formula."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from omega_ai.cli.exit_codes import UsageError
from omega_ai.cli.load_levels import Levels, try_levels
from omega_ai.testkit.load.plan import Group, LoadPlan, Role
from omega_ai.testkit.load.session import ServerView
from omega_ai.testkit.load.shapes import Constant
from omega_ai.testkit.load.thresholds import ThresholdError
from omega_ai.testkit.profile import load_profile
from omega_ai.testkit.result import RunResult, TargetFacts
from omega_ai.testkit.verdict import Verdict
from omega_ai.tests.unit.testkit.load.modelled import Modelled

PLAN = LoadPlan(
    urls=("ws://localhost:1/",),
    profile=load_profile("echo"),
    duration_s=60,
    groups=(Group(role=Role.ECHO, clients=10, messages=Constant(rate=100)),),
)
FACTS = TargetFacts(url="ws://localhost:1/", profile="echo")


def _try(server: Modelled, thresholds: tuple[str, ...] = (), **more: Any) -> RunResult:
    levels = Levels(**more)
    levels.check()
    work = try_levels(levels, PLAN, thresholds, ServerView(), FACTS, "omega load ...", run=server)
    return asyncio.run(work)


def test_a_search_shows_each_step_and_tells_the_rate(capsys: pytest.CaptureFixture[str]) -> None:
    """What held, what did not, and what was tried again."""
    result = _try(Modelled(capacity=1000), find=("latency.p99 < 10ms",))
    (case,) = result.cases
    assert result.verdict is Verdict.PASS
    assert 950 <= case.figures["highest_rate"] <= 1010
    shown = capsys.readouterr().err
    assert "pass    100 messages/s: latency.p99 1" in shown
    assert "fail    1600 messages/s: latency.p99" in shown
    assert "again, for longer: " in shown
    assert "all holds up to " in shown
    assert len([finding for finding in case.findings if finding.kind == "confirm"]) == 1


def test_a_search_that_finds_nothing_fails() -> None:
    """Not even one message a second holds."""
    result = _try(Modelled(capacity=0.2), find=("latency.p99 < 10ms",))
    assert result.verdict is Verdict.FAIL
    assert "even at the lowest level" in result.cases[0].finding


def test_a_stress_test_tells_where_it_broke(capsys: pytest.CaptureFixture[str]) -> None:
    """Level by level; and whether it recovered."""
    result = _try(Modelled(capacity=600), step_s=4.0)
    assert result.verdict is Verdict.PASS
    shown = capsys.readouterr().err
    assert "held    100 messages/s, latency p99 1.0 ms" in shown
    assert "broke   759.3 messages/s" in shown
    assert "it recovered at once" in shown
    assert result.cases[0].figures == {"held_rate": 506.2}
    (curve,) = result.series
    assert len(curve.points) == 6


def test_thresholds_are_the_bounds_of_a_stress_test() -> None:
    """Instead of the usual ones; what it loses fails it."""
    result = _try(Modelled(capacity=1e9, loses_above=200), ("latency.p99 < 1s",), step_s=2.0)
    assert result.verdict is Verdict.FAIL
    assert result.cases[0].findings[0].kind == "loss"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"find": ("each 10s: latency.p99 < 1s",)}, "as a whole"),
        ({"find": ("lost == 0 or stop",)}, "as a whole"),
        ({"step_s": 0.5}, "a second or more"),
        ({"highest": 0.0}, "above 0"),
    ],
)
def test_what_does_not_go_together_is_refused(options: dict[str, Any], says: str) -> None:
    """Before anything is started."""
    with pytest.raises(ValueError, match=says):
        Levels(**options).check()


def test_a_bound_that_is_none_is_refused() -> None:
    """With its place."""
    with pytest.raises(ThresholdError):
        Levels(find=("fast",)).check()


def test_a_first_level_above_the_highest_is_refused() -> None:
    """There would be nothing to try."""
    with pytest.raises(UsageError, match="above --highest"):
        _try(Modelled(capacity=1), highest=10.0)
