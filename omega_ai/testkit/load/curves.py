"""What a load run looked like over time, and as distributions: for reports. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from omega_ai.core.histogram import Histogram
from omega_ai.testkit.load.tally import Tally, Window
from omega_ai.testkit.result import Distribution, TimeSeries

LEAST_COUNT: Final = 20
"""Messages that a window must have for its 99th percentile to be a value of the series."""
HISTOGRAMS: Final = {
    "latency": "latency",
    "service": "service time",
    "connect": "connecting",
    "age": "age of messages",
    "send_lag": "generator: sent late by",
    "loop_lag": "generator: read late by",
}
"""Histograms of a window, and what a report calls them."""


def distribution(histogram: Histogram, unit: str = "ns") -> Distribution:
    """For reports; the counts are the same."""
    return Distribution(
        unit=unit,
        count=histogram.count,
        minimum=histogram.minimum,
        maximum=histogram.maximum,
        mean=histogram.mean,
        buckets=tuple(histogram.buckets()),
    )


def histograms(window: Window) -> dict[str, Distribution]:
    """Those that are not empty, by their names in reports."""
    return {
        title: distribution(histogram)
        for name, title in HISTOGRAMS.items()
        if (histogram := getattr(window, name))
    }


def worth_showing(series: TimeSeries) -> bool:
    """Not that there is one process, all the time."""
    return series.name != "processes" or any(value != 1 for _, value in series.points)


def named(series: TimeSeries) -> TimeSeries:
    """A series of the server, as a report calls it."""
    return msgspec.structs.replace(series, name=f"server {series.name}")


def curves(tally: Tally) -> list[TimeSeries]:
    """Of every window: latency, rates, connections, and the generator's own cost."""
    points: dict[tuple[str, str], list[tuple[float, float]]] = {}

    def note(name: str, unit: str, at: float, value: float | None) -> None:
        if value is not None:
            points.setdefault((name, unit), []).append((round(at, 6), float(f"{value:.6g}")))

    for window in tally.windows:
        at, length = window.start_s, window.duration_s
        for percent in (50, 99, 100):
            value = window.latency.percentile(percent)
            name = "latency max" if percent == 100 else f"latency p{percent}"
            note(name, "ms", at, None if value is None else value / 1e6)
        connecting = window.connect.percentile(99)
        note("connecting p99", "ms", at, None if connecting is None else connecting / 1e6)
        counts = window.counts
        note("due", "messages/s", at, counts.intended / length)
        note("sent", "messages/s", at, counts.sent / length)
        note("received", "messages/s", at, counts.received / length)
        note("open", "connections", at, float(window.open))
        for name, count in (("refused", counts.refused), ("closed", counts.dropped)):
            if getattr(tally.total.counts, {"closed": "dropped"}.get(name, name)):
                note(name, "connections/s", at, count / length)
        note("generator", "cores", at, window.cpu_s / length)
        note("generator rss", "B", at, float(window.rss_bytes))
    return [TimeSeries(name=name, unit=unit, points=tuple(found)) for (name, unit), found in points.items()]


def p99_series(tally: Tally) -> TimeSeries:
    """The 99th percentile of every window with enough messages, in ns."""
    points = tuple(
        (window.start_s, float(value))
        for window in tally.windows
        if window.latency.count >= LEAST_COUNT and (value := window.latency.percentile(99)) is not None
    )
    return TimeSeries(name="p99", unit="ns", points=points)
