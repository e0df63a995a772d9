"""The generators that are compared: how each is started, and what it says at its end."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.load.workbench import RIVALS, Workbench


@dataclass(frozen=True)
class Task:
    """What each is to do."""

    url: str
    clients: int
    rate: float
    """Messages a second on each connection."""
    seconds: float
    directory: Path
    """For its files."""


@dataclass
class Said:
    """What it said."""

    p95_ms: float | None = None
    p99_ms: float | None = None
    verdict: str = ""
    more: dict[str, object] = field(default_factory=dict)


class Contender:
    """One generator."""

    name = ""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench

    def start(self, task: Task) -> subprocess.Popen[str]:
        """Start it."""
        raise NotImplementedError

    def said(self, task: Task, process: subprocess.Popen[str], output: str) -> Said:
        """What it said, once it has ended."""
        raise NotImplementedError


class Omega(Contender):
    """Ours."""

    name = "omega load"

    def start(self, task: Task) -> subprocess.Popen[str]:
        """See ``Contender``."""
        command = [sys.executable, "-m", "omega_ai", "load", task.url, "--profile", "echo"]
        command += ["--clients", str(task.clients), "--rate", str(task.rate * task.clients), "--seed", "1"]
        command += ["--duration", f"{task.seconds}s", "--json", str(task.directory / "omega.json")]
        return _popen(command, {})

    def said(self, task: Task, process: subprocess.Popen[str], output: str) -> Said:
        """See ``Contender``."""
        from omega_ai.testkit.load.record import LoadRecord
        from omega_ai.testkit.result import RunResult

        result = RunResult.from_json((task.directory / "omega.json").read_bytes())
        latency = result.histograms.get("latency")
        delivery = LoadRecord.from_builtins(result.load).tally.delivery()
        words = {0: "pass", 1: "FAIL", 2: "invalid"}
        return Said(
            p95_ms=None if latency is None else latency.percentile(95) / 1e6,
            p99_ms=None if latency is None else latency.percentile(99) / 1e6,
            verdict=f"{words.get(process.returncode, '?')} (exit {process.returncode})",
            more={
                "lost": delivery.lost,
                "doubled": delivery.duplicated,
                "swapped": delivery.reordered,
                "corrupted": delivery.corrupted,
                "invalid": "; ".join(result.invalid),
            },
        )


class K6(Contender):
    """k6, with its WebSocket module and a script that times each message as well as it can."""

    name = "k6"

    def start(self, task: Task) -> subprocess.Popen[str]:
        """See ``Contender``."""
        command = [str(self.bench.rival("k6")), "run", "--quiet", "--no-usage-report"]
        command += ["--summary-export", str(task.directory / "k6.json"), str(RIVALS / "k6.js")]
        variables = {"URL": task.url, "VUS": task.clients, "RATE": task.rate, "SECONDS": task.seconds}
        return _popen(command, variables)

    def said(self, task: Task, process: subprocess.Popen[str], output: str) -> Said:
        """See ``Contender``."""
        try:
            latency = json.loads((task.directory / "k6.json").read_text())["metrics"]["latency"]
        except (OSError, ValueError, KeyError):
            latency = {}
        return Said(latency.get("p(95)"), latency.get("p(99)"), f"exit {process.returncode}")


class Locust(Contender):
    """Locust, with a user that sends and waits for its answer."""

    name = "Locust"

    def start(self, task: Task) -> subprocess.Popen[str]:
        """See ``Contender``."""
        command = [str(self.bench.rival("locust")), "-f", str(RIVALS / "locustfile.py"), "--headless"]
        command += [
            "-u",
            str(task.clients),
            "-r",
            str(max(50, task.clients // 5)),
            "-t",
            f"{task.seconds + 1:.0f}s",
        ]
        command += ["--csv", str(task.directory / "locust"), "--only-summary", "--host", "http://unused"]
        return _popen(command, {"URL": task.url, "RATE": task.rate})

    def said(self, task: Task, process: subprocess.Popen[str], output: str) -> Said:
        """See ``Contender``."""
        try:
            with (task.directory / "locust_stats.csv").open() as file:
                row = next(line for line in csv.DictReader(file) if line["Name"] == "Aggregated")
        except (OSError, StopIteration):
            return Said(verdict=f"exit {process.returncode}")
        return Said(
            _number(row["95%"]),
            _number(row["99%"]),
            f"{row['Failure Count']} failures (exit {process.returncode})",
        )


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[0-9.]+", text) else None


def _popen(command: list[str], variables: dict[str, object]) -> subprocess.Popen[str]:
    environment = os.environ | {name: str(value) for name, value in variables.items()}
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    )


CONTENDERS: dict[str, type[Contender]] = {"omega": Omega, "k6": K6, "locust": Locust}
