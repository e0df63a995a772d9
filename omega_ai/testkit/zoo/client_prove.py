"""Puts cases of the suite for clients to faulty clients, and to the right one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from omega_ai.testkit.conformance.clients.arrivals import Arrivals
from omega_ai.testkit.conformance.clients.suite import SUITE
from omega_ai.testkit.profile import load_profile
from omega_ai.testkit.result import CaseResult, Severity
from omega_ai.testkit.runner import Runner
from omega_ai.testkit.target import Target
from omega_ai.testkit.verdict import Verdict
from omega_ai.testkit.zoo.conformance_client import CLIENT_FAULTS, FaultyClient


@dataclass(slots=True)
class ClientProof:
    """How often a fault was caught by its case."""

    fault: str
    case: str
    kind: str
    runs: int = 0
    caught: int = 0
    missed: list[str] = field(default_factory=list)

    def add(self, other: ClientProof) -> None:
        """What another process saw of the same."""
        self.runs += other.runs
        self.caught += other.caught
        self.missed += other.missed

    @property
    def what(self) -> str:
        """The fault in words."""
        return CLIENT_FAULTS[self.fault]


async def put(name: str, seed: int, *faults: str) -> CaseResult:
    """One case (without ``client.``) to a client with these faults."""
    case = next(one for one in SUITE if one.id == f"client.{name}")
    async with Arrivals(None) as arrivals, FaultyClient(arrivals.url, *faults):
        target = Target(arrivals.url, load_profile("echo"), clients=arrivals)
        return await Runner(target, seed=seed).run_case(case)


async def prove_client(fault: str, name: str, kind: str, seeds: Iterable[int]) -> ClientProof:
    """Put its case to the faulty client, once for each seed."""
    proof = ClientProof(fault, name, kind)
    for seed in seeds:
        result = await put(name, seed, fault)
        proof.runs += 1
        kinds = {f.kind for f in result.findings if f.severity is Severity.FAILURE}
        if result.verdict is Verdict.FAIL and kind in kinds:
            proof.caught += 1
        else:
            proof.missed.append(f"seed {seed}: {result.verdict}: {result.finding}")
    return proof


async def client_alarms(seed: int) -> list[CaseResult]:
    """Every case to the right client; those that did not pass, though they could be put to it."""
    async with Arrivals(None) as arrivals, FaultyClient(arrivals.url, at_once=8):
        target = Target(arrivals.url, load_profile("echo"), clients=arrivals)
        result = await Runner(target, seed=seed).run_suite(SUITE)
    return [case for case in result.cases if case.skipped is None and case.verdict is not Verdict.PASS]
