"""The stress test, and the search, on servers that are a formula."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from omega_ai.testkit.load.levels import at_level, level_of, seconds_for
from omega_ai.testkit.load.plan import Group, LoadPlan, PlanError, Role
from omega_ai.testkit.load.search import Bounds, Found, Search, find
from omega_ai.testkit.load.shapes import Constant, Ramp
from omega_ai.testkit.load.stress import Stressed, stress
from omega_ai.testkit.load.thresholds import parse_threshold
from omega_ai.testkit.load.trial import Trials
from omega_ai.testkit.profile import load_profile
from omega_ai.testkit.verdict import Verdict
from omega_ai.tests.unit.testkit.load.modelled import Modelled

PLAN = LoadPlan(
    urls=("ws://localhost:1/",),
    profile=load_profile("echo"),
    duration_s=60,
    groups=(Group(role=Role.ECHO, clients=10, messages=Constant(rate=100)),),
)


def _stress(server: Modelled, **more: Any) -> Stressed:
    trials = Trials(PLAN, vary="rate", step_s=4, run=server)
    return asyncio.run(stress(trials, **{"start": 100.0, "highest": 10_000.0} | more))


def _find(server: Modelled, *texts: str) -> Found:
    trials = Trials(PLAN, vary="rate", step_s=4, run=server, thresholds=[parse_threshold(t) for t in texts])
    return asyncio.run(find(Search(Bounds(start=100)), trials.step))


def test_where_it_breaks_and_what_breaks_first() -> None:
    """At the first level above its capacity, its latency; and it recovers when the load goes."""
    server = Modelled(capacity=600)
    stressed = _stress(server)
    assert [rung.level for rung in stressed.rungs] == [100, 150, 225, 337.5, 506.2, 759.3]
    assert stressed.held == 506.2
    assert stressed.broken is not None
    assert stressed.broken.breaches[0].kind == "latency"
    assert server.levels[-1] == 100
    assert stressed.recovery is not None
    assert stressed.recovery.recovered
    assert stressed.verdict is Verdict.PASS
    assert "it broke at 759.3: first latency" in stressed.text
    assert stressed.text.endswith("it held at 506.2; it recovered at once")


def test_a_server_that_stays_broken_fails() -> None:
    """Its queue is not gone when the load is."""
    stressed = _stress(Modelled(capacity=110, keeps_queue=20.0))
    assert stressed.recovery is not None
    assert not stressed.recovery.recovered
    assert stressed.verdict is Verdict.FAIL
    assert "did not recover" in stressed.text


def test_refusals_are_told_from_latency() -> None:
    """Whichever comes first."""
    stressed = _stress(Modelled(capacity=1e9, refuses_above=300))
    assert stressed.broken is not None
    assert [breach.kind for breach in stressed.broken.breaches] == ["refusals"]
    assert stressed.verdict is Verdict.PASS
    both = _stress(Modelled(capacity=330, refuses_above=300))
    assert both.broken is not None
    assert [breach.kind for breach in both.broken.breaches] == ["refusals", "latency"]


def test_a_server_that_loses_under_load_fails() -> None:
    """Slow it may become; what it delivers must be right."""
    stressed = _stress(Modelled(capacity=1e9, loses_above=200))
    assert stressed.broken is not None
    assert stressed.broken.breaches[0].kind == "loss"
    assert stressed.verdict is Verdict.FAIL


def test_a_generator_that_gives_out_accuses_nobody() -> None:
    """What was held until then stands; if that is nothing, nothing is known."""
    stressed = _stress(Modelled(capacity=1e9, generator=400))
    assert stressed.broken is not None
    assert stressed.broken.breaches[0].kind == "generator"
    assert (stressed.held, stressed.verdict) == (337.5, Verdict.PASS)
    assert "the generator gave out at 506.2" in stressed.text
    assert _stress(Modelled(capacity=1e9, generator=50)).verdict is Verdict.UNKNOWN


def test_a_server_that_breaks_at_once_fails() -> None:
    """There is no level that it held."""
    stressed = _stress(Modelled(capacity=50))
    assert (stressed.held, stressed.verdict) == (None, Verdict.FAIL)


def test_a_server_that_does_not_break_passes() -> None:
    """Up to the highest level, which is not exceeded; then there is nothing to recover from."""
    server = Modelled(capacity=1e9)
    stressed = _stress(server, highest=300.0)
    assert [rung.level for rung in stressed.rungs] == [100, 150, 225, 300]
    assert (stressed.verdict, stressed.recovery) == (Verdict.PASS, None)
    assert stressed.text == "it held at every level, up to 300"
    assert len(server.levels) == 4


def test_a_server_that_dies_fails() -> None:
    """And is not asked to recover."""
    server = Modelled(capacity=1e9)
    stressed = _stress(server, alive=lambda: len(server.levels) < 3)
    assert stressed.broken is not None
    assert stressed.broken.breaches[0].kind == "ended"
    assert stressed.verdict is Verdict.FAIL
    assert server.levels[-1] == 225


def test_bounds_of_ones_own_are_held_to() -> None:
    """Instead of the usual ones."""
    stressed = _stress(Modelled(capacity=600), bounds=[parse_threshold("latency.p99 < 0.5ms")])
    assert stressed.held is None


def test_levels_must_rise() -> None:
    """Or it would never end."""
    with pytest.raises(ValueError, match="do not rise"):
        _stress(Modelled(capacity=1), factor=1.0)


def test_the_highest_rate_within_a_bound_is_found() -> None:
    """At 1,000 by the second the queue begins to grow."""
    found = _find(Modelled(capacity=1000), "latency.p99 < 10ms")
    assert found.level is not None
    assert 950 <= found.level <= 1010
    assert found.verdict is Verdict.PASS
    assert "latency.p99" in found.why


def test_a_rate_at_which_messages_are_lost_is_not_found() -> None:
    """However fast the others come."""
    found = _find(Modelled(capacity=1e9, loses_above=700), "latency.p99 < 10ms")
    assert found.level is not None
    assert 650 <= found.level <= 700
    assert "lost" in found.why


def test_a_generators_limit_is_not_the_servers() -> None:
    """It is said."""
    found = _find(Modelled(capacity=1e9, generator=3000), "latency.p99 < 10ms")
    assert found.level is not None
    assert found.level <= 3060
    assert "generator" in found.why


def test_a_plan_at_another_level() -> None:
    """Shares are kept: of messages, or of clients and what each sends."""
    groups = (
        Group(role=Role.LISTEN, clients=30, start_s=5, ramp_s=20),
        Group(role=Role.PUBLISH, clients=2, messages=Ramp(start=0, end=20, over_s=60)),
        Group(role=Role.PUBLISH, clients=4, messages=Constant(rate=30)),
    )
    plan = LoadPlan(urls=("ws://a/",), profile=load_profile("omega"), duration_s=60, groups=groups)
    assert level_of(plan, "rate") == pytest.approx(40)
    assert level_of(plan, "clients") == 36
    faster = at_level(plan, "rate", 400, 10)
    assert [group.messages and group.messages.rate for group in faster.groups] == [  # type: ignore[union-attr]
        None,
        pytest.approx(100),
        pytest.approx(300),
    ]
    assert [group.clients for group in faster.groups] == [30, 2, 4]
    larger = at_level(plan, "clients", 72, 10)
    assert [group.clients for group in larger.groups] == [60, 4, 8]
    assert level_of(larger, "rate") == pytest.approx(80)
    with pytest.raises(PlanError, match="no rate to vary"):
        level_of(LoadPlan(urls=("ws://a/",), profile=plan.profile, duration_s=1, groups=groups[:1]), "rate")


def test_a_level_lasts_as_long_as_its_percentiles_need() -> None:
    """p99.9 of ten a second takes two minutes; that is cut to one."""
    assert seconds_for([], 100, 5) == 5
    assert seconds_for([parse_threshold("latency.p99 < 1s")], 10, 5) == pytest.approx(12)
    assert seconds_for([parse_threshold("latency.p99.9 < 1s")], 10, 5) == 60
