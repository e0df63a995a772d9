"""What the suites about messages share: sending by plan, waiting for what must come, judging the history."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from omega_ai.testkit.case import Outcome, judged
from omega_ai.testkit.checkers import CHECKERS, DELIVERY
from omega_ai.testkit.connection import Connection
from omega_ai.testkit.context import Context
from omega_ai.testkit.history import Sent
from omega_ai.testkit.reading import Reading
from omega_ai.testkit.stamp import read_stamp

GRACE_S = 1.0
WAIT_S = 10.0


def judge(
    context: Context, what: str, checkers: Sequence[str] = DELIVERY, *, grace_s: float = GRACE_S
) -> Outcome:
    """The outcome that ``checkers`` draw from all that was seen so far; ``what`` was done."""
    reading = context.reading(grace_s)
    checks = [CHECKERS[name](reading) for name in checkers]
    figures: dict[str, float] = {"messages": float(reading.examined)}
    for check in checks:
        if check.distribution is not None and check.distribution.unit == "ns":
            figures[f"{check.name}_p99_ms"] = check.distribution.percentile(99) / 1e6
            name = {"late": "latency", "skew": "skew", "stale": "age"}.get(check.name, check.name)
            context.products.histograms[f"{context.name.partition('.')[0]} {name}"] = check.distribution
    examined = max((check.examined for check in checks), default=0)
    found = [finding for check in checks for finding in check.findings]
    text = what
    for name, label in (("late", "latency"), ("skew", "skew")):
        if f"{name}_p99_ms" in figures:
            text += f", {label} p99 {figures[f'{name}_p99_ms']:.1f} ms"
    return judged(found, text, examined=examined, figures=figures)


async def arrive(
    context: Context, posts: Sequence[Sent], clients: Sequence[Connection], within: float = WAIT_S
) -> bool:
    """Wait until every one of ``clients`` has every one of ``posts``; False if not all came.

    When none of them comes for a grace period, it is not waited for any longer.
    """
    wanted = {read_stamp(post.data) for post in posts}
    missing = {id(client): set(wanted) for client in clients}
    places = {id(client): 0 for client in clients}
    deadline = context.clock.monotonic() + within
    quiet_since = context.clock.monotonic()
    while True:
        for client in clients:
            received = client.history.received
            left = missing[id(client)]
            before = len(left)
            for item in received[places[id(client)] :]:
                left.discard(read_stamp(item.data))
            if len(left) < before:  # not: anything, for a feed of its own is never quiet
                quiet_since = context.clock.monotonic()
            places[id(client)] = len(received)
        if not any(missing.values()):
            return True
        now = context.clock.monotonic()
        # As long as it takes to say that what is not there is lost: see Reading.grace_s.
        patience = 2 * (GRACE_S + context.profile.limits.max_latency_s + context.held_up())
        if now > deadline + 2 * context.held_up() or now > quiet_since + patience:
            return False
        await asyncio.sleep(0.01)


async def at_rate(context: Context, rate: float, count: int, send: Callable[[int, int], object]) -> None:
    """Call ``send(number, intended_ns)`` ``count`` times, ``rate`` times a second, whatever is answered.

    The plan is made ahead: a call that comes late does not shift those after it.
    """
    begin = context.now_ns()
    for number in range(count):
        intended = begin + round(number * 1e9 / rate)
        wait = (intended - context.now_ns()) / 1e9
        if wait > 0:
            await asyncio.sleep(wait)
        send(number, min(intended, context.now_ns()))  # a timer may fire a little early


def reading_of(context: Context) -> Reading:
    """All that was seen so far, understood."""
    return context.reading(GRACE_S)
