"""Puts the suite ``contract`` to servers that break their contract, and to the right one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from omega_ai.testkit.contract.suite import SUITE
from omega_ai.testkit.result import CaseResult, Severity
from omega_ai.testkit.runner import Runner
from omega_ai.testkit.target import Target
from omega_ai.testkit.verdict import Verdict
from omega_ai.testkit.zoo.contract import ContractExhibit, ContractSite, zoo_contract


@dataclass(slots=True)
class ContractProof:
    """How often a fault was caught, and shrunk."""

    exhibit: ContractExhibit
    runs: int = 0
    caught: int = 0
    missed: list[str] = field(default_factory=list)

    def add(self, other: ContractProof) -> None:
        """What another process saw of the same."""
        self.runs += other.runs
        self.caught += other.caught
        self.missed += other.missed


async def put(site: type[ContractSite], case: str, seed: int) -> CaseResult:
    """One case to one server."""
    chosen = next(one for one in SUITE if one.id == case)
    async with site(seed) as server:
        target = Target(server.url, server.profile, contract=zoo_contract())
        return await Runner(target, seed=seed).run_case(chosen)


async def prove_contract(exhibit: ContractExhibit, seeds: Iterable[int]) -> ContractProof:
    """Its case must find it, and shrink it to as few messages as it takes."""
    proof = ContractProof(exhibit)
    for seed in seeds:
        result = await put(exhibit.site, exhibit.case, seed)
        proof.runs += 1
        kinds = {one.kind for one in result.findings if one.severity is Severity.FAILURE}
        sent = 0 if result.reproducer is None else result.reproducer[1].count("client.send(")
        if result.verdict is Verdict.FAIL and exhibit.kind in kinds and sent == exhibit.steps:
            proof.caught += 1
        else:
            proof.missed.append(f"seed {seed}: {result.verdict}: {result.finding}")
    return proof


async def contract_alarms(seed: int) -> list[CaseResult]:
    """Every case to the right server; those that did not pass."""
    results = [await put(ContractSite, case.id, seed) for case in SUITE]
    return [case for case in results if case.verdict is not Verdict.PASS]
