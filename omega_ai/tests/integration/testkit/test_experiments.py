"""Experiments: one file, one verdict, on real sockets and in virtual time; broken recovery fails."""

from __future__ import annotations

import asyncio

import pytest
import uvloop
from msgspec import structs

from omega_ai.testkit.case import NotApplicable
from omega_ai.testkit.experiment.model import BUILT_IN, Experiment, built_in, parse
from omega_ai.testkit.verdict import Verdict
from omega_ai.testkit.zoo.breaking import LeaksOnReset, NoResume
from omega_ai.testkit.zoo.experiments import BROKEN, Broken, caught, put_real, put_simulated
from omega_ai.testkit.zoo.site import EchoSite, Site
from omega_ai.tests.simnet.experiments import put_to_the_feed

SHORT = """
name = "short"
title = "Two resets"
[load]
clients = 4
rate = 40.0
[steady]
before_s = 0.5
latency_ms = 8000.0
[recovery]
within_s = 15.0
watch_s = 1.2
[[fault]]
name = "far away"
network = "latency"
with = { latency = 20 }
for_s = 0.6
[[fault]]
name = "once"
act = "reset"
at_s = 0.1
for_s = 0.1
[[fault]]
name = "again"
act = "reset"
at_s = 0.4
for_s = 0.1
"""


ONLY_REAL = ("broker-failover", "certificate-rotation", "out-of-descriptors")
"""There are no such things in virtual time."""


def scaled(name: str) -> Experiment:
    """A built-in experiment with fewer clients."""
    experiment = built_in(name)
    clients = 20 if experiment.load.clients > 20 else 5
    return structs.replace(experiment, load=structs.replace(experiment.load, clients=clients))


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_broken_recovery_fails_the_experiment_meant_for_it(broken: Broken) -> None:
    """For the right reason; ``python -m omega_ai.testkit.zoo.experiments`` does it twenty times."""
    outcome = put_simulated(scaled(broken.experiment), broken.site, 1, broken.backoff)
    assert caught(broken, outcome), outcome.finding
    faults = {step.name for step in built_in(broken.experiment).faults}
    named = {finding.fault for finding in outcome.findings if finding.kind == broken.kind}
    assert broken.kind == "attempts" or named <= faults, named


@pytest.mark.parametrize("name", ["flaky-mobile", "half-open-nat", "refused", "crash"])
def test_a_right_server_passes_them(name: str) -> None:
    outcome = put_simulated(scaled(name), Site, 1)
    assert outcome.verdict is Verdict.PASS, outcome.finding


@pytest.mark.parametrize("name", BUILT_IN)
def test_our_feed_passes_every_experiment_in_virtual_time(name: str) -> None:
    """With nothing lost that was promised."""
    if name in ONLY_REAL:
        with pytest.raises(NotApplicable):
            put_to_the_feed(scaled(name), 1)
        return
    outcome = put_to_the_feed(scaled(name), 1)
    assert outcome.verdict is Verdict.PASS, outcome.finding


def test_the_same_file_has_the_same_verdict_on_real_sockets_and_in_virtual_time() -> None:
    """Of a right server, of an echo, and of one that promises what it does not do."""
    experiment = parse(SHORT, "short.toml")

    async def real() -> list[Verdict]:
        outcomes = await asyncio.gather(
            *(put_real(experiment, site, 1) for site in (Site, EchoSite, NoResume))
        )
        return [outcome.verdict for outcome in outcomes]

    expected = [Verdict.PASS, Verdict.PASS, Verdict.FAIL]
    assert [put_simulated(experiment, site, 1).verdict for site in (Site, EchoSite, NoResume)] == expected
    assert uvloop.run(real()) == expected


def test_the_same_seed_gives_the_same_outcome_to_the_last_figure() -> None:
    first, second = (put_simulated(scaled("flaky-mobile"), Site, 9) for _ in range(2))
    assert dict(first.figures) == dict(second.figures)


def test_what_is_wrong_is_laid_to_the_fault_in_whose_window_it_fell() -> None:
    """And a place that leaks is seen only when it is full."""
    small = type("Small", (LeaksOnReset,), {"places": 6})
    outcome = put_simulated(parse(SHORT, "short.toml"), small, 1)
    assert outcome.verdict is Verdict.FAIL
    assert {finding.fault for finding in outcome.findings if finding.kind == "recovery"} == {"far away"}
