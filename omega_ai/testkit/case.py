"""What a case is: a coroutine function over a target, what a right server does, and how long it may take."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from omega_ai.testkit.result import Finding, Severity, WireLine
from omega_ai.testkit.verdict import Verdict

if TYPE_CHECKING:
    from omega_ai.testkit.context import Context

DEFAULT_TIMEOUT = 45.0
"""Seconds; longer than any case takes on a machine that is not very busy."""


class Need(StrEnum):
    """What a target must offer for a case to be put to it."""

    ECHO = "echo"
    """It answers a message to its sender alone, so that a stamp comes back."""
    PUBLISH = "publish"
    """What one client sends reaches others."""
    FEED = "feed"
    """It sends messages of its own."""
    SEQUENCE = "sequence"
    """Its messages are numbered."""
    RESUME = "resume"
    """A client that comes back gets what it missed."""
    PRICES = "prices"
    """Its messages carry prices."""
    ERRORS = "errors"
    """It answers a bad message with an error that says so."""
    TLS = "tls"
    """It has a wss address."""
    CLIENT = "client"
    """It is a client, and we are the server."""
    CONTRACT = "contract"
    """A document says which messages it takes and sends."""
    CONTROL = "control"
    """We started it, so we may stop it and start it again."""
    PROCESS = "process"
    """What its process takes can be seen: memory, descriptors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a case ended; see ``CaseResult`` for what the fields are."""

    verdict: Verdict
    finding: str
    findings: tuple[Finding, ...] = ()
    evidence: tuple[WireLine, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    reproducer: tuple[str, str] | None = None
    """Name and text of a file that shows a failure again."""
    by_silence: bool = False
    """It failed because something did not come in time, not because something wrong came."""


def passed(
    finding: str, *, warnings: Sequence[Finding] = (), figures: Mapping[str, float] | None = None
) -> Outcome:
    """The target did what it must."""
    return Outcome(
        verdict=Verdict.PASS, finding=finding, findings=tuple(warnings), figures=dict(figures or {})
    )


def failed(
    finding: str,
    *,
    findings: Sequence[Finding] = (),
    figures: Mapping[str, float] | None = None,
    by_silence: bool = False,
) -> Outcome:
    """The target did what it must not, or did not what it must."""
    return Outcome(
        verdict=Verdict.FAIL,
        finding=finding,
        findings=tuple(findings),
        figures=dict(figures or {}),
        by_silence=by_silence,
    )


def unknown(
    finding: str, *, findings: Sequence[Finding] = (), figures: Mapping[str, float] | None = None
) -> Outcome:
    """What was seen proves nothing."""
    return Outcome(
        verdict=Verdict.UNKNOWN, finding=finding, findings=tuple(findings), figures=dict(figures or {})
    )


def judged(
    findings: Sequence[Finding], finding: str, *, examined: int, figures: Mapping[str, float] | None = None
) -> Outcome:
    """The outcome that ``findings`` make: ``finding`` says what was looked at, ``examined`` how much of it.

    With nothing examined it is never a pass.
    """
    severities = {item.severity for item in findings}
    if Severity.FAILURE in severities:
        verdict = Verdict.FAIL
    elif Severity.UNKNOWN in severities or not examined:
        verdict = Verdict.UNKNOWN
    else:
        verdict = Verdict.PASS
    worst = [item.text for item in findings if item.severity in (Severity.FAILURE, Severity.UNKNOWN)]
    text = "; ".join([finding, *worst[:3]]) + (f"; and {len(worst) - 3} more" if len(worst) > 3 else "")
    return Outcome(verdict=verdict, finding=text, findings=tuple(findings), figures=dict(figures or {}))


class CaseEnded(Exception):
    """Ends a case from within a helper."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.finding)
        self.outcome = outcome


class Failed(CaseEnded):
    """The target is at fault."""

    def __init__(self, finding: str, *findings: Finding, by_silence: bool = False) -> None:
        super().__init__(failed(finding, findings=findings, by_silence=by_silence))


class Undecided(CaseEnded):
    """It cannot be said."""

    def __init__(self, finding: str, *findings: Finding) -> None:
        super().__init__(unknown(finding, findings=findings))


class NotApplicable(Exception):
    """The case cannot be put to this target; ``str(error)`` says why."""


Run = Callable[["Context"], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case. ``run`` is given a context of its own; whatever it opens there is closed after it."""

    id: str
    suite: str
    title: str
    expectation: str
    spec: str
    run: Run
    needs: frozenset[Need] = frozenset()
    timeout: float = DEFAULT_TIMEOUT
    """Seconds after which it is ended, its verdict unknown."""
    alone: bool = False
    """It disturbs others or is disturbed by them: nothing else runs meanwhile."""
    destructive: bool = False
    """It may harm a server that is weak: not put to a read-only public feed."""


@dataclass(slots=True)
class Suite:
    """Cases under one name, in the order in which they were defined."""

    name: str
    title: str
    quick: bool = True
    """Done in under a minute together with the other quick ones: run when no suite is named."""
    cases: list[Case] = field(default_factory=list)

    def case(
        self,
        name: str,
        title: str,
        *,
        expectation: str,
        spec: str = "",
        needs: Sequence[Need] = (),
        timeout: float = DEFAULT_TIMEOUT,
        alone: bool = False,
        destructive: bool = False,
    ) -> Callable[[Run], Run]:
        """Register the decorated coroutine function as a case with the id ``SUITE.NAME``."""
        case_id = f"{self.name}.{name}"
        if any(case.id == case_id for case in self.cases):
            raise ValueError(f"there are two cases {case_id}")

        def register(run: Run) -> Run:
            self.cases.append(
                Case(
                    id=case_id,
                    suite=self.name,
                    title=title,
                    expectation=expectation,
                    spec=spec,
                    run=run,
                    needs=frozenset(needs),
                    timeout=timeout,
                    alone=alone,
                    destructive=destructive,
                )
            )
            return run

        return register

    def __iter__(self) -> Iterator[Case]:
        return iter(self.cases)
