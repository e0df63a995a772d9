"""Skew of a broadcast: between the first and the last client that one message reached."""

from __future__ import annotations

from collections import defaultdict

from omega_ai.testkit.checkers.model import HELD_UP, Anomaly, Check, findings, first_of
from omega_ai.testkit.reading import Reading, Seen
from omega_ai.testkit.result import Distribution, Severity

SLOW_FACTOR = 10
"""A client whose median is so many times that of all is slower than chance explains ..."""
SLOW_AT_LEAST_S = 0.05
"""... if it is this long, too."""
SLOW_MESSAGES = 10
"""... and was so for at least so many messages."""


def check(reading: Reading, *, max_skew_s: float | None = None) -> Check:
    """``max_skew_s``: the profile's ``max_latency_s``, if it is not given."""
    limit = reading.profile.limits.max_latency_s if max_skew_s is None else max_skew_s
    arrivals: dict[object, list[Seen]] = defaultdict(list)
    for client in reading.listeners:
        for key, item in first_of(reading.seen[client]).items():
            arrivals[key].append(item)
    anomalies: list[Anomaly] = []
    doubtful: list[Anomaly] = []
    skews: list[int] = []
    behind: dict[str, list[int]] = defaultdict(list)
    for items in arrivals.values():
        if len(items) < 2:
            continue
        items.sort(key=lambda item: item.at_ns)
        first, last = items[0], items[-1]
        skew = last.at_ns - first.at_ns
        skews.append(skew)
        for item in items:
            behind[item.client].append(item.at_ns - first.at_ns)
        # Only one and the same life of both, or a replay after a reconnect would look like skew.
        if skew > limit * 1e9 and not _replayed(reading, last):
            text = f"{last.client} got it {skew / 1e9:.3f} s after {first.client}, {limit:g} s are allowed"
            evidence = (reading.line(first), reading.line(last))
            proved = skew > (limit + reading.excused_s(first.at_ns, last.at_ns)) * 1e9
            (anomalies if proved else doubtful).append(
                Anomaly(last.client, last.at_ns, skew / 1e9, evidence, text)
            )
    found = findings(reading, "skew", "message at very different times", anomalies)
    found += findings(reading, "skew", f"message {HELD_UP}", doubtful, Severity.UNKNOWN)
    if not anomalies:
        slow = _slow(reading, behind)
        spans = [(items[0].at_ns, items[-1].at_ns) for items in arrivals.values()]
        begin, end = min((a for a, _ in spans), default=0), max((b for _, b in spans), default=0)
        excused = reading.excused_s(begin, end)
        sure = [one for one in slow if one.weight > SLOW_AT_LEAST_S + excused]
        phrase = "client always behind the others"
        found += findings(reading, "slow", phrase, sure)
        unsure = [one for one in slow if one not in sure]
        found += findings(reading, "slow", f"{phrase}, but this machine held us up", unsure, Severity.UNKNOWN)
    return Check("skew", len(skews), tuple(found), Distribution.of(skews) if skews else None)


def _slow(reading: Reading, behind: dict[str, list[int]]) -> list[Anomaly]:
    medians = {client: sorted(times)[len(times) // 2] for client, times in behind.items()}
    if len(medians) < 3:
        return []
    usual = sorted(medians.values())[len(medians) // 2]
    bound = max(SLOW_FACTOR * usual, SLOW_AT_LEAST_S * 1e9)
    return [
        Anomaly(
            client,
            reading.seen[client][0].at_ns,
            median / 1e9,
            (),
            f"{client} is {median / 1e6:.0f} ms behind the first (median), the others {usual / 1e6:.1f} ms",
        )
        for client, median in medians.items()
        if median > bound and len(behind[client]) >= SLOW_MESSAGES
    ]


def _replayed(reading: Reading, item: Seen) -> bool:
    life = next((life for life in reading.lives[item.client] if life.number == item.life), None)
    return life is not None and life.number > 0 and (life.open_ns or 0) + reading.grace_ns > item.at_ns
