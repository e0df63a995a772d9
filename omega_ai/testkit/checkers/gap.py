"""Gap after a reconnect: a client that was promised everything it missed, and did not get it."""

from __future__ import annotations

from itertools import pairwise

from omega_ai.testkit.checkers.model import Anomaly, Check, findings, settled
from omega_ai.testkit.history import wire_line
from omega_ai.testkit.reading import Life, Post, Reading
from omega_ai.testkit.result import Finding, Severity


def check(reading: Reading) -> Check:
    """What was published while a client was away must reach it, if the server said that all is recovered.

    If the server said that it is not, a gap is honest. If it said nothing, a gap is unknown.
    """
    gaps: list[Anomaly] = []
    open_: list[Anomaly] = []
    examined = 0
    for client, lives in reading.lives.items():
        listened = [life for life in lives if life.listening_ns is not None]
        for before, after in pairwise(listened):
            if after.recovered is False:
                examined += 1
                continue
            missing, judged = _missing(reading, client, before, after)
            examined += judged if after.recovered else 0
            (gaps if after.recovered else open_).extend(missing)
    found: list[Finding] = findings(reading, "gap", "message missing after a reconnect", gaps)
    found += findings(
        reading,
        "gap",
        "message not seen while the client was away; the server promises nothing about it",
        open_,
        Severity.NOTE,
    )
    return Check("gap", examined, tuple(found))


def _missing(reading: Reading, client: str, before: Life, after: Life) -> tuple[list[Anomaly], int]:
    """Stamped messages sent while away, and numbers between the last seen and the first seen again."""
    away_from, back_at = before.closing_ns or before.end_ns or 0, after.listening_ns or 0
    arrived = {item.stamp for item in reading.seen[client] if item.stamp is not None}
    anywhere = {item.stamp for seen in reading.seen.values() for item in seen if item.stamp is not None}
    anomalies: list[Anomaly] = []
    judged = 0
    for post in reading.posts:
        # Just before the end it may have been on its way, and is then part of what was missed.
        if not post.published or not away_from - reading.grace_ns <= post.sent.at_ns < back_at:
            continue
        if post.client == client or not settled(reading, after, back_at):
            continue
        if post.stamp not in anywhere and not settled(reading, _senders(reading, post), post.sent.at_ns):
            continue  # its sender was cut off as well: it may never have reached the server
        judged += 1
        if post.stamp not in arrived:
            sent = post.sent
            line = wire_line(
                post.client, "sent", sent.at_ns - reading.history.start_ns, sent.opcode, sent.data
            )
            text = f"{client} never got number {post.stamp.number} of {post.client}"
            anomalies.append(Anomaly(client, sent.at_ns, 0.0, (line,), text))
    more, numbers = _numbers(reading, client, before, after)
    return (anomalies or more), judged + numbers


def _senders(reading: Reading, post: Post) -> Life:
    return next(life for life in reading.lives[post.client] if life.number == post.life)


def _numbers(reading: Reading, client: str, before: Life, after: Life) -> tuple[list[Anomaly], int]:
    feed = reading.profile.feed
    if feed is None or not feed.step:
        return [], 0
    last: dict[tuple[str, str], int] = {}
    again: dict[tuple[str, str], set[int]] = {}
    for item in reading.seen[client]:
        if item.position is None:
            continue
        stream = (item.position.stream, item.position.epoch)
        if item.life <= before.number:
            last[stream] = max(last.get(stream, 0), item.position.sequence)
        elif item.life == after.number:
            again.setdefault(stream, set()).add(item.position.sequence)
    anomalies: list[Anomaly] = []
    judged = 0
    resume = reading.profile.resume
    for stream, top in last.items():
        seen = again.get(stream)
        if not seen or (resume is not None and stream[0] != resume.stream):
            continue
        judged += 1
        absent = [
            n for n in range(top + feed.step, min(max(seen), top + 100_000), feed.step) if n not in seen
        ]
        if absent:
            text = f"{client} had {stream[0]} {top}, came back, and never got {absent[0]}"
            anomalies.append(
                Anomaly(client, after.listening_ns or 0, len(absent), (), text, times=len(absent))
            )
    return anomalies, judged
