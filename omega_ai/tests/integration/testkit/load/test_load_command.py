"""``omega load``, as people run it."""

from __future__ import annotations

import json
import socket
from xml.etree import ElementTree as ET

import pytest

from omega_ai.cli.app import main
from omega_ai.testkit.result import RunResult
from omega_ai.tests.integration.testkit.load.server import Behaviour, serving
from omega_ai.tests.integration.testkit.test_command import omega

CALM = ("--duration", "0.5s", "--seed", "7", "--lag-limit", "10s")


async def test_a_right_server_passes_and_every_report_is_written(tmp_path):
    """Without a profile: it finds out that the server echoes. Standard output is JSON and nothing else."""
    async with serving() as (url, _):
        code, output, errors = await omega(
            "load",
            url,
            *CALM,
            "--clients",
            "5",
            "--rate",
            "200",
            "--json",
            "-",
            "--report-dir",
            str(tmp_path),
        )
    assert code == 0, errors
    assert "100 of 100 delivered" in errors
    assert "200.0/s asked for" in errors
    assert "\x1b" not in errors
    result = RunResult.from_json(output.encode())
    assert result.seed == 7
    assert result.histograms["latency"].count == 100
    assert {case.id for case in result.cases} >= {"load.delivery", "load.connections"}
    assert ET.parse(tmp_path / "junit.xml").getroot().get("failures") == "0"
    assert (tmp_path / "report.html").stat().st_size > 1000
    assert (tmp_path / "latency.hgrm").exists()


async def test_faults_are_in_every_report(tmp_path):
    """On the terminal, in JSON, JUnit and the page; with what the proxy added."""
    async with serving() as (url, _):
        code, _, errors = await omega(
            "load",
            url,
            *("--duration", "1.5s", "--seed", "7", "--lag-limit", "10s", "--profile", "echo"),
            *("--clients", "4", "--rate", "100", "--report-dir", str(tmp_path)),
            *("--fault", "latency:latency=100,name=far at 0.5s for 0.6s"),
            *("--threshold", "fault far: latency.max > 1ms"),
        )
    assert code == 0, errors
    assert "4 connections went through a fault proxy" in errors
    assert "far: 0." in errors
    result = RunResult.from_json((tmp_path / "result.json").read_bytes())
    assert [window.name for window in result.fault_windows] == ["far"]
    assert [item.where for item in result.thresholds] == ["fault far"]
    junit = ET.parse(tmp_path / "junit.xml")
    properties = {node.get("name"): node.get("value", "") for node in junit.iter("property")}
    assert "latency (latency 100), downstream" in properties["fault far"]
    page = (tmp_path / "report.html").read_text()
    assert "<h2>Faults</h2>" in page
    assert (tmp_path / "result.json").stat().st_size < 60_000


async def test_a_server_that_loses_fails():
    async with serving(Behaviour(lose=0.2)) as (url, _):
        code, _, errors = await omega("load", url, *CALM, "--profile", "echo", "--rate", "100")
    assert code == 1, errors
    assert "lost" in errors


async def test_a_rate_that_cannot_be_reached_proves_nothing(tmp_path):
    async with serving() as (url, _):
        target = tmp_path / "result.json"
        code, _, errors = await omega(
            "load", url, "--duration", "0.2s", "--profile", "echo", "--rate", "5M", "--json", str(target)
        )
    assert code == 2, errors
    assert any("did not get to" in reason for reason in json.loads(target.read_bytes())["invalid"])


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["http://x/"], "ws://"),
        (["ws://x/", "--profile", "echo", "--rate", "fast"], "no rate"),
        (["ws://x/", "--profile", "echo", "--threshold", "latency"], "latency"),
        (["ws://x/", "--profile", "echo", "--shard", "1/2"], "--seed"),
        (["ws://x/", "--profile", "coinbase", "--publishers", "1"], "passed on"),
        (["ws://x/", "--profile", "echo", "--shape", "zigzag"], "constant"),
        (["ws://x/", "--scenario", "no-such", "--profile", "echo"], "no-such"),
        (["ws://x/", "--profile", "echo", "--fault", "latency:latency=1"], "at 10s for 5s"),
        (["ws://x/", "--profile", "echo", "--fault", "pause for 1s"], "--server-pid"),
        (["ws://x/", "--profile", "echo", "--fault", "reset for 1h"], "ends after the run"),
        (["ws://x/", "--profile", "echo", "--fault", "reset for 1s", "--stress"], "break nothing"),
    ],
)
def test_mistakes_are_told_before_anything_is_done(arguments, word, capsys):
    assert main(["load", *arguments]) == 3
    shown = capsys.readouterr()
    assert shown.out == ""
    assert word in shown.err


def test_nobody_there_is_no_verdict_on_a_server(capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"ws://127.0.0.1:{free.getsockname()[1]}/"
        assert main(["load", nobody, "--profile", "echo", "--duration", "0.2s"]) == 3
        assert "connection refused" in capsys.readouterr().err
        behind = ["load", nobody, "--profile", "echo", "--duration", "0.5s", "--fault", "noop for 0.2s"]
        assert main(behind) == 3
        assert "no connection came about" in capsys.readouterr().err
