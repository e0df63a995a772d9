"""The generators that are compared: how each is started, and what it says at its end."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.load.workbench import RIVALS, Unavailable, Workbench


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
    clock: dict[str, str] = field(default_factory=dict)
    """Variables that give it a wall clock of its own; see ``Workbench.clock``."""


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
    asks_libc = True
    """Whether it gets the time from libc, so that it can be given another."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench

    def prepare(self) -> None:
        """Install what it needs.

        Raises:
            Unavailable: it cannot be had here.
        """

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
        return _popen(command, task.clock)

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
    asks_libc = False

    def prepare(self) -> None:
        """See ``Contender``."""
        self.bench.rival("k6")

    def start(self, task: Task) -> subprocess.Popen[str]:
        """See ``Contender``."""
        command = [str(self.bench.rival("k6")), "run", "--quiet", "--no-usage-report"]
        command += ["--summary-export", str(task.directory / "k6.json"), str(RIVALS / "k6.js")]
        variables = {"URL": task.url, "VUS": task.clients, "RATE": task.rate, "SECONDS": task.seconds}
        return _popen(command, variables | task.clock)

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

    def prepare(self) -> None:
        """See ``Contender``."""
        self.bench.rival("locust")

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
        return _popen(command, {"URL": task.url, "RATE": task.rate} | task.clock)

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


class Artillery(Contender):
    """Artillery: each user sends, waits for the answer, compares it, and then for the rest of its period."""

    name = "Artillery"

    def prepare(self) -> None:
        """See ``Contender``."""
        self.bench.node_package("artillery")

    def start(self, task: Task) -> subprocess.Popen[str]:
        """See ``Contender``."""
        node, package = self.bench.node_package("artillery")
        talk = [
            {"function": "begin"},
            {"send": {"payload": {"n": "{{ number }}", "pad": "x" * 35},
                      "match": {"json": "$.n", "value": "{{ number }}"}}},
            {"function": "end"},
            {"think": 1 / task.rate},
        ]  # fmt: skip
        script = {
            "config": {
                "target": task.url,
                "processor": str(RIVALS / "artillery.cjs"),
                "phases": [{"duration": max(1, task.clients // 1000), "arrivalCount": task.clients}],
            },
            "scenarios": [
                {"engine": "ws", "flow": [{"loop": talk, "count": max(1, round(task.rate * task.seconds))}]}
            ],
        }
        path = task.directory / "artillery.json"
        path.write_text(json.dumps(script))
        command = [str(node), str(package / "bin" / "run"), "run", str(path)]
        command += ["--output", str(task.directory / "artillery-report.json")]
        return _popen(command, {"ARTILLERY_DISABLE_TELEMETRY": "true"} | task.clock)

    def said(self, task: Task, process: subprocess.Popen[str], output: str) -> Said:
        """See ``Contender``."""
        path = task.directory / "artillery-report.json"
        if not path.exists():
            return Said(verdict=f"broke off, without a report (exit {process.returncode})")
        report = json.loads(path.read_text())["aggregate"]
        path.unlink()
        latency = report.get("summaries", {}).get("latency", {})
        failed = report.get("counters", {}).get("vusers.failed", 0)
        return Said(
            latency.get("p95"), latency.get("p99"), f"{failed} users failed (exit {process.returncode})"
        )


class Tsung(Contender):
    """tsung: the same with Erlang processes. Of times it tells the mean, no percentile."""

    name = "tsung"

    def prepare(self) -> None:
        """See ``Contender``."""
        if shutil.which("tsung") is None:
            raise Unavailable("not on the PATH (Debian: apt-get install tsung)")

    def start(self, task: Task) -> subprocess.Popen[str]:
        """See ``Contender``."""
        port = urlsplit(task.url).port
        count = max(1, round(task.rate * task.seconds))
        arrival = max(1.0, task.clients / 1000)
        path = task.directory / "tsung.xml"
        path.write_text(f"""<?xml version="1.0"?>
<!DOCTYPE tsung SYSTEM "/usr/share/tsung/tsung-1.0.dtd">
<tsung loglevel="warning" version="1.0">
  <clients><client host="localhost" use_controller_vm="true" maxusers="40000"/></clients>
  <servers><server host="127.0.0.1" port="{port}" type="tcp"/></servers>
  <load>
    <arrivalphase phase="1" duration="{arrival + 1:.0f}" unit="second">
      <users maxnumber="{task.clients}" arrivalrate="{task.clients / arrival:.0f}" unit="second"/>
    </arrivalphase>
  </load>
  <options><option name="ports_range" min="1025" max="65535"/></options>
  <sessions>
    <session name="echo" probability="100" type="ts_websocket">
      <request><websocket type="connect" path="/"/></request>
      <for from="1" to="{count}" var="n">
        <request subst="true"><websocket type="message" frame="text">%%_n%%:{"x" * 45}</websocket></request>
        <thinktime value="{1 / task.rate:.4f}"/>
      </for>
      <request><websocket type="close"/></request>
    </session>
  </sessions>
</tsung>
""")
        logs = task.directory / f"tsung-{time.monotonic_ns()}"
        logs.mkdir()
        self._logs = logs
        command = ["tsung", "-f", str(path), "-l", str(logs), "-w", "0", "start"]
        return _popen(command, {"HOME": str(task.directory)} | task.clock)

    def said(self, task: Task, process: subprocess.Popen[str], output: str) -> Said:
        """See ``Contender``."""
        rows = [
            line.split()
            for log in self._logs.rglob("tsung.log")
            for line in log.read_text().splitlines()
            if line.startswith("stats: request ")
        ]
        # "stats: request COUNT MEAN DEVIATION MAX MIN MEAN_SO_FAR COUNT_SO_FAR": milliseconds, every 10 s.
        count = sum(int(row[2]) for row in rows)
        mean = sum(int(row[2]) * float(row[3]) for row in rows) / count if count else None
        words = "no percentile" if mean is None else f"mean {mean:.1f} ms, no percentile"
        return Said(verdict=f"{words} (exit {process.returncode})")


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[0-9.]+", text) else None


def _popen(command: list[str], variables: Mapping[str, object]) -> subprocess.Popen[str]:
    environment = os.environ | {name: str(value) for name, value in variables.items()}
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )


CONTENDERS: dict[str, type[Contender]] = {
    "omega": Omega,
    "k6": K6,
    "locust": Locust,
    "artillery": Artillery,
    "tsung": Tsung,
}
