"""Stretches of a run made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omega_ai.core.histogram import Histogram
from omega_ai.testkit.load.measured import Measured
from omega_ai.testkit.result import TimeSeries

MS = 1_000_000


def stretch(start_s: float, end_s: float, latencies_ms: Sequence[float] = (), **more: Any) -> Measured:
    """A window with these latencies."""
    times = {}
    if latencies_ms:
        times["latency"] = Histogram.of([round(value * MS) for value in latencies_ms])
    name = more.pop("name", f"window {start_s:g}-{end_s:g} s")
    return Measured(name=name, start_s=start_s, end_s=end_s, times=times, **more)


def series(name: str, values: Sequence[float], step_s: float = 1.0, unit: str = "B") -> TimeSeries:
    """Values, one each ``step_s`` seconds."""
    return TimeSeries(name=name, unit=unit, points=tuple((n * step_s, v) for n, v in enumerate(values)))
