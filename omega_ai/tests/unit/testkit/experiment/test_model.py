"""Experiments as files: what they say, and what is said of those that say it wrongly."""

from __future__ import annotations

from pathlib import Path

import pytest

from omega_ai.testkit.case import Need
from omega_ai.testkit.experiment.model import BUILT_IN, BadExperiment, built_in, parse, read
from omega_ai.testkit.suites import load_suite

GOOD = """
name = "mine"
title = "Mine"
[load]
clients = 3
[[fault]]
name = "slow"
network = "latency"
with = { latency = 50 }
at_s = 1.0
for_s = 2.5
"""


def test_a_file_says_what_happens_and_how_long_it_takes(tmp_path: Path) -> None:
    """The rest has defaults."""
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    experiment = read(path)
    assert experiment.load.clients == 3
    assert experiment.faults[0].fault is not None
    assert experiment.faults_end_s == 3.5
    assert experiment.seconds == 1.5 + 3.5 + 5.0 + 2.0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"latency"\nwith', '"latencies"\nwith', "did you mean 'latency'"),
        ("latency = 50", "delay = 50", "no attribute 'delay'"),
        ("at_s = 1.0", "at_s = -1.0", "at_s"),
        ("clients = 3", "clients = 0", "clients"),
        ("clients = 3", "people = 3", "people"),
        ("at_s = 1.0", 'process = "kill"', "needs one of network, process and act"),
        ("[[fault]]", "[steady]\ninvariants = ['harmony']\n[[fault]]", "no invariant 'harmony'"),
        ('name = "mine"', 'name = "mine', "is no TOML"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(old: str, new: str, said: str) -> None:
    """And the name of the file."""
    with pytest.raises(BadExperiment, match=r"here\.toml") as caught:
        parse(GOOD.replace(old, new), "here.toml")
    assert said in str(caught.value)


def test_an_experiment_without_a_fault_shows_nothing() -> None:
    with pytest.raises(BadExperiment, match="without a"):
        parse('name = "a"\ntitle = "b"', "here.toml")


def test_a_file_that_is_not_there_names_those_that_are_built_in() -> None:
    with pytest.raises(BadExperiment, match="half-open-nat"):
        read(Path("nowhere.toml"))


def test_those_that_are_built_in_explain_themselves_and_are_bounded() -> None:
    """The suite network in about a minute, chaos in about two, if all goes well; each knows its suite."""
    found = [built_in(name) for name in BUILT_IN]
    assert [experiment.name for experiment in found] == list(BUILT_IN)
    assert all(experiment.does and experiment.why and experiment.expectation for experiment in found)
    for name, bound in (("network", 60.0), ("chaos", 120.0)):
        mine = [experiment for experiment in found if experiment.suite == name]
        usual = sum(e.steady.before_s + e.faults_end_s + e.recovery.watch_s for e in mine)
        assert usual <= bound
        suite = load_suite(name)
        assert not suite.quick
        assert [case.id for case in suite] == [f"{name}.{experiment.name}" for experiment in mine]
    processes = [e for e in found if any(step.process is not None for step in e.faults)]
    assert all(Need.CONTROL in experiment.needs for experiment in processes)


def test_the_page_tells_of_every_experiment(root: Path) -> None:
    """In the words of the experiment itself."""
    text = (root / "docs" / "testkit" / "chaos.md").read_text(encoding="utf-8")
    for name in BUILT_IN:
        experiment = built_in(name)
        assert f"| {experiment.suite} | `{name}` | {experiment.does} | {experiment.why} |" in text
