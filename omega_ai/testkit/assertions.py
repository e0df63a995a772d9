"""Assertions on what clients saw, for tests: each raises with what was found, and the frames.

What cannot be decided (a message on its way when the connection ended) is no pass: it raises too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from omega_ai.testkit import checkers
from omega_ai.testkit.checkers.model import Check
from omega_ai.testkit.reading import Reading
from omega_ai.testkit.report.machines import wire_text
from omega_ai.testkit.result import Severity
from omega_ai.testkit.verdict import Verdict

if TYPE_CHECKING:
    from omega_ai.testkit.load.record import LoadRecord


class Watched(Protocol):
    """What has a history: a ``Context``, or the fixture ``ws``."""

    def reading(self, grace_s: float = 1.0) -> Reading:
        """All that was seen so far, understood by the profile."""
        ...


def assert_no_loss(watched: Watched, *, grace_s: float = 1.0) -> None:
    """Everything that was sent, or numbered, came to everybody who was there to see it.

    A message that was sent less than ``grace_s`` seconds ago may still be on its way: wait before asking.
    """
    _demand(checkers.lost.check(watched.reading(grace_s)))


def assert_no_duplicates(watched: Watched) -> None:
    """Nobody saw a message twice, not even after a reconnect."""
    _demand(checkers.duplicated.check(watched.reading()))


def assert_in_order(watched: Watched) -> None:
    """Every sender's messages, and every stream's numbers, came in their order."""
    _demand(checkers.reordered.check(watched.reading()))


def assert_same_order(watched: Watched) -> None:
    """What several clients saw, they saw in one order, and one number was one content."""
    check = checkers.unequal.check(watched.reading())
    order = [finding for finding in check.findings if finding.severity is Severity.WARNING]
    if order:  # a warning where nothing is numbered; asked for here, it is a demand
        raise AssertionError("; ".join(finding.text for finding in order))
    _demand(check)


def assert_not_corrupted(watched: Watched) -> None:
    """Every message is what was sent."""
    _demand(checkers.corrupted.check(watched.reading()))


def assert_nothing_unexpected(watched: Watched) -> None:
    """Nobody saw what nobody sent, or what was meant for another."""
    _demand(checkers.unexpected.check(watched.reading()))


def assert_in_time(watched: Watched, max_latency_s: float) -> None:
    """Every message that came, came within ``max_latency_s`` seconds of when it was to be sent."""
    _demand(checkers.late.check(watched.reading(), max_latency_s=max_latency_s))


def assert_not_stale(watched: Watched, max_age_s: float) -> None:
    """No message was, by its own time, older than ``max_age_s`` seconds when it came."""
    _demand(checkers.stale.check(watched.reading(), max_age_s=max_age_s))


def assert_no_gap(watched: Watched) -> None:
    """Whoever came back got everything that it was promised."""
    _demand(checkers.gap.check(watched.reading()))


def assert_delivered(watched: Watched, *, grace_s: float = 1.0) -> None:
    """All of the above that concern delivery: nothing lost, doubled, out of order, changed or unexpected."""
    assert_no_loss(watched, grace_s=grace_s)
    assert_no_duplicates(watched)
    assert_in_order(watched)
    assert_not_corrupted(watched)
    assert_nothing_unexpected(watched)


def assert_thresholds(run: LoadRecord, *expressions: str) -> None:
    """Every bound holds in a load run: ``latency.p99 < 5ms``, ``each 2s: lost == 0`` (docs/testkit/load.md).

    A run in which the generator itself was late proves nothing, and a bound that cannot be judged is none
    that holds: both raise.
    """
    from omega_ai.testkit.load.record import result_parts

    __tracebackhide__ = True  # pytest shows the caller's line
    if not expressions:
        raise TypeError("assert_thresholds: which bounds are to hold?")
    parts = result_parts(msgspec.structs.replace(run, thresholds=expressions))
    lines = [f"unknown: {reason}" for reason in parts.invalid]
    lines += [
        f"{result.verdict}: {result.expression}: {result.observed}"
        + ("" if result.where == "run" else f" ({result.where})")
        for result in parts.thresholds
        if result.verdict is not Verdict.PASS
    ]
    if lines:
        raise AssertionError("\n".join(lines))


def _demand(check: Check) -> None:
    __tracebackhide__ = True  # pytest shows the caller's line
    if check.verdict is Verdict.PASS:
        return
    if not check.examined and not check.findings:
        raise AssertionError(f"{check.name}: no message was seen that could be judged")
    lines = []
    for finding in check.findings:
        if finding.severity in (Severity.FAILURE, Severity.UNKNOWN):
            lines.append(f"{finding.severity}: {finding.text}")
            lines += [f"  {wire_text(line)}" for line in finding.evidence]
    if not lines:
        lines = [f"unknown: {check.name}: nothing could be judged"]
    raise AssertionError("\n".join(lines))
