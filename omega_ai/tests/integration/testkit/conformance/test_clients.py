"""The suite for clients: each fault is caught by its case, and a right client passes them all."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from omega_ai.testkit.conformance.clients.arrivals import Arrivals
from omega_ai.testkit.conformance.clients.exchange import ClientExchange
from omega_ai.testkit.conformance.clients.meeting import meet
from omega_ai.testkit.conformance.clients.suite import SUITE
from omega_ai.testkit.result import CaseResult, Severity
from omega_ai.testkit.runner import Runner
from omega_ai.testkit.verdict import Verdict
from omega_ai.testkit.zoo.client_catalogue import CATCHES
from omega_ai.testkit.zoo.client_prove import put
from omega_ai.testkit.zoo.conformance_client import CLIENT_FAULTS, FaultyClient
from omega_ai.tests.conformance.echo import client_options, echo_client


@pytest.mark.parametrize(("fault", "name", "kind"), CATCHES, ids=lambda value: str(value))
async def test_the_fault_is_caught_by_its_case(
    monkeypatch: pytest.MonkeyPatch, fault: str, name: str, kind: str
) -> None:
    """The same case passes where there is no fault, so that it is the fault which it sees."""
    with monkeypatch.context() as impatient:  # it answers at once or never
        impatient.setattr(ClientExchange, "patience", 0.7)
        impatient.setattr("omega_ai.testkit.conformance.clients.exchange.LINGER", 0.7)
        impatient.setattr("omega_ai.testkit.conformance.exchange.GLANCE", 0.1)
        impatient.setattr("omega_ai.testkit.runner.is_busy", lambda lag_s: False)
        result = await put(name, 7, fault)
    assert result.verdict is Verdict.FAIL, result.finding
    kinds = {finding.kind for finding in result.findings if finding.severity is Severity.FAILURE}
    assert kind in kinds, result.finding
    assert result.evidence
    right = await put(name, 7)
    assert right.verdict is Verdict.PASS, right.finding


def test_every_fault_has_a_case_that_catches_it() -> None:
    """No fault is kept that nothing shows."""
    assert {fault for fault, _, _ in CATCHES} == set(CLIENT_FAULTS)


def test_a_fault_that_does_not_exist_is_an_error_that_says_so() -> None:
    """And which there are."""
    with pytest.raises(ValueError, match="no such fault: nonsense; there are mask"):
        FaultyClient("ws://127.0.0.1:1/", "nonsense")


def sample(step: int) -> set[str]:
    """Each ``step``-th case, and all about answers and masks, without what takes seconds."""
    ids = {case.id for case in SUITE.cases[::step]}
    ids |= {case.id for case in SUITE if case.id.startswith(("client.answer-", "client.mask-"))}
    return {one for one in ids if not one.startswith("client.limit-")}


async def judged(arrivals: Arrivals, step: int) -> list[CaseResult]:
    """All that were put to the client."""
    target = await meet(arrivals)
    runner = Runner(target, seed=3, only=sample(step))
    result = await runner.run_suite(SUITE)
    return [case for case in result.cases if case.skipped is None]


async def test_the_faultless_client_passes() -> None:
    """The one that the faults are put into."""
    async with Arrivals(None) as arrivals, FaultyClient(arrivals.url, at_once=8):
        put_to_it = await judged(arrivals, 7)
    assert [(case.id, case.finding) for case in put_to_it if case.verdict is not Verdict.PASS] == []
    assert len(put_to_it) > len(SUITE.cases) / 10
    assert all(case.evidence for case in put_to_it)


@asynccontextmanager
async def our_clients(arrivals: Arrivals):
    """Our engine's, that come again and again."""

    async def come() -> None:
        options = client_options()
        while True:
            try:
                await echo_client(int(arrivals.url.split(":")[2].strip("/")), "/", options)
            except Exception:
                await asyncio.sleep(0)

    tasks = [asyncio.create_task(come()) for _ in range(8)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_our_client_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """An independent implementation. Of an answer that is refused it reads the rest, for a while."""
    monkeypatch.setattr(ClientExchange, "patience", 3.0)
    async with Arrivals(None) as arrivals, our_clients(arrivals):
        put_to_it = await judged(arrivals, 9)
    assert [(case.id, case.finding) for case in put_to_it if case.verdict is not Verdict.PASS] == []


def test_cases_about_servers_alone_are_left_out() -> None:
    """Who ends TCP first, what harms others, and what a request may look like."""
    names = {case.id.partition(".")[2] for case in SUITE}
    assert not {"close-server-ends-tcp", "mask-unmasked-text", "open-right-plain"} & names
    assert {"mask-masked-text", "answer-wrong-other-accept", "utf8-invalid-fe", "deflate-takeover"} <= names
    assert len(names) == len(SUITE.cases) > 700
