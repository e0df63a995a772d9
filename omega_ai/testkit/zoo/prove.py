"""Runs the zoo: every case must catch its fault, every time, and no case may accuse a right server."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from omega_ai.testkit.case import Case
from omega_ai.testkit.portal import Portal
from omega_ai.testkit.result import CaseResult, Severity
from omega_ai.testkit.runner import Runner
from omega_ai.testkit.suites import load_suite
from omega_ai.testkit.target import Target
from omega_ai.testkit.verdict import Verdict
from omega_ai.testkit.zoo.catalogue import Exhibit
from omega_ai.testkit.zoo.certificates import Authority
from omega_ai.testkit.zoo.showing import Showing
from omega_ai.testkit.zoo.site import Site

OWN_SUITES = ("connectivity", "messages", "broadcast", "reconnection", "security", "tls", "load")


@dataclass(slots=True)
class Proof:
    """How often a fault was caught, and what was seen when it was not."""

    exhibit: Exhibit
    runs: int = 0
    caught: int = 0
    missed: list[str] = field(default_factory=list)

    def add(self, other: Proof) -> None:
        """What another process saw of the same."""
        self.runs += other.runs
        self.caught += other.caught
        self.missed += other.missed


def find_case(case_id: str) -> Case:
    """The case with this id."""
    return next(case for case in load_suite(case_id.partition(".")[0]) if case.id == case_id)


async def put(exhibit: Exhibit, case: Case, seed: int) -> CaseResult:
    """Start a server of the zoo and put one case to it."""
    with tempfile.TemporaryDirectory() as directory:
        authority = Authority(Path(directory)) if exhibit.tls is not None else None
        context = exhibit.tls(authority) if exhibit.tls is not None and authority is not None else None
        async with running(exhibit, seed, context) as site:
            ca = None if authority is None else authority.ca
            target = Target(site.url, site.profile, site.secure_url, ca)
            return await Runner(target, seed=seed).run_case(case)


@asynccontextmanager
async def running(
    exhibit: Exhibit, seed: int, context: ssl.SSLContext | Showing | None
) -> AsyncIterator[Site]:
    """A server of the zoo, in a thread of its own: what holds it up must not hold up us, who measure."""
    site = exhibit.site(seed, context)
    portal = Portal()
    await asyncio.to_thread(portal.__enter__)
    try:
        await asyncio.to_thread(portal.call, site.__aenter__())
        try:
            yield site
        finally:
            await asyncio.to_thread(portal.call, site.__aexit__())
    finally:
        await asyncio.to_thread(portal.__exit__)


def caught(exhibit: Exhibit, result: CaseResult) -> bool:
    """Whether the case failed, and for the right reason."""
    if result.verdict is not Verdict.FAIL:
        return False
    kinds = {finding.kind for finding in result.findings if finding.severity is Severity.FAILURE}
    return exhibit.kind is None or exhibit.kind in kinds


async def prove(exhibit: Exhibit, seeds: Iterable[int]) -> Proof:
    """Put its case to the faulty server, once for each seed."""
    proof = Proof(exhibit)
    case = find_case(exhibit.case)
    for seed in seeds:
        result = await put(exhibit, case, seed)
        proof.runs += 1
        if caught(exhibit, result):
            proof.caught += 1
        else:
            proof.missed.append(f"seed {seed}: {result.verdict}: {result.finding}")
    return proof


async def prove_all(exhibits: Sequence[Exhibit], seeds: Sequence[int], at_once: int = 4) -> list[Proof]:
    """All of them, some at once."""
    slots = asyncio.Semaphore(at_once)

    async def one(exhibit: Exhibit) -> Proof:
        async with slots:
            return await prove(exhibit, seeds)

    return await asyncio.gather(*map(one, exhibits))


async def alarms(exhibit: Exhibit, seed: int, suites: Sequence[str] = OWN_SUITES) -> list[CaseResult]:
    """Put every case to a right server; those that did not pass, though they could be put to it.

    A server that is right in one thing is put that one case, which it must pass.
    """
    if exhibit.case:
        only = await put(exhibit, find_case(exhibit.case), seed)
        return [] if only.verdict is Verdict.PASS else [only]
    raised = []
    with tempfile.TemporaryDirectory() as directory:
        authority = Authority(Path(directory))
        context = exhibit.tls(authority) if exhibit.tls is not None else None
        async with running(exhibit, seed, context) as site:
            target = Target(site.url, site.profile, site.secure_url, authority.ca)
            runner = Runner(target, seed=seed)
            for name in suites:
                result = await runner.run_suite(load_suite(name))
                raised += [
                    case for case in result.cases if case.skipped is None and case.verdict is not Verdict.PASS
                ]
    return raised
