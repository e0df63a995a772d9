"""What was measured over a stretch of a run, in the form in which thresholds and reports ask for it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from omega_ai.core.histogram import Histogram
from omega_ai.testkit.load.tally import Tally, Window
from omega_ai.testkit.result import TimeSeries

TIMES: Final = {
    "latency": "from when a message was to be sent until it, or its answer, came",
    "service": "the same, from when it was really sent",
    "connect": "from the first packet of a connection until its handshake was answered",
    "age": "how old a message of the feed was, by its own time, when it came",
    "lag": "how late the generator itself sent",
}
"""Distributions of times, and what each is."""

COUNTS: Final = {
    "sent": "messages sent",
    "unsent": "messages that could not be sent, as their client had no connection",
    "expected": "messages that were to come",
    "received": "messages that came",
    "lost": "messages that never came",
    "duplicated": "messages that came again",
    "reordered": "messages that came after a later one",
    "corrupted": "messages whose checksum fails",
    "unexpected": "messages that nobody sent",
    "unknown": "messages that were on their way when a connection ended",
    "connects": "connections that were tried",
    "refused": "connections that did not come about",
    "closed": "connections that ended and should not have",
    "errors": "connections refused and closed, together",
}
"""Counts, and what each is."""

SHARE_OF: Final = {
    "refused": "connects",
    "closed": "connects",
    "errors": "connects",
    "sent": "requested",
    "unsent": "requested",
}
"""What a share is of; of all others, of the messages expected."""

SERIES: Final = {
    "rss": "resident memory of the server",
    "pss": "the same, with shared pages divided among those who share them",
    "cpu": "processor time of the server; 100% is one core",
    "descriptors": "open files and sockets of the server",
    "threads": "threads of the server",
    "switches": "context switches of the server by the second",
    "connections": "connections that are open",
}
"""Values over time, and what each is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One stretch: the whole run, a window, or a phase. What is absent was not measured."""

    name: str
    """``run``, ``window 10-20 s``, ``phase peak``."""
    start_s: float = 0.0
    end_s: float
    times: Mapping[str, Histogram] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    """Those of ``COUNTS``, and ``requested``: messages that were to be sent."""
    series: Mapping[str, TimeSeries] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    """Why a metric could not be measured."""

    @property
    def seconds(self) -> float:
        """How long it is."""
        return max(0.0, self.end_s - self.start_s)

    def rate(self, name: str) -> float | None:
        """A count by the second; None if it was not counted."""
        count = self.counts.get(name)
        return None if count is None or not self.seconds else count / self.seconds

    def share(self, name: str) -> float | None:
        """A count as a share of what it is counted among; None if either was not counted, or is 0."""
        count, whole = self.counts.get(name), self.counts.get(SHARE_OF.get(name, "expected"))
        return None if count is None or not whole else count / whole


def merged(parts: Sequence[Measured], name: str) -> Measured:
    """Neighbouring stretches as one; histograms are added without loss. At least one."""
    times: dict[str, Histogram] = {}
    counts: dict[str, int] = {}
    points: dict[str, list[tuple[float, float]]] = {}
    units: dict[str, str] = {}
    absent: dict[str, str] = {}
    for part in parts:
        for key, histogram in part.times.items():
            if key in times:
                times[key].add(histogram)
            else:
                times[key] = histogram.copy()
        for key, count in part.counts.items():
            counts[key] = counts.get(key, 0) + count
        for key, series in part.series.items():
            points.setdefault(key, []).extend(series.points)
            units[key] = series.unit
        absent.update(part.absent)
    return Measured(
        name=name,
        start_s=min(part.start_s for part in parts),
        end_s=max(part.end_s for part in parts),
        times=times,
        counts=counts,
        series={
            key: TimeSeries(name=key, unit=units[key], points=tuple(sorted(found)))
            for key, found in points.items()
        },
        absent=absent,
    )


def regrouped(windows: Iterable[Measured], seconds: float) -> list[Measured]:
    """Windows of ``seconds`` made of shorter ones: a short window belongs to where it starts."""
    groups: dict[int, list[Measured]] = {}
    for window in windows:
        groups.setdefault(int((window.start_s + 1e-9) // seconds), []).append(window)
    return [
        merged(group, f"window {number * seconds:g}-{(number + 1) * seconds:g} s")
        for number, group in sorted(groups.items())
    ]


def cut(series: TimeSeries, start_s: float, end_s: float) -> TimeSeries:
    """The part of a series from ``start_s`` until before ``end_s``."""
    points = tuple(point for point in series.points if start_s <= point[0] < end_s)
    return TimeSeries(name=series.name, unit=series.unit, points=points)


_TIMES_OF_WINDOW: Final = {
    "latency": "latency",
    "service": "service",
    "connect": "connect",
    "age": "age",
    "lag": "send_lag",
}


def of_window(
    window: Window,
    name: str | None = None,
    *,
    series: Iterable[TimeSeries] = (),
    absent: Mapping[str, str] | None = None,
) -> Measured:
    """A window of the tally, or several joined; ``series`` are those of the whole run, and are cut to it.

    What is lost is only known at the end: in a window it is what is missing when a later message came.
    """
    counts = window.counts
    start, end = window.start_s, window.start_s + window.duration_s
    missing = max(0, counts.missing)
    came = counts.received + missing
    return Measured(
        name=f"window {start:g}-{end:g} s" if name is None else name,
        start_s=start,
        end_s=end,
        times={
            key: histogram
            for key, field_ in _TIMES_OF_WINDOW.items()
            if (histogram := getattr(window, field_))
        },
        counts={
            "requested": counts.intended,
            "sent": counts.sent,
            "unsent": counts.unsent,
            "expected": came or counts.intended,
            "received": counts.received,
            "lost": missing,
            "duplicated": counts.duplicated,
            "reordered": counts.reordered,
            "corrupted": counts.corrupted,
            "unexpected": counts.unexpected,
            "unknown": counts.unknown,
            "connects": counts.connects_intended,
            "refused": counts.refused,
            "closed": counts.dropped,
            "errors": counts.refused + counts.dropped,
        },
        series={item.name: cut(item, start, end) for item in series},
        absent={} if absent is None else absent,
    )


def of_run(
    tally: Tally, *, series: Iterable[TimeSeries] = (), absent: Mapping[str, str] | None = None
) -> Measured:
    """The whole run, with the account of its messages settled."""
    total = tally.total
    delivery = tally.delivery()
    whole = of_window(total, "run", absent=absent)
    settled = {
        "expected": delivery.due,
        "lost": delivery.lost,
        "unknown": delivery.unknown,
        "corrupted": delivery.corrupted,
        "duplicated": delivery.duplicated,
        "reordered": delivery.reordered,
        "unexpected": delivery.unexpected,
    }
    return Measured(
        name="run",
        end_s=tally.duration_s,
        times=whole.times,
        counts={**whole.counts, **settled},
        series={item.name: item for item in series},
        absent=whole.absent,
    )
