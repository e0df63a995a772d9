"""What an experiment showed. Pure: from the history, the windows and the attempts to findings and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from msgspec import structs

from omega_ai.testkit.checkers import CHECKERS
from omega_ai.testkit.checkers.late import check as check_late
from omega_ai.testkit.checkers.model import settled
from omega_ai.testkit.experiment.model import Experiment
from omega_ai.testkit.reading import Life, Post, Reading
from omega_ai.testkit.result import Distribution, FaultWindow, Finding, Severity, TimeSeries

SLICE_S: Final = 0.25
"""Width of a point of the series."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What came out."""

    findings: tuple[Finding, ...]
    recovery_s: float | None
    """How long after the last fault the state was steady again; None: it was not."""
    examined: int
    latency: Distribution | None
    series: tuple[TimeSeries, ...]
    lost_meanwhile: int
    """Messages that did not come, of which nobody promised that they would."""


def judge(
    experiment: Experiment,
    reading: Reading,
    windows: Sequence[FaultWindow],
    attempts: Mapping[str, Sequence[float]],
    visitors: Sequence[str],
) -> Shown:
    """Judge a run that is over. ``windows`` are the faults as they happened, in seconds of the history."""
    _forget_unpromised(reading)
    last_end = max(window.end_s for window in windows)
    # What a fault did shows for a while after it, until all should be well again; and what was sent just
    # before it was still on its way.
    within, grace = experiment.recovery.within_s, reading.grace_s
    reading.history.faults = [
        structs.replace(w, start_s=max(0.0, w.start_s - grace), end_s=w.end_s + within) for w in windows
    ]
    found: list[Finding] = []
    examined = 0
    for name in experiment.steady.invariants:
        check = CHECKERS[name](reading)
        examined = max(examined, check.examined)
        found += [excused(reading, finding) for finding in check.findings]
    limit_s = experiment.steady.latency_ms / 1000.0
    late = check_late(reading, max_latency_s=limit_s)
    found += [excused_delay(finding) for finding in late.findings]
    watched_s = (reading.end_ns - reading.history.start_ns) / 1e9 - experiment.recovery.watch_s
    recovery = recovered_after(reading, visitors, last_end, limit_s, max(watched_s, last_end))
    found += _recovery(experiment, recovery, windows)
    found += _before(reading, visitors, min(window.start_s for window in windows))
    found += _attempts(experiment, attempts, reading.history.start_ns)
    gone = sum(item.count for item in found if item.kind in _GONE and item.severity is Severity.NOTE)
    return Shown(
        tuple(found),
        recovery,
        max(examined, late.examined),
        late.distribution,
        series_of(experiment.name, reading, visitors, found),
        gone,
    )


def _forget_unpromised(reading: Reading) -> None:
    """Only one stream can be resumed: the numbers of others may jump when a connection is lost."""
    resume = reading.profile.resume
    for client, seen in reading.seen.items():
        reading.seen[client] = [
            item
            if item.position is None or (resume is not None and item.position.stream == resume.stream)
            else item._replace(position=None)
            for item in seen
        ]


_GONE: Final = ("lost", "gap", "unknown", "left")


def excused(reading: Reading, finding: Finding) -> Finding:
    """A finding that a fault explains and that breaks no promise becomes a note.

    What was on its way when a fault cut a connection is nobody's; a server that has no way to resume cannot
    deliver what was sent meanwhile; and who was told ``recovered: false`` was told.
    """
    if finding.fault is None or finding.severity in (Severity.NOTE, Severity.WARNING):
        return finding
    if finding.severity is Severity.UNKNOWN:
        return structs.replace(finding, severity=Severity.NOTE)
    if finding.kind not in ("lost", "gap", "unequal"):
        return finding
    told = {
        client for client, lives in reading.lives.items() if any(life.recovered is False for life in lives)
    }
    if reading.profile.resume is None or (finding.clients and set(finding.clients) <= told):
        return structs.replace(finding, severity=Severity.NOTE)
    return finding


def excused_delay(finding: Finding) -> Finding:
    """What is late because of a fault is what the fault is for."""
    return finding if finding.fault is None else structs.replace(finding, severity=Severity.NOTE)


def recovered_after(
    reading: Reading, visitors: Sequence[str], last_end_s: float, limit_s: float, watched_s: float
) -> float | None:
    """Seconds after the last fault from which on everybody was served, and in time, to the end of watching.

    None: not everybody is connected in the end, or what was sent after ``watched_s`` reached nobody.
    """
    steady_s = last_end_s
    for name in visitors:
        lives = [life for life in reading.lives.get(name, ()) if served_from(life) is not None]
        if not lives or lives[-1].closing_ns is not None:
            return None
        begin = served_from(lives[-1])
        assert begin is not None  # noqa: S101 - such were left out
        steady_s = max(steady_s, (begin - reading.history.start_ns) / 1e9)
    arrivals: dict[object, int] = {}
    for seen in reading.seen.values():
        for item in seen:
            if item.stamp is not None:
                arrivals[item.stamp] = max(arrivals.get(item.stamp, 0), item.at_ns)
    for post in reading.posts:
        sent_s = (post.stamp.intended_ns - reading.history.start_ns) / 1e9
        came = arrivals.get(post.stamp)
        if came is None:
            if sent_s >= watched_s and settled(reading, _senders(reading, post), post.sent.at_ns):
                return None
            if post.sent.at_ns < reading.end_ns - reading.grace_ns:
                steady_s = max(steady_s, sent_s)
        elif came - post.stamp.intended_ns > (limit_s + reading.held_up_s) * 1e9:
            steady_s = max(steady_s, (came - reading.history.start_ns) / 1e9)
    return steady_s - last_end_s


def _senders(reading: Reading, post: Post) -> Life:
    return next(life for life in reading.lives[post.client] if life.number == post.life)


def served_from(life: Life) -> int | None:
    """When a connection began to be of use: it listens, or, of a client that only asks, it is open."""
    return life.open_ns if life.listening_ns is None else life.listening_ns


def _recovery(
    experiment: Experiment, recovery: float | None, windows: Sequence[FaultWindow]
) -> list[Finding]:
    within = experiment.recovery.within_s
    if recovery is not None and recovery <= within:
        return []
    last = max(windows, key=lambda window: window.end_s)
    if recovery is None:
        text = f"not everybody was served again after {last.name}"
    else:
        text = f"steady again only {recovery:.1f} s after {last.name}, {within:g} s are allowed"
    return [Finding(kind="recovery", text=text, fault=last.name, at_ns=round(last.end_s * 1e9))]


def _before(reading: Reading, visitors: Sequence[str], first_s: float) -> list[Finding]:
    """Whether all was well before anything was broken; otherwise nothing is proved."""
    absent = []
    for name in visitors:
        begins = [at for life in reading.lives.get(name, ()) if (at := served_from(life)) is not None]
        if not begins or (min(begins) - reading.history.start_ns) / 1e9 > first_s:
            absent.append(name)
    if not absent:
        return []
    text = f"{len(absent)} clients were not served even before anything was broken"
    return [Finding(kind="before", text=text, severity=Severity.UNKNOWN, clients=tuple(absent))]


def _attempts(
    experiment: Experiment, attempts: Mapping[str, Sequence[float]], start_ns: int
) -> list[Finding]:
    bound = experiment.steady.attempts
    if bound is None:
        return []
    worst, whose, at = 0, "", 0.0
    for name, times in attempts.items():
        first = 0
        for index, when in enumerate(times):
            while times[first] < when - 1.0:
                first += 1
            if index - first + 1 > worst:
                worst, whose, at = index - first + 1, name, when
    if worst <= bound:
        return []
    text = (
        f"{whose} tried to connect {worst} times within a second, {bound:g} are allowed: it does not back off"
    )
    return [Finding(kind="attempts", text=text, clients=(whose,), at_ns=round(at * 1e9) - start_ns)]


def series_of(
    name: str, reading: Reading, visitors: Sequence[str], findings: Sequence[Finding]
) -> tuple[TimeSeries, ...]:
    """Latency, throughput, connections and anomalies over the run, for the report."""
    start = reading.history.start_ns
    begin = min(
        (life.open_ns for lives in reading.lives.values() for life in lives if life.open_ns is not None),
        default=start,
    )
    first, last = int((begin - start) / 1e9 / SLICE_S), int((reading.end_ns - start) / 1e9 / SLICE_S)
    latencies: dict[int, int] = {}
    counts: dict[int, int] = {}
    for seen in reading.seen.values():
        for item in seen:
            place = int((item.at_ns - start) / 1e9 / SLICE_S)
            counts[place] = counts.get(place, 0) + 1
            if item.stamp is not None and not item.foreign:
                latency = max(0, item.at_ns - item.stamp.intended_ns)
                latencies[place] = max(latencies.get(place, 0), latency)
    slices = range(first, last + 1)
    at = [round(place * SLICE_S, 3) for place in slices]
    lives = [life for visitor in visitors for life in reading.lives.get(visitor, ())]
    connected = [float(sum(_stands(life, start + t * 1e9) for life in lives)) for t in at]
    anomalies = [0.0] * len(at)
    for finding in findings:
        if finding.at_ns is not None and finding.severity is Severity.FAILURE and at:
            place = min(max(int(finding.at_ns / 1e9 / SLICE_S) - first, 0), len(at) - 1)
            anomalies[place] += finding.count
    values = (
        ("largest latency", "ms", [latencies.get(place, 0) / 1e6 for place in slices]),
        ("messages", "messages/s", [counts.get(place, 0) / SLICE_S for place in slices]),
        ("connections", "connections", connected),
        ("anomalies", "anomalies", anomalies),
    )
    return tuple(
        TimeSeries(name=f"{name}: {what}", unit=unit, points=tuple(zip(at, numbers, strict=True)))
        for what, unit, numbers in values
    )


def _stands(life: Life, at_ns: float) -> bool:
    begin, end = served_from(life), life.closing_ns
    return begin is not None and begin <= at_ns and (end is None or at_ns < end)
