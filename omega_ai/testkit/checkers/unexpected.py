"""Unexpected: messages that nobody sent, or that were meant for somebody else."""

from __future__ import annotations

from omega_ai.testkit.checkers.model import Anomaly, Check, findings
from omega_ai.testkit.reading import Reading, Seen
from omega_ai.testkit.result import Severity


def check(reading: Reading) -> Check:
    """Another's answer, a stamp that was never sent, a message after unsubscribing.

    What the profile does not know is a warning, if the server may send messages of its own.
    """
    posts = {post.stamp: post for post in reading.posts}
    wrong: list[Anomaly] = []
    strange: list[Anomaly] = []
    examined = 0
    for client, seen in reading.seen.items():
        for item in seen:
            if item.foreign:
                continue
            examined += 1
            text = None
            if item.stamp is not None:
                post = posts.get(item.stamp)
                if post is None:
                    text = (
                        f"{client} got number {item.stamp.number} of client {item.stamp.client}, never sent"
                    )
                elif not post.published and post.client != client:
                    text = f"{client} got an answer that was meant for {post.client} alone"
                elif post.published and not _may_see(reading, item):
                    text = f"{client} got a message that it was not, or no longer, subscribed to"
            elif not item.known and item.damage is None:
                silent = not (reading.profile.speaks_first or reading.profile.feed is not None)
                anomaly = Anomaly(
                    client, item.at_ns, 0.0, (reading.line(item),), f"{client} got what nobody asked for"
                )
                (wrong if silent else strange).append(anomaly)
            if text is not None:
                wrong.append(Anomaly(client, item.at_ns, 0.0, (reading.line(item),), text))
    found = findings(reading, "unexpected", "message unexpected", wrong)
    found += findings(
        reading, "unexpected", "message of a kind that the profile does not know", strange, Severity.WARNING
    )
    return Check("unexpected", examined, tuple(found))


def _may_see(reading: Reading, item: Seen) -> bool:
    subscription = reading.profile.subscribe
    if subscription.query is None and not subscription.send:
        return True  # whoever is connected sees everything
    life = next((life for life in reading.lives[item.client] if life.number == item.life), None)
    if life is None or life.listening_ns is None:
        return reading.history.clients[item.client].listens
    return life.deaf_ns is None or item.at_ns <= life.deaf_ns + reading.grace_ns
