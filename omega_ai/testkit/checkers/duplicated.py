"""Duplicated: one message seen twice by one client."""

from __future__ import annotations

from omega_ai.testkit.checkers.model import Anomaly, Check, findings, identity
from omega_ai.testkit.reading import Reading, Seen


def check(reading: Reading) -> Check:
    """By stamp, and by position for what has no stamp; over all connections of a client."""
    anomalies: list[Anomaly] = []
    examined = 0
    for client, seen in reading.seen.items():
        first: dict[object, Seen] = {}
        for item in seen:
            key = identity(item)
            if key is None:
                continue
            examined += 1
            before = first.setdefault(key, item)
            if before is item:
                continue
            gap_ms = (item.at_ns - before.at_ns) / 1e6
            how = "after a reconnect" if item.life != before.life else f"again after {gap_ms:.1f} ms"
            anomalies.append(
                Anomaly(
                    client,
                    item.at_ns,
                    gap_ms,
                    (reading.line(before), reading.line(item)),
                    f"{_name(item)} came to {client} {how}",
                )
            )
    return Check("duplicated", examined, tuple(findings(reading, "duplicated", "message doubled", anomalies)))


def _name(seen: Seen) -> str:
    if seen.stamp is not None:
        return f"number {seen.stamp.number} of client {seen.stamp.client}"
    assert seen.position is not None  # noqa: S101 - it has one or the other
    return f"{seen.position.stream} {seen.position.sequence}".strip()
