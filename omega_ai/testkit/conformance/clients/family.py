"""Families of cases for clients: of their own, and those for servers with the roles changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final

from omega_ai.testkit.case import Case, Need, Outcome, Run
from omega_ai.testkit.conformance.clients.exchange import ClientExchange
from omega_ai.testkit.conformance.exchange import Check
from omega_ai.testkit.conformance.family import CASE_TIMEOUT, Family

if TYPE_CHECKING:
    from omega_ai.testkit.context import Context

NAME: Final = "client"
ClientCheck = Callable[[ClientExchange], Awaitable[None]]


class ClientFamily:
    """Cases about one thing."""

    def __init__(self, name: str, title: str, spec: str) -> None:
        self.name = name
        self.title = title
        self.spec = spec
        self.cases: list[Case] = []

    def add(
        self,
        name: str,
        title: str,
        check: ClientCheck,
        *,
        expectation: str,
        spec: str = "",
        needs: Sequence[Need] = (),
    ) -> None:
        """One case, with the id ``client.FAMILY-NAME``."""
        case_id = f"{NAME}.{self.name}-{name}"
        if any(case.id == case_id for case in self.cases):
            raise ValueError(f"there are two cases {case_id}")
        self.cases.append(
            _case(case_id, title, _runner(check), expectation, spec or self.spec, frozenset(needs))
        )


def turned_round(family: Family, *, without: Sequence[str] = ()) -> list[Case]:
    """The cases of a family for servers, put to a client; ``without`` those whose names begin so."""
    cases = []
    for case, check in family.checks:
        name = case.id.partition(".")[2]
        if not name.removeprefix(f"{family.name}-").startswith(tuple(without)):
            expectation = case.expectation.replace(", and the server ends TCP", "")
            case_id = f"{NAME}.{name}"
            run = _runner_of_servers(check)
            cases.append(_case(case_id, case.title, run, expectation, case.spec, case.needs))
    return cases


def _case(case_id: str, title: str, run: Run, expectation: str, spec: str, needs: frozenset[Need]) -> Case:
    return Case(
        id=case_id,
        suite=NAME,
        title=title,
        expectation=expectation,
        spec=spec,
        run=run,
        needs=needs | {Need.CLIENT},
        timeout=CASE_TIMEOUT,
    )


def _runner(check: ClientCheck) -> Run:
    async def run(context: Context) -> Outcome:
        exchange = ClientExchange(context)
        return await exchange.run(lambda _: check(exchange))

    return run


def _runner_of_servers(check: Check) -> Run:
    async def run(context: Context) -> Outcome:
        return await ClientExchange(context).run(check)

    return run
