"""Lost: sent, or numbered, and never seen by a client that was there to see it."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from omega_ai.testkit.checkers.model import Anomaly, Check, findings, listening_life, settled
from omega_ai.testkit.history import wire_line
from omega_ai.testkit.reading import Life, Position, Post, Reading, Seen
from omega_ai.testkit.result import Finding, Severity

MAX_RANGE = 100_000
"""A jump in numbers larger than this is no loss but another numbering; it is reported as one anomaly."""


def check(reading: Reading) -> Check:
    """Every stamped message that was not seen, and every hole in a numbering.

    *Unknown* is what was on its way when a connection, or the watching, ended: it may have been lost, or only
    cut off. A loss is proved where something later came all the same; where nothing came any more, it is one
    by silence, which a slow machine may have made.
    """
    lost: list[Anomaly] = []
    silent: list[Anomaly] = []
    open_: list[Anomaly] = []
    left: list[Anomaly] = []
    examined = _posts(reading, lost, silent, open_, left) + _positions(reading, lost, silent)
    found: list[Finding] = findings(reading, "lost", "message lost", lost)
    found += findings(reading, "lost", "message lost, and nothing after it", silent, by_silence=True)
    found += findings(
        reading,
        "unknown",
        "message on its way when the connection or the watching ended: lost or not, it cannot be said",
        open_,
        Severity.UNKNOWN,
    )
    found += findings(
        reading, "left", "message on its way when its reader left on purpose", left, Severity.NOTE
    )
    return Check("lost", examined, tuple(found))


def _posts(
    reading: Reading,
    lost: list[Anomaly],
    silent: list[Anomaly],
    open_: list[Anomaly],
    left: list[Anomaly],
) -> int:
    """Stamped messages; returns how many (message, client) pairs were judged."""
    arrived = {
        client: {(item.stamp.client, item.stamp.number) for item in seen if item.stamp is not None}
        | {item.claimed for item in seen if item.claimed is not None}  # damaged, but not lost
        for client, seen in reading.seen.items()
    }
    anywhere = set().union(*arrived.values()) if arrived else set()
    newest: dict[tuple[str, int], int] = {}
    for client, keys in arrived.items():
        for sender, number in keys:
            newest[client, sender] = max(newest.get((client, sender), number), number)
    coming = {client: _still_coming(reading, client) for client in reading.seen}
    examined = 0
    for post in reading.posts:
        key = (post.stamp.client, post.stamp.number)
        for client in _audience(reading, post):
            life = _life(reading, post, client)
            if life is None:
                continue
            if key in arrived[client]:
                examined += 1
                continue
            anomaly = _missing(reading, post, client)
            if not settled(reading, life, post.sent.at_ns):
                (left if life.by_us else open_).append(anomaly)
            elif key not in anywhere and not settled(reading, _senders(reading, post), post.sent.at_ns):
                open_.append(anomaly)  # it may never have reached the server
            elif key[1] > coming[client].get(key[0], key[1]):
                open_.append(anomaly)  # those before it were only just coming: it is late, if nothing else
            else:
                examined += 1
                overtaken = newest.get((client, post.stamp.client), -1) > post.stamp.number
                (lost if overtaken else silent).append(anomaly)
    return examined


def _still_coming(reading: Reading, client: str) -> dict[int, int]:
    """Sender -> its newest number that ``client`` saw, if its messages came until the watching ended."""
    newest: dict[int, int] = {}
    last: dict[int, int] = {}
    for item in reading.seen[client]:
        if item.stamp is not None:
            sender = item.stamp.client
            newest[sender] = max(newest.get(sender, -1), item.stamp.number)
            last[sender] = item.at_ns
    return {
        sender: number
        for sender, number in newest.items()
        if last[sender] + reading.grace_ns > reading.end_ns
    }


def _audience(reading: Reading, post: Post) -> list[str]:
    if not post.published:
        return [post.client]
    publish = reading.profile.publish
    return [
        name
        for name in reading.listeners
        if name != post.client or (publish is not None and publish.to_sender)
    ]


def _life(reading: Reading, post: Post, client: str) -> Life | None:
    if not post.published:
        return _senders(reading, post)
    return listening_life(reading, client, post.sent.at_ns)


def _senders(reading: Reading, post: Post) -> Life:
    return next(life for life in reading.lives[post.client] if life.number == post.life)


def _missing(reading: Reading, post: Post, client: str) -> Anomaly:
    sent = post.sent
    at_ns = sent.at_ns - reading.history.start_ns
    return Anomaly(
        client=client,
        at_ns=sent.at_ns,
        evidence=(wire_line(post.client, "sent", at_ns, sent.opcode, sent.data),),
        detail=f"number {post.stamp.number} of {post.client} never came to {client}",
    )


def _positions(reading: Reading, lost: list[Anomaly], silent: list[Anomaly]) -> int:
    """Numbered messages; returns how many were judged."""
    feed = reading.profile.feed
    if feed is None or feed.sequence is None or feed.step == 0 or not reading.sequential:
        return 0
    first_seen: dict[Position, Seen] = {}
    for seen in reading.seen.values():
        for item in seen:
            if item.position is not None:
                known = first_seen.get(item.position)
                if known is None or item.at_ns < known.at_ns:
                    first_seen[item.position] = item
    own = {post.stamp for post in reading.posts if post.published}
    arrived = {item.stamp for item in first_seen.values()}
    nowhere = len(own - arrived)
    own_streams = {item.stream for item in first_seen.values() if item.stamp in own}
    examined = 0
    for client in reading.seen:
        have = {item.position: item for item in reading.seen[client] if item.position is not None}
        examined += len(have)
        holes = _holes(reading, client, feed.step)
        between = set(holes)
        missed = {
            position: item
            for position, item in first_seen.items()
            if position not in have and position not in holes and _must_have_seen(reading, client, item)
        }
        for position, item in missed.items():
            holes[position] = Anomaly(
                client=client,
                at_ns=item.at_ns,
                evidence=(reading.line(item),),
                detail=f"{_name(position)} came to {item.client}, never to {client}",
            )
        unseen = nowhere
        for position, anomaly in holes.items():
            other = first_seen.get(position)
            if other is not None and other.stamp in own:
                continue  # it was found missing by its stamp already
            if other is None and position.stream in own_streams and unseen > 0:
                unseen -= 1  # this must be one of the stamped messages that nobody saw
                continue
            (lost if position in between else silent).append(anomaly)
    return examined


def _must_have_seen(reading: Reading, client: str, item: Seen) -> bool:
    """Whether ``client`` listened, long before and long after another saw ``item``."""
    if client not in reading.listeners:
        return False
    life = listening_life(reading, client, item.at_ns)
    return (
        life is not None
        and life.listening_ns is not None
        and life.listening_ns + reading.grace_ns <= item.at_ns
        and settled(reading, life, item.at_ns)
    )


def _holes(reading: Reading, client: str, step: int) -> dict[Position, Anomaly]:
    """Numbers between two that one connection saw, and that the client never did."""
    rows: dict[tuple[int, str, str], list[Seen]] = defaultdict(list)
    have: set[Position] = set()
    for item in reading.seen[client]:
        if item.position is not None:
            rows[item.life, item.position.stream, item.position.epoch].append(item)
            have.add(item.position)
    holes: dict[Position, Anomaly] = {}
    for row in rows.values():
        row.sort(key=lambda item: item.position.sequence if item.position is not None else 0)
        for before, after in pairwise(row):
            assert before.position is not None  # noqa: S101 - only such are in a row
            assert after.position is not None  # noqa: S101
            low, high = before.position.sequence + step, after.position.sequence
            evidence = (reading.line(before), reading.line(after))
            if (high - low) // step > MAX_RANGE:
                position = before.position._replace(sequence=low)
                detail = f"{_name(before.position)} is followed by {high}"
                holes[position] = Anomaly(client, after.at_ns, MAX_RANGE, evidence, detail, MAX_RANGE)
                continue
            for number in range(low, high, step):
                position = before.position._replace(sequence=number)
                if position not in have:
                    detail = f"{_name(position)} never came to {client}"
                    holes[position] = Anomaly(client, after.at_ns, 0.0, evidence, detail)
    return holes


def _name(position: Position) -> str:
    stream = f"{position.stream} " if position.stream else ""
    return f"{stream}{position.sequence}" + (f" of epoch {position.epoch}" if position.epoch else "")
