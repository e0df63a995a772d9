"""``omega test --experiment FILE --start COMMAND``: a user's own server is killed, and started again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from omega_ai.cli.chaos import experiments
from omega_ai.cli.exit_codes import UsageError
from omega_ai.tests.plugin.test_pytest_plugin import SERVER

KILL = """
name = "killed"
title = "It is killed"
needs = ["control"]
[load]
clients = 3
rate = 20.0
patience_s = 20.0
[steady]
before_s = 0.3
latency_ms = 20000.0
[recovery]
within_s = 60.0
watch_s = 0.5
[[fault]]
name = "kill"
process = "kill"
for_s = 0.2
"""


def test_the_users_server_is_killed_and_comes_back(tmp_path: Path) -> None:
    """Whatever was on its way is told, and laid to the fault."""
    (tmp_path / "server.py").write_text(SERVER)
    (tmp_path / "killed.toml").write_text(KILL)
    command = [
        *(sys.executable, "-m", "omega_ai", "test", "ws://127.0.0.1:{port}/", "--profile", "echo"),
        *("--start", f"{sys.executable} {tmp_path / 'server.py'} {{port}} 0"),
        *("--experiment", str(tmp_path / "killed.toml"), "--seed", "3", "--json", "-"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [window["name"] for window in result["fault_windows"]] == ["kill"]
    (case,) = result["suites"][0]["cases"]
    assert case["id"] == "experiment.killed"
    assert case["figures"]["recovery_ms"] >= 0
    assert {series["unit"] for series in result["series"]} == {
        "ms",
        "messages/s",
        "connections",
        "anomalies",
    }
    assert "--start" in result["command"]


def test_an_experiment_that_is_none_is_said_before_anything_starts(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('name = "bad"\ntitle = "Bad"')
    with pytest.raises(UsageError, match="without a"):
        experiments((str(path),))
    with pytest.raises(UsageError, match="half-open-nat"):
        experiments(("nowhere.toml",))
    (suite,) = experiments(("crash,refused",))
    assert [case.id for case in suite] == ["experiment.crash", "experiment.refused"]
    assert experiments(()) == []
