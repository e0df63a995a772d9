"""Faults of a load: which there may be, what each explains, and how they are written in one line."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from omega_ai.testkit.experiment.model import FaultStep
from omega_ai.testkit.faults import FAULTS
from omega_ai.testkit.load.disturbance import steps_here
from omega_ai.testkit.load.fault_plan import (
    described,
    explains,
    fault_problems,
    is_proxied,
    looks_inside,
    scaled,
)
from omega_ai.testkit.load.fault_text import parse_fault
from omega_ai.testkit.load.plan import MAX_PROXIED, Group, LoadPlan, PlanError, Role
from omega_ai.testkit.load.scenario import ScenarioError, load_scenario, parse_scenario
from omega_ai.testkit.load.shapes import Constant
from omega_ai.testkit.profile import load_profile
from omega_ai.testkit.proxy.service import MAX_CONNECTIONS

SCENARIO = """
duration = "1min"
recovery = "3s"
thresholds = ["fault a long line: latency.p99 < 1s", "each fault: lost == 0"]
[[group]]
role = "echo"
clients = 3
messages = 5
[[fault]]
name = "a long line"
network = "latency"
with = { latency = 100 }
stream = "upstream"
toxicity = 0.5
at = "500ms"
for = "10s"
"""


def step(**fields: Any) -> FaultStep:
    """A fault that is right but for ``fields``."""
    return msgspec.convert({"name": "x", "for_s": 1.0} | fields, FaultStep)


def plan(*faults: FaultStep, **more: Any) -> LoadPlan:
    """A plan with these."""
    group = Group(role=Role.ECHO, clients=3, messages=Constant(rate=5))
    settings: dict[str, Any] = {"urls": ("ws://localhost:1/",), "groups": (group,), "duration_s": 10.0} | more
    return LoadPlan(profile=load_profile("echo"), faults=faults, **settings)


def test_a_table_becomes_a_fault() -> None:
    """With times as a scenario has them; and it goes into the plan, to workers and to files."""
    scenario = parse_scenario(SCENARIO, "x.toml")
    (fault,) = scenario.faults
    assert (fault.name, fault.at_s, fault.for_s, fault.toxicity) == ("a long line", 0.5, 10.0, 0.5)
    assert fault.fault == FAULTS["latency"](latency=100)
    made = scenario.plan(("ws://localhost:1/",), load_profile("echo"))
    assert (made.faults, made.recovery_s) == (scenario.faults, 3.0)
    assert LoadPlan.from_json(made.to_json()) == made


def test_a_scenario_in_less_time_has_its_faults_in_less_time() -> None:
    """What they do, and how long one may need to recover, stays."""
    (fault,) = (shorter := parse_scenario(SCENARIO, "x.toml").scaled(time=0.5)).faults
    assert (fault.at_s, fault.for_s, fault.attributes) == (0.25, 5.0, {"latency": 100})
    assert shorter.recovery_s == 3.0
    assert scaled(fault, 2.0).end_s == pytest.approx(10.5)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('at = "500ms"', "at_s = 1", r"\[\[fault\]\] 1 \(a long line\), at_s: write at"),
        ('for = "10s"', 'for = "2min"', "ends after the run, which lasts 60 s"),
        (
            'network = "latency"',
            'network = "latncy"',
            r"\(a long line\): there is no fault 'latncy'.*latency",
        ),
        ("latency = 100", "delay = 100", "latency has no attribute 'delay'"),
        ('network = "latency"', "", "needs one of network, process and act"),
        ('network = "latency"', 'network = "latency"\nprocess = "pause"', "needs one of"),
        ('network = "latency"', 'process = "kill"', "started again"),
        ('network = "latency"', 'act = "burst"', "shape of its messages"),
        ('stream = "upstream"', 'streem = "upstream"', "no such field; did you mean stream"),
        ('stream = "upstream"', 'stream = "up"', "stream: invalid enum value 'up'"),
        ("fault a long line:", "fault a short line:", "no fault 'a short line'; there are a long line"),
        ('recovery = "3s"', 'recovery = "soon"', "recovery: 'soon' is no length of time"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(old: str, new: str, says: str) -> None:
    """Before anything is started."""
    assert old in SCENARIO
    with pytest.raises(ScenarioError, match=says):
        parse_scenario(SCENARIO.replace(old, new, 1), "x.toml")


def test_two_faults_of_one_name_are_refused() -> None:
    """A threshold, and the report, could not tell them apart."""
    assert "two of that name" in fault_problems([step(act="reset"), step(act="disable")], 10)[0]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"process": "starve", "with": {"share": 2}}, "share"),
        ({"process": "slow-child", "with": {"period_ms": 1}}, "period_ms"),
        ({"process": "memory", "with": {"spare": "much"}}, "spare"),
        ({"act": "reset", "for_s": 0.0}, "longer than nothing"),
        ({"act": "reset", "name": " "}, "no name"),
    ],
)
def test_attributes_out_of_bounds_are_refused(given: dict[str, Any], says: str) -> None:
    """Those of a process are not checked by the proxy."""
    (problem,) = fault_problems([step(**given)], 10)
    assert says in problem


def test_a_plan_is_checked_too() -> None:
    """A scenario in Python need not be one of ours."""
    with pytest.raises(PlanError, match="ends after the run"):
        plan(step(act="reset", at_s=10.0)).check()
    with pytest.raises(PlanError, match="--source"):
        plan(step(act="reset"), sources=("127.0.0.2",)).check()
    plan(step(process="pause"), sources=("127.0.0.2",)).check()
    crowd = (Group(role=Role.ECHO, clients=MAX_PROXIED + 1, messages=Constant(rate=5)),)
    with pytest.raises(PlanError, match="8192 connections"):
        plan(step(act="reset"), groups=crowd).check()
    plan(step(act="reset"), groups=crowd, shards=2).check()
    assert MAX_PROXIED == MAX_CONNECTIONS


def test_a_fault_of_a_process_needs_the_process() -> None:
    """On one machine; of several, it is for the one that has it."""
    with pytest.raises(PlanError, match="--server-pid"):
        steps_here(plan(step(process="pause")), None)
    both = plan(step(process="pause"), step(act="reset", name="y"), shards=2)
    assert [item.name for item in steps_here(both, None)] == ["y"]
    assert [item.name for item in steps_here(both, 1)] == ["x", "y"]


@pytest.mark.parametrize(
    ("given", "may", "may_not"),
    [
        ({"network": "latency"}, ["timeout: TCP"], ["lost", "closed", "refused", "duplicated", "tls: x"]),
        ({"network": "reset_peer"}, ["closed", "unknown", "refused", "tcp: connection reset"], ["lost"]),
        ({"network": "ws_drop"}, ["lost"], ["closed", "unknown"]),
        ({"network": "blackhole"}, ["closed", "backlog: x"], ["lost", "corrupted"]),
        ({"network": "ws_corrupt"}, ["corrupted", "closed", "protocol: x"], []),
        ({"process": "pause"}, ["closed", "timeout: no answer"], ["lost", "duplicated"]),
        ({"process": "starve"}, ["timeout: TCP"], ["closed", "refused"]),
        ({"process": "reload"}, [], ["closed", "timeout: TCP", "lost"]),
        ({"act": "disable"}, ["refused", "closed"], ["lost"]),
    ],
)
def test_what_a_fault_explains(given: dict[str, str], may: list[str], may_not: list[str]) -> None:
    """And what is the server's own doing, fault or not."""
    fault = step(**given)
    assert [kind for kind in may if not explains(fault, kind)] == []
    assert [kind for kind in may_not if explains(fault, kind)] == []


def test_what_needs_a_proxy_and_what_needs_to_see_inside() -> None:
    """A process is signalled; TLS is left alone where bytes are enough."""
    assert [
        is_proxied(step(**given)) for given in ({"network": "noop"}, {"act": "reset"}, {"process": "pause"})
    ] == [
        True,
        True,
        False,
    ]
    inside = {kind for kind in FAULTS if looks_inside(step(network=kind))}
    assert inside >= {"ws_drop", "ws_no_deflate", "tls_certificate"}
    assert not inside & {"latency", "reset_peer", "blackhole", "corrupt"}


def test_a_fault_is_described() -> None:
    """In a few words, unless it brings its own."""
    slow = step(network="latency", toxicity=0.5, **{"with": {"latency": 100, "jitter": 20}})
    assert described(slow) == "latency (latency 100, jitter 20), downstream, 50% of the connections"
    assert described(step(network="blackhole")) == "blackhole"
    assert (
        described(step(process="starve", **{"with": {"share": 0.2}}))
        == "starve (share 0.2), the server's process"
    )
    assert described(step(act="reset", text="all fall")) == "all fall"


@pytest.mark.parametrize(
    ("text", "given"),
    [
        (
            "latency:latency=100,jitter=20 at 10s for 5s",
            {"name": "latency", "network": "latency", "with": {"latency": 100, "jitter": 20}, "at_s": 10.0},
        ),
        (
            "stall:loss=0.5,stream=upstream,toxicity=0.25,name=bad at 1min for 5s",
            {"name": "bad", "network": "stall", "with": {"loss": 0.5}, "stream": "upstream", "toxicity": 0.25}
            | {"at_s": 60.0},
        ),
        ("pause:name=it waits for 5 min for 5s", {"name": "it waits for 5 min", "process": "pause"}),
        ("pause for 5s", {"name": "pause", "process": "pause"}),
        ("starve:share=0.2,name=slow for 5s", {"name": "slow", "process": "starve", "with": {"share": 0.2}}),
        ("disable at 1s for 5s", {"name": "disable", "act": "disable", "at_s": 1.0}),
    ],
)
def test_a_fault_in_one_line(text: str, given: dict[str, Any]) -> None:
    """As ``omega load --fault`` takes it: the words of the proxy, times as in a scenario."""
    assert parse_fault(text) == step(**({"for_s": 5.0} | given))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("latency", "is no fault: write"),
        ("latency:late=3 for 2s", "did you mean 'latency'"),
        ("frobnicate for 1s", "there is no fault 'frobnicate'"),
        ("latency:start=3 for 1s", "said by 'at' and 'for'"),
        ("pause at noon for 2s", "no length of time"),
        ("starve:share=half for 2s", "not a number"),
    ],
)
def test_a_line_that_is_no_fault_is_refused(text: str, says: str) -> None:
    """With what would be right."""
    with pytest.raises(ScenarioError, match=says):
        parse_fault(text)


def test_the_scenario_with_faults_is_one_for_any_server_that_echoes() -> None:
    """It names only what there is."""
    scenario = load_scenario("bad-network")
    assert {fault.network for fault in scenario.faults} == {"latency", "stall", "blackhole", "reset_peer"}
    scenario.plan(("ws://localhost:1/",), load_profile("echo")).check()
