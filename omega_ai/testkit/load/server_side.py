"""The server's side of a load run: what its processes take, as far as the system shows it.

On Linux from /proc, the process and its children together; elsewhere from ``ps``, which knows memory and
processor time alone; of a server on another machine from what it tells Prometheus (``prometheus_side``).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from msgspec import Struct

from omega_ai.testkit.result import TimeSeries

MAX_POINTS: Final = 4000
"""Of one series; when there are more, neighbours are averaged."""
MAX_PROCESSES: Final = 1000
PS_SECONDS: Final = 5.0

SEEN: Final = ("rss", "pss", "cpu", "descriptors", "threads", "switches")
"""What a look at a server may show."""

UNITS: Final = {
    "rss": "B",
    "pss": "B",
    "cpu": "cores",
    "descriptors": "open",
    "threads": "threads",
    "switches": "1/s",
    "processes": "processes",
}


class Unseen(Exception):
    """Nothing can be read of the server; ``str(error)`` says why."""


class Reading(Struct, frozen=True, kw_only=True):
    """What was read at one moment. What is absent could not be had."""

    gauges: Mapping[str, float]
    """Levels: ``rss``, ``descriptors`` ..."""
    counters: Mapping[str, float]
    """Sums that only grow while a process lives: ``cpu`` in seconds, ``switches``."""


class Source(Protocol):
    """Where readings come from."""

    absent: dict[str, str]
    """What cannot be had, and why."""

    def read(self) -> Reading:
        """Read now.

        Raises:
            Unseen: it cannot be read, such as when the process has ended.
        """
        ...


class ProcessTree:
    """A process and its children, by /proc."""

    def __init__(self, pid: int, proc: Path = Path("/proc")) -> None:
        self.pid = pid
        self.absent: dict[str, str] = {}
        self._proc = proc
        self._ended_cpu = 0.0
        self._ended_switches = 0.0
        self._last: dict[tuple[int, int], tuple[float, float]] = {}
        self._tick = 1.0 / os.sysconf("SC_CLK_TCK")
        self._page = os.sysconf("SC_PAGE_SIZE")

    def read(self) -> Reading:
        """See ``Source``. What children had used when they ended stays counted."""
        totals: dict[str, float] = {"rss": 0.0, "threads": 0.0, "processes": 0.0}
        optional: dict[str, float] = {"pss": 0.0, "descriptors": 0.0}
        alive: dict[tuple[int, int], tuple[float, float]] = {}
        for pid in self.pids():
            try:
                stat = parse_stat((self._proc / str(pid) / "stat").read_text(errors="replace"))
            except (OSError, ValueError):
                if pid == self.pid:
                    raise Unseen(f"the process {self.pid} has ended, or is not to be seen") from None
                continue  # a child that ended meanwhile
            totals["rss"] += stat.rss_pages * self._page
            totals["threads"] += stat.threads
            totals["processes"] += 1
            for name, take in (("pss", self._pss), ("descriptors", self._descriptors)):
                if name in self.absent:
                    continue
                try:
                    optional[name] += take(pid)
                except PermissionError:
                    self.absent[name] = f"the process {pid} belongs to another user"
                except OSError:
                    if pid == self.pid and name == "pss":
                        self.absent[name] = "this system does not tell it"
            alive[pid, stat.started] = (stat.cpu_ticks * self._tick, self._switches(pid))
        for key, (cpu, switches) in self._last.items():
            if key not in alive:
                self._ended_cpu += cpu
                self._ended_switches += switches
        self._last = alive
        totals |= {name: value for name, value in optional.items() if name not in self.absent}
        return Reading(
            gauges=totals,
            counters={
                "cpu": self._ended_cpu + sum(cpu for cpu, _ in alive.values()),
                "switches": self._ended_switches + sum(switches for _, switches in alive.values()),
            },
        )

    def pids(self) -> list[int]:
        """The process, and all that descend from it."""
        if not (self._proc / str(self.pid)).is_dir():
            raise Unseen(f"there is no process {self.pid}")
        found = [self.pid]
        children = self._children_files if self._lists_children() else self._children_by_parent()
        for pid in found:  # grows meanwhile
            found += children(pid) if callable(children) else children.get(pid, [])
            if len(found) > MAX_PROCESSES:
                break
        return found[:MAX_PROCESSES]

    def _lists_children(self) -> bool:
        return (self._proc / str(self.pid) / "task" / str(self.pid) / "children").exists()

    def _children_files(self, pid: int) -> list[int]:
        found: list[int] = []
        try:
            for task in (self._proc / str(pid) / "task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except OSError:
            pass
        return found

    def _children_by_parent(self) -> dict[int, list[int]]:
        """For kernels that do not list children: every process says who its parent is."""
        found: dict[int, list[int]] = {}
        for entry in self._proc.iterdir():
            if entry.name.isdecimal():
                try:
                    parent = parse_stat((entry / "stat").read_text(errors="replace")).parent
                except (OSError, ValueError):
                    continue
                found.setdefault(parent, []).append(int(entry.name))
        return found

    def _pss(self, pid: int) -> float:
        return parse_pss((self._proc / str(pid) / "smaps_rollup").read_text())

    def _descriptors(self, pid: int) -> int:
        return len(os.listdir(self._proc / str(pid) / "fd"))  # noqa: PTH208 - names alone, and often

    def _switches(self, pid: int) -> float:
        total = 0
        try:
            for task in (self._proc / str(pid) / "task").iterdir():
                total += parse_switches((task / "status").read_text(errors="replace"))
        except OSError:
            pass  # a thread that ended meanwhile
        return float(total)


class Stat(Struct, frozen=True):
    """What is used of /proc/PID/stat (proc(5))."""

    parent: int
    cpu_ticks: int
    threads: int
    started: int
    """Clock ticks since boot: tells two processes of one number apart."""
    rss_pages: int


def parse_stat(text: str) -> Stat:
    """The fields after the name, which may hold anything, even spaces and brackets.

    Raises:
        ValueError: it is no such line.
    """
    _, bracket, rest = text.rpartition(")")
    fields = rest.split()
    if not bracket or len(fields) < 22:
        raise ValueError("no line of /proc/PID/stat")
    return Stat(
        parent=int(fields[1]),
        cpu_ticks=int(fields[11]) + int(fields[12]),
        threads=int(fields[17]),
        started=int(fields[19]),
        rss_pages=int(fields[21]),
    )


def parse_pss(text: str) -> float:
    """Bytes, of /proc/PID/smaps_rollup; 0 if it does not say (a process that is ending)."""
    match = re.search(r"^Pss:\s+(\d+) kB$", text, re.MULTILINE)
    return 0.0 if match is None else float(match[1]) * 1024


def parse_switches(text: str) -> int:
    """Context switches, wanted and not, of /proc/PID/task/TID/status."""
    return sum(map(int, re.findall(r"^(?:non)?voluntary_ctxt_switches:\s+(\d+)$", text, re.MULTILINE)))


class PsTree:
    """A process and its children by ``ps``, for systems without /proc, such as macOS."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        system = "macOS" if sys.platform == "darwin" else "this system"
        self.absent = dict.fromkeys(
            ("pss", "descriptors", "threads", "switches"), f"{system} does not tell it cheaply"
        )

    def read(self) -> Reading:
        """See ``Source``."""
        command = ["ps", "-axo", "pid=,ppid=,rss=,time="]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PS_SECONDS, check=True)  # noqa: S603
        except (OSError, subprocess.SubprocessError) as error:
            raise Unseen(f"ps cannot be run: {error}") from None
        return parse_ps(done.stdout, self.pid)


def parse_ps(text: str, pid: int) -> Reading:
    """Lines of number, parent, resident KiB and processor time, of all processes.

    Raises:
        Unseen: ``pid`` is not among them.
    """
    rows: dict[int, tuple[int, float, float]] = {}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) == 4:
            rows[int(fields[0])] = (int(fields[1]), float(fields[2]) * 1024, _cpu_seconds(fields[3]))
    if pid not in rows:
        raise Unseen(f"there is no process {pid}")
    tree = [pid]
    for parent in tree:
        tree += [number for number, row in rows.items() if row[0] == parent and number not in tree]
    return Reading(
        gauges={"rss": sum(rows[number][1] for number in tree), "processes": float(len(tree))},
        counters={"cpu": sum(rows[number][2] for number in tree)},
    )


def _cpu_seconds(text: str) -> float:
    """``[[days-]hours:]minutes:seconds``."""
    days, _, clock = text.rpartition("-")
    seconds = 0.0
    for part in clock.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds + float(days or 0) * 86_400


def process_source(pid: int) -> Source:
    """How a process is read on this system."""
    return ProcessTree(pid) if Path("/proc/self/stat").exists() else PsTree(pid)


class Recorder:
    """Makes series of readings, in bounded memory."""

    def __init__(self) -> None:
        self._points: dict[str, list[tuple[float, float]]] = {}
        self._last: tuple[float, Mapping[str, float]] | None = None
        self._units: dict[str, str] = {}

    def add(self, at_s: float, reading: Reading) -> None:
        """A reading at ``at_s``, later than those before."""
        for name, value in reading.gauges.items():
            self._note(name, at_s, value)
        if self._last is not None and at_s > self._last[0]:
            before_s, before = self._last
            for name, value in reading.counters.items():
                grown = value - before.get(name, value)
                if grown >= 0:  # else the server began anew
                    self._note(name, at_s, grown / (at_s - before_s), "1/s")
        self._last = (at_s, reading.counters)

    def _note(self, name: str, at_s: float, value: float, unit: str = "") -> None:
        points = self._points.setdefault(name, [])
        self._units.setdefault(name, UNITS.get(name, unit))
        points.append((at_s, value))
        if len(points) > MAX_POINTS:
            pairs = zip(points[::2], points[1::2], strict=False)
            rest = points[-1:] if len(points) % 2 else []
            self._points[name] = [((a[0] + b[0]) / 2, (a[1] + b[1]) / 2) for a, b in pairs] + rest

    def series(self, shift_s: float = 0.0) -> list[TimeSeries]:
        """All of them; times moved by ``shift_s``, and those before zero left out."""
        return [
            TimeSeries(
                name=name,
                unit=self._units[name],
                points=tuple((at + shift_s, value) for at, value in points if at + shift_s >= 0),
            )
            for name, points in self._points.items()
        ]
