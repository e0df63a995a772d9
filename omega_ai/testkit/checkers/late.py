"""Late: longer on its way than it may be, counted from when it was meant to be sent."""

from __future__ import annotations

from omega_ai.testkit.checkers.model import HELD_UP, Anomaly, Check, findings
from omega_ai.testkit.reading import Reading
from omega_ai.testkit.result import Distribution, Severity


def check(reading: Reading, *, max_latency_s: float | None = None) -> Check:
    """``max_latency_s``: from the profile, if not given. Only what came is judged; the rest is *lost*."""
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
