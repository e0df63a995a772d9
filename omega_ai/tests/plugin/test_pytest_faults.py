"""The fixtures and the marker of faults, in a project of their own."""

from __future__ import annotations

import sys

import pytest

from omega_ai.tests.plugin.test_pytest_plugin import SERVER

pytest_plugins = ["pytester"]

TEST = """
import pytest
from omega_ai.testkit.assertions import assert_delivered

def test_straight(ws):
    assert ws.connect("alice").ping(within=30.0) is not None

def test_late(ws, fault_proxy):
    client = ws.connect("alice")
    toxic = fault_proxy.add("latency", latency=300)
    assert client.ping(within=30.0) >= 0.3
    fault_proxy.remove(toxic)
    assert fault_proxy.connections == 1
    assert fault_proxy.reset() == 1

@pytest.mark.ws_network("satellite")
def test_far_away(ws):
    client = ws.connect("alice", within=60.0)
    assert client.ping(within=60.0) >= 0.5

def test_what_there_is(ws_networks):
    assert {"3g", "lte", "transatlantic", "satellite"} <= set(ws_networks)
"""
WRONG = """
import pytest

@pytest.mark.ws_network("carrier pigeon")
def test_wrong(ws):
    pass
"""


@pytest.fixture(autouse=True)
def only_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other plugins take longer to load than the tests take to run."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest -p no:playwright -p no:pytest_cov")


def test_faults_are_between_the_tests_clients_and_the_server(pytester: pytest.Pytester) -> None:
    """Only where they were asked for; a link that does not exist is said with those that do."""
    pytester.makefile(".py", server=SERVER)
    pytester.makepyfile(test_right=TEST, test_wrong=WRONG)
    result = pytester.runpytest_subprocess(
        "--ws-server", f"{sys.executable} server.py {{port}} 0", "--ws-profile", "echo", "--strict-markers"
    )
    outcomes = result.parseoutcomes()
    assert (outcomes.get("passed"), outcomes.get("errors")) == (4, 1), result.stdout.str()
    result.stdout.fnmatch_lines(["*there is no network 'carrier pigeon'; there are *3g*"])
