"""Late: longer on its way than it may be, counted from when it was meant to be sent."""

from __future__ import annotations

from omega_ai.testkit.checkers.model import HELD_UP, Anomaly, Check, findings
from omega_ai.testkit.reading import Reading, Seen
from omega_ai.testkit.result import Distribution, Severity


def check(reading: Reading, *, max_latency_s: float | None = None) -> Check:
    """``max_latency_s``: from the profile, if not given. Only what came is judged; the rest is *lost*.

    What was sent while its reader was away comes when he is back, and is not late by that.
    """
    limit = reading.profile.limits.max_latency_s if max_latency_s is None else max_latency_s
    own = {post.stamp for post in reading.posts}
    anomalies: list[Anomaly] = []
    doubtful: list[Anomaly] = []
    latencies: list[int] = []
    for client, seen in reading.seen.items():
        known: set[object] = set()
        for item in seen:
            if item.stamp is None or item.stamp not in own or item.stamp in known:
                continue
            known.add(item.stamp)
            if _was_away(reading, item):
                continue
            latency = max(0, item.at_ns - item.stamp.intended_ns)
            latencies.append(latency)
            if latency > limit * 1e9:
                seconds = latency / 1e9
                text = f"{seconds:.3f} s to {client}, {limit:g} s are allowed"
                proved = seconds > limit + reading.excused_s(item.stamp.intended_ns, item.at_ns)
                (anomalies if proved else doubtful).append(
                    Anomaly(client, item.at_ns, seconds, (reading.line(item),), text)
                )
    distribution = Distribution.of(latencies) if latencies else None
    found = findings(reading, "late", "message late", anomalies)
    found += findings(reading, "late", f"message {HELD_UP}", doubtful, Severity.UNKNOWN)
    return Check("late", len(latencies), tuple(found), distribution)


def _was_away(reading: Reading, item: Seen) -> bool:
    """Whether it was sent before its reader's connection began to listen."""
    life = next((life for life in reading.lives[item.client] if life.number == item.life), None)
    listening = None if life is None else life.listening_ns
    return listening is not None and item.stamp is not None and item.stamp.intended_ns < listening
