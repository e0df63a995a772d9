"""Unequal: clients that were shown different things under one name, or in a different order."""

from __future__ import annotations

from omega_ai.testkit.checkers.model import Anomaly, Check, findings, first_of
from omega_ai.testkit.reading import Position, Reading, Seen
from omega_ai.testkit.result import Severity


def check(reading: Reading) -> Check:
    """One position, one content; and what two clients both saw, they saw in one order.

    A server that numbers nothing promises no common order, so there it is a warning. Who missed a message is
    for *lost* to say.
    """
    content: list[Anomaly] = []
    first: dict[Position, Seen] = {}
    examined = 0
    for client, seen in reading.seen.items():
        for item in seen:
            if item.position is None:
                continue
            examined += 1
            other = first.setdefault(item.position, item)
            if other.raw.data != item.raw.data:
                where = f"{item.position.stream} {item.position.sequence}".strip()
                text = f"{where} is one thing to {other.client} and another to {client}"
                evidence = (reading.line(other), reading.line(item))
                content.append(Anomaly(client, item.at_ns, 0.0, evidence, text))
    found = findings(reading, "unequal", "message not the same for all", content)
    order, compared = _order(reading)
    feed = reading.profile.feed
    numbered = feed is not None and feed.sequence is not None
    found += findings(
        reading,
        "unequal",
        "message in another order than other clients saw",
        order,
        Severity.FAILURE if numbered else Severity.WARNING,
    )
    return Check("unequal", examined + compared, tuple(found))


def _order(reading: Reading) -> tuple[list[Anomaly], int]:
    published = {post.stamp for post in reading.posts if post.published}
    rows: dict[str, list[Seen]] = {}
    for client in reading.listeners:
        row = [item for item in first_of(reading.seen[client]).values() if item.stamp in published]
        if row:
            rows[client] = row
    if len(rows) < 2:
        return [], 0
    reference = max(rows, key=lambda client: len(rows[client]))
    place = {item.stamp: number for number, item in enumerate(rows[reference])}
    anomalies: list[Anomaly] = []
    compared = 0
    for client, row in rows.items():
        if client == reference:
            continue
        highest = -1
        for item in row:
            number = place.get(item.stamp)
            if number is None:
                continue
            compared += 1
            if number < highest:
                text = f"{client} saw it later than {reference} did, among the others"
                anomalies.append(Anomaly(client, item.at_ns, 0.0, (reading.line(item),), text))
            highest = max(highest, number)
    return anomalies, compared
