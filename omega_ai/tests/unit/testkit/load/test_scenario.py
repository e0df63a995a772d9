"""Scenarios: what a file may say, and what is answered to one that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega_ai.testkit.load.plan import Role
from omega_ai.testkit.load.scenario import (
    Scenario,
    ScenarioError,
    builtin_scenarios,
    load_scenario,
    parse_scenario,
)
from omega_ai.testkit.load.shapes import Constant, Points, Spike
from omega_ai.testkit.profile import load_profile

ECHO = 'role = "echo"\nclients = 3\nmessages = 5\n'


def test_a_file_becomes_a_plan() -> None:
    """With times as people write them."""
    scenario = parse_scenario(
        """
        duration = "2min"
        thresholds = ["lost == 0", "phase rush: latency.p99 < 50ms"]
        [[group]]
        name = "desks"
        role = "listen"
        clients = 200
        ramp = "10s"
        reconnect = false
        [[group]]
        role = "publish"
        clients = 4
        start = 1.5
        messages = { shape = "spike", base = 20, peak = 200, at = "60s", for = "500ms" }
        [[phase]]
        name = "rush"
        from = "60s"
        to = "80s"
        """,
        "here.toml",
    )
    plan = scenario.plan(("ws://localhost:1/",), load_profile("omega"), seed=4, workers=2)
    assert plan.duration_s == 120
    assert (plan.seed, plan.workers) == (4, 2)
    desks, prices = plan.groups
    assert (desks.role, desks.clients, desks.ramp_s, desks.reconnect_s) == (Role.LISTEN, 200, 10, None)
    assert prices.messages == Spike(base=20, peak=200, at_s=60, for_s=0.5)
    assert prices.start_s == 1.5
    assert [(phase.name, phase.start_s, phase.duration_s) for phase in plan.phases] == [("rush", 60, 20)]
    assert [threshold.phase for threshold in scenario.parsed()] == [None, "rush"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("duration = ", "not TOML"),
        ("", 'duration is missing: how long is the run? Such as duration = "60s"'),
        ('duration = "long"', "duration: 'long' is no length of time"),
        ("duration_s = 5", "duration_s: write duration"),
        ("duration = 5", "there is no [[group]]"),
        ("duration = 5\nduratoin = 6", "duratoin: there is no such field; did you mean duration?"),
        ('duration = 5\n[group]\nrole = "echo"', "group: write [[group]], with two brackets"),
        ("duration = 5\n[[group]]\nclients = 3", "[[group]] 1: object missing required field 'role'"),
        (
            'duration = 5\n[[group]]\nrole = "lisen"\nclients = 3',
            "[[group]] 1, role: invalid enum value 'lisen'; there are echo, publish, listen",
        ),
        (
            'duration = 5\n[[group]]\nname = "desks"\nrole = "listen"\nclients = "many"',
            "[[group]] 1 (desks), clients: expected a whole number, got a text",
        ),
        (
            'duration = 5\n[[group]]\nrole = "listen"\nclents = 3',
            "[[group]] 1, clents: there is no such field; did you mean clients?",
        ),
        ('duration = 5\n[[group]]\nrole = "listen"\nclients = 0', "[[group]] 1, clients: at least 1"),
        ('duration = 5\n[[group]]\nrole = "publish"\nclients = 1', "messages: how many are published"),
        ('duration = 5\n[[group]]\nrole = "echo"\nclients = 1', "messages: how many are sent"),
        ('duration = 5\n[[group]]\nrole = "listen"\nclients = 1\nmessages = 2', "who listens sends nothing"),
        (f"duration = 5\n[[group]]\n{ECHO}think = 1", "think: either messages"),
        (f"duration = 5\n[[group]]\n{ECHO}start = 5", "start: after the end of the run"),
        (f"duration = 5\n[[group]]\n{ECHO}churn = -1", "churn: not below 0"),
        (f"duration = 5\n[[group]]\n{ECHO}ramp = true", "ramp: expected a number, got true or false"),
        (
            'duration = 5\n[[group]]\nrole = "echo"\nclients = 1\nmessages = { shape = "spik" }',
            "[[group]] 1, messages, shape: invalid value 'spik'; there are constant, ramp, steps, spike",
        ),
        (
            'duration = 5\n[[group]]\nrole = "echo"\nclients = 1\nmessages = { shape = "ramp", start = 1 }',
            "[[group]] 1, messages: object missing required field 'end'",
        ),
        (
            'duration = 5\n[[group]]\nrole = "echo"\nclients = 1\n'
            'messages = { shape = "points", points = [["x", 1]] }',
            "[[group]] 1, messages, points 1: 'x' is no length of time",
        ),
        (f'duration = 5\n[[group]]\n{ECHO}[[phase]]\nname = "a"\nfrom = 1', "[[phase]] 1: to is missing"),
        (f'duration = 5\n[[group]]\n{ECHO}[[phase]]\nname = "a"\nfrom = 3\nto = 2', "ends before it begins"),
        (f'duration = 5\n[[group]]\n{ECHO}[[phase]]\nname = "a"\nfrom = 3\nto = 6', "ends after the run"),
        (
            f'duration = 5\nthresholds = ["lost == 0", "lost = 0"]\n[[group]]\n{ECHO}',
            "thresholds, number 2: '=' has no place",
        ),
        (
            f'duration = 5\nthresholds = ["phase peak: lost == 0"]\n[[group]]\n{ECHO}',
            "thresholds, number 1: no phase 'peak'; there is none",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, says: str) -> None:
    """File, table and field; and what could stand there."""
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(text, "here.toml")
    assert str(caught.value).startswith("here.toml: ")
    assert says in str(caught.value)


@pytest.mark.parametrize("name", builtin_scenarios())
def test_those_that_come_with_the_kit_are_right(name: str) -> None:
    """And can be put to our own feed."""
    scenario = load_scenario(name)
    assert scenario.title
    assert scenario.description
    assert scenario.thresholds
    assert scenario.plan(("ws://localhost:1/",), load_profile("omega")).groups == scenario.groups


def test_a_scenario_that_the_server_cannot_take_is_refused() -> None:
    """An echo server has nothing to listen to."""
    with pytest.raises(
        ScenarioError, match=r"\[\[group\]\] 1 \(quick\): the profile echo does not say how to"
    ):
        load_scenario("slow-half").plan(("ws://localhost:1/",), load_profile("echo"))


def test_a_few_lines_of_python_do(tmp_path: Path) -> None:
    """For what a table cannot say."""
    path = tmp_path / "rising.py"
    path.write_text(
        "from omega_ai.testkit.load.plan import Group, Role\n"
        "from omega_ai.testkit.load.scenario import Scenario\n"
        "from omega_ai.testkit.load.shapes import Points\n"
        "squares = tuple((float(second), float(second**2)) for second in range(10))\n"
        "scenario = Scenario(duration_s=10, groups=(\n"
        "    Group(role=Role.ECHO, clients=5, messages=Points(points=squares)),))\n"
    )
    (group,) = load_scenario(str(path)).groups
    assert isinstance(group.messages, Points)
    assert group.messages.points[-1] == (9, 81)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1/0", "ZeroDivisionError"),
        ("pass", "must define scenario"),
        (
            "import omega_ai.testkit.load.scenario as s\nscenario = s.Scenario(duration_s=1, groups=())",
            "there is no",
        ),
    ],
)
def test_python_that_is_wrong_is_said(tmp_path: Path, text: str, says: str) -> None:
    """With the file."""
    path = tmp_path / "wrong.py"
    path.write_text(text)
    with pytest.raises(ScenarioError, match=f"wrong.py: .*{says}"):
        load_scenario(str(path))


def test_a_name_that_is_none_is_said(tmp_path: Path) -> None:
    """With those that there are."""
    with pytest.raises(ScenarioError, match="it is none of bad-network, day, market-open"):
        load_scenario("market-opne")
    with pytest.raises(ScenarioError, match="no scenario"):
        load_scenario(str(tmp_path))


@given(st.floats(0.05, 20), st.floats(0.05, 20), st.floats(0.05, 20), st.sampled_from(builtin_scenarios()))
def test_a_scenario_can_be_made_larger_and_longer(
    clients: float, rate: float, time: float, name: str
) -> None:
    """And stays one: phases in the run, at least one client in each group."""
    whole = load_scenario(name)
    scaled = whole.scaled(clients=clients, rate=rate, time=time)
    assert scaled.problems() == []
    assert scaled.duration_s == pytest.approx(whole.duration_s * time)
    for before, after in zip(whole.groups, scaled.groups, strict=True):
        assert after.clients == max(1, round(before.clients * clients))
        if isinstance(before.messages, Constant):
            assert after.messages == Constant(rate=before.messages.rate * rate)
        if isinstance(before.messages, Points):
            assert isinstance(after.messages, Points)
            assert after.messages.points[-1][0] == pytest.approx(before.messages.points[-1][0] * time)


def test_a_scenario_of_nothing_has_problems() -> None:
    """As built in Python."""
    assert len(Scenario(groups=(), duration_s=0, window_s=0).problems()) == 3
