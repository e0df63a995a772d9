"""What a worker notes while it runs: the window under way, and all windows together.

Hot paths write into these attributes directly; a method call for each message would cost more than the
noting.
"""

from __future__ import annotations

import resource
from collections import defaultdict
from pathlib import Path
from typing import Final

from omega_ai.core.histogram import LARGEST, Histogram
from omega_ai.testkit.load.tally import Counts, Window, add_window, empty_window

LAG_BITS: Final = 13
"""Lags are noted in steps of so many bits of a nanosecond: 8 microseconds."""
KINDS_LIMIT: Final = 100
"""Kinds of error that are told apart; more are counted as ``other``."""
EXAMPLE_LIMIT: Final = 300


class Cells:
    """A histogram under way. Who records adds to ``cells`` (see ``core.histogram.cell_of``) and to the
    rest."""

    __slots__ = ("cells", "maximum", "minimum", "total")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Start anew."""
        self.cells: defaultdict[int, int] = defaultdict(int)
        self.total = 0
        self.minimum = LARGEST
        self.maximum = 0

    def record(self, value: int) -> None:
        """One value, where speed does not matter."""
        value = min(max(value, 0), LARGEST)
        shift = value.bit_length() - 11
        self.cells[value if shift <= 0 else (shift << 10) + (value >> shift)] += 1
        self.total += value
        self.minimum = min(self.minimum, value)
        self.maximum = max(self.maximum, value)

    def take(self) -> Histogram:
        """What was recorded, and start anew."""
        count = sum(self.cells.values())
        histogram = (
            Histogram(dict(self.cells), count, self.total, self.minimum, self.maximum)
            if count
            else Histogram()
        )
        self.clear()
        return histogram


class Recorder:
    """Of one worker."""

    def __init__(self, window_ns: int) -> None:
        self.window_ns = window_ns
        self.ends = window_ns
        """When the window under way ends: ns since the start."""
        self.counts = Counts()
        self.latency = Cells()
        self.service = Cells()
        self.connect = Cells()
        self.age = Cells()
        self.spare = Cells()
        """For what is not to count: clients that are not ``timed``."""
        self.send_lags: defaultdict[int, int] = defaultdict(int)
        self.loop_lags: defaultdict[int, int] = defaultdict(int)
        self.errors: dict[str, int] = {}
        self.closes: dict[int, int] = {}
        self.examples: dict[str, str] = {}
        self.open = 0
        self.most_open = 0
        self.backlog = 0
        """Bytes that wait in our backlogs."""
        self.total = empty_window(0.0, 0.0)
        self._cpu = self.cpu_started = cpu_seconds()

    def restart(self) -> None:
        """The run begins: the CPU that was used until now was for getting ready."""
        self._cpu = self.cpu_started = cpu_seconds()

    def error(self, kind: str) -> None:
        """Count an error."""
        if kind not in self.errors and len(self.errors) >= KINDS_LIMIT:
            kind = "other"
        self.errors[kind] = self.errors.get(kind, 0) + 1

    def example(self, kind: str, text: str) -> None:
        """Keep the first of its kind."""
        if kind not in self.examples and len(self.examples) < KINDS_LIMIT:
            self.examples[kind] = text[:EXAMPLE_LIMIT]

    def roll(self, now: int) -> Window:
        """End the window at ``now`` (ns since the start), and begin the next one."""
        start = self.ends - self.window_ns
        cpu = cpu_seconds()
        length = max(1, min(now, self.ends) - start) / 1e9
        window = Window(
            start_s=start / 1e9,
            duration_s=length,
            counts=self.counts,
            latency=self.latency.take(),
            service=self.service.take(),
            connect=self.connect.take(),
            send_lag=_lags(self.send_lags),
            loop_lag=_lags(self.loop_lags),
            age=self.age.take(),
            errors=self.errors,
            closes=self.closes,
            open=self.open,
            backlog_bytes=self.backlog,
            cpu_s=cpu - self._cpu,
            busiest_cpu=(cpu - self._cpu) / length,
            rss_bytes=rss_bytes(),
        )
        self.spare.clear()
        self._cpu = cpu
        self.counts = Counts()
        self.send_lags = defaultdict(int)
        self.loop_lags = defaultdict(int)
        self.errors, self.closes = {}, {}
        self.ends += self.window_ns
        add_window(self.total, window)
        return window


def _lags(lags: dict[int, int]) -> Histogram:
    """Steps of ``2 ** LAG_BITS`` ns as a histogram; of each step its middle."""
    histogram = Histogram()
    for step, times in lags.items():
        histogram.record((step << LAG_BITS) + (1 << (LAG_BITS - 1)), times)
    return histogram


def cpu_seconds() -> float:
    """CPU seconds of this process, user and kernel."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def rss_bytes() -> int:
    """Memory of this process; at its highest, where the system does not tell the present one."""
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * resource.getpagesize()
