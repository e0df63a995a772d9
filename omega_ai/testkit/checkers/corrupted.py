"""Corrupted: content that is not what was sent."""

from __future__ import annotations

from omega_ai.testkit.checkers.model import Anomaly, Check, findings
from omega_ai.testkit.history import wire_line
from omega_ai.testkit.reading import Reading
from omega_ai.testkit.result import WireLine


def check(reading: Reading) -> Check:
    """A checksum that fails, JSON that is none, an echo that differs by a byte."""
    echo = reading.profile.echo
    identical = echo is not None and echo.identical
    sent = {post.stamp: post for post in reading.posts if not post.published} if identical else {}
    anomalies: list[Anomaly] = []
    examined = 0
    for client, seen in reading.seen.items():
        for item in seen:
            examined += 1
            post = sent.get(item.stamp) if item.stamp is not None else None
            damage = item.damage
            if damage is None and post is not None and post.sent.data != item.raw.data:
                damage = f"{len(item.raw.data)} bytes came back, not the {len(post.sent.data)} that were sent"
            if damage is None and post is not None and post.sent.opcode != item.raw.opcode:
                damage = "a text came back as binary, or the reverse"
            if damage is None:
                continue
            evidence: tuple[WireLine, ...] = (reading.line(item),)
            if post is not None:
                at_ns = post.sent.at_ns - reading.history.start_ns
                original = wire_line(post.client, "sent", at_ns, post.sent.opcode, post.sent.data)
                evidence = (original, *evidence)
            anomalies.append(Anomaly(client, item.at_ns, 0.0, evidence, damage))
    return Check("corrupted", examined, tuple(findings(reading, "corrupted", "message corrupted", anomalies)))
