"""Families of cases: a table in, cases of the suite out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from omega_ai.testkit.case import Case, Need, Outcome, Run
from omega_ai.testkit.conformance.exchange import Check, Exchange

if TYPE_CHECKING:
    from omega_ai.testkit.context import Context

NAME: Final = "conformance"
CASE_TIMEOUT: Final = 90.0


class Family:
    """Cases about one thing."""

    def __init__(self, name: str, title: str, spec: str) -> None:
        self.name = name
        self.title = title
        self.spec = spec
        self.cases: list[Case] = []
        self.checks: list[tuple[Case, Check]] = []
        """The same, each with what it does: for those who do it elsewhere."""

    def add(
        self,
        name: str,
        title: str,
        check: Check,
        *,
        expectation: str,
        spec: str = "",
        needs: Sequence[Need] = (),
        destructive: bool = True,
    ) -> None:
        """One case, with the id ``conformance.FAMILY-NAME``."""
        case_id = f"{NAME}.{self.name}-{name}"
        if any(case.id == case_id for case in self.cases):
            raise ValueError(f"there are two cases {case_id}")
        case = Case(
            id=case_id,
            suite=NAME,
            title=title,
            expectation=expectation,
            spec=spec or self.spec,
            run=_runner(check),
            needs=frozenset(needs),
            timeout=CASE_TIMEOUT,
            destructive=destructive,
        )
        self.cases.append(case)
        self.checks.append((case, check))


def _runner(check: Check) -> Run:
    async def run(context: Context) -> Outcome:
        return await Exchange(context).run(check)

    return run
