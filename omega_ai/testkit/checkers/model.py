"""What a checker gives: how much it looked at, what it found, and the verdict that follows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from omega_ai.testkit.reading import Life, Reading, Seen
from omega_ai.testkit.result import Distribution, Finding, Severity, WireLine
from omega_ai.testkit.verdict import Verdict

WORST: Final = 5
"""Offenders whose frames a finding shows."""
HELD_UP: Final = "late, but this machine held us up, so whose fault it is cannot be said"


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one checker."""

    name: str
    examined: int
    """Messages, pairs or intervals that it could judge; with none, its verdict is unknown."""
    findings: tuple[Finding, ...] = ()
    distribution: Distribution | None = field(default=None, repr=False)
    """Latencies and the like, of everything examined."""

    @property
    def verdict(self) -> Verdict:
        """Fail for a failure; pass only if something was examined and nothing is open."""
        severities = {finding.severity for finding in self.findings}
        if Severity.FAILURE in severities:
            return Verdict.FAIL
        if Severity.UNKNOWN in severities or not self.examined:
            return Verdict.UNKNOWN
        return Verdict.PASS


class Anomaly(NamedTuple):
    """One thing that is wrong, before it is put together with others of its kind."""

    client: str
    at_ns: int
    """When it happened, in the history's clock."""
    weight: float = 0.0
    """How bad it is; the worst are shown."""
    evidence: tuple[WireLine, ...] = ()
    detail: str = ""
    """What the worst one was."""
    times: int = 1


def findings(
    reading: Reading,
    kind: str,
    phrase: str,
    anomalies: Iterable[Anomaly],
    severity: Severity = Severity.FAILURE,
    *,
    by_silence: bool = False,
) -> list[Finding]:
    """Anomalies as findings: one for each fault window in which some fell, and one for those outside of all.

    ``phrase`` is put after the count, in the singular: ``message lost``.
    """
    windows: dict[str | None, list[Anomaly]] = defaultdict(list)
    for anomaly in anomalies:
        windows[reading.fault_at(anomaly.at_ns)].append(anomaly)
    found = []
    for fault, group in windows.items():
        count = sum(anomaly.times for anomaly in group)
        worst = sorted(group, key=lambda anomaly: -anomaly.weight)[:WORST]
        clients = tuple(sorted({anomaly.client for anomaly in group}))
        text = f"{count} {plural(phrase, count)}, {seen_by(clients)}"
        if worst[0].detail:
            text += f"; {'the worst' if count > 1 else 'namely'}: {worst[0].detail}"
        found.append(
            Finding(
                kind=kind,
                text=text,
                severity=severity,
                count=count,
                clients=clients,
                at_ns=min(anomaly.at_ns for anomaly in group) - reading.history.start_ns,
                fault=fault,
                evidence=tuple(line for anomaly in worst for line in anomaly.evidence),
                by_silence=by_silence,
            )
        )
    return found


def plural(phrase: str, count: int) -> str:
    """``message lost`` -> ``messages lost``: the first word takes the s."""
    if count == 1:
        return phrase
    word, space, rest = phrase.partition(" ")
    return f"{word}s{space}{rest}"


def seen_by(clients: Sequence[str]) -> str:
    """Who is concerned, without a long list."""
    if len(clients) <= 3:
        return f"at {', '.join(clients)}"
    return f"at {len(clients)} clients ({', '.join(clients[:2])} ...)"


def listening_life(reading: Reading, client: str, at_ns: int) -> Life | None:
    """The connection on which ``client`` was listening at ``at_ns``; None if it was not."""
    for life in reading.lives.get(client, ()):
        if life.listening_ns is None or life.listening_ns > at_ns:
            continue
        if (life.closing_ns is None or at_ns < life.closing_ns) and (
            life.deaf_ns is None or at_ns < life.deaf_ns
        ):
            return life
    return None


def settled(reading: Reading, life: Life, at_ns: int) -> bool:
    """Whether ``life`` went on long enough after ``at_ns`` that what was sent then must have arrived."""
    until = [reading.end_ns, *(at for at in (life.closing_ns, life.deaf_ns) if at is not None)]
    return min(until) >= at_ns + reading.grace_ns


def first_of(seen: Iterable[Seen]) -> dict[object, Seen]:
    """Identity (stamp, else position) -> its first appearance; what has neither is left out."""
    found: dict[object, Seen] = {}
    for item in seen:
        key = identity(item)
        if key is not None:
            found.setdefault(key, item)
    return found


def identity(seen: Seen) -> object | None:
    """By what a message is the same message elsewhere."""
    return seen.stamp if seen.stamp is not None else seen.position
