"""Reordered: what was sent later came earlier, on one connection."""

from __future__ import annotations

from omega_ai.testkit.checkers.model import Anomaly, Check, findings, identity
from omega_ai.testkit.reading import Reading, Seen


def check(reading: Reading) -> Check:
    """Stamps of one sender, and numbers of one stream, must grow; a second appearance is *duplicated*'s.

    Between two senders, no order is demanded.
    """
    anomalies: list[Anomaly] = []
    examined = 0
    for client, seen in reading.seen.items():
        highest: dict[object, tuple[int, Seen]] = {}
        known: set[object] = set()
        for item in seen:
            key = identity(item)
            if key is None or key in known:
                continue
            known.add(key)
            examined += 1
            for row, number in _rows(item):
                top = highest.get(row)
                if top is None or number > top[0]:
                    highest[row] = (number, item)
                    continue
                anomalies.append(
                    Anomaly(
                        client,
                        item.at_ns,
                        top[0] - number,
                        (reading.line(top[1]), reading.line(item)),
                        f"{number} came to {client} after {top[0]}",
                    )
                )
                break
    return Check(
        "reordered", examined, tuple(findings(reading, "reordered", "message out of order", anomalies))
    )


def _rows(item: Seen) -> list[tuple[object, int]]:
    rows: list[tuple[object, int]] = []
    if item.stamp is not None:
        rows.append((("stamp", item.life, item.stamp.client), item.stamp.number))
    if item.position is not None:
        position = item.position
        rows.append((("position", item.life, position.stream, position.epoch), position.sequence))
    return rows
