"""Servers that are right are accused of nothing, and every family of cases is put to them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from omega_ai.testkit.conformance.suite import FAMILIES, SUITE
from omega_ai.testkit.profile import Profile, load_profile, parse_profile
from omega_ai.testkit.result import CaseResult
from omega_ai.testkit.runner import Runner
from omega_ai.testkit.target import Target
from omega_ai.testkit.verdict import Verdict
from omega_ai.testkit.zoo.certificates import Authority
from omega_ai.testkit.zoo.conformance_server import FaultyEcho
from omega_ai.testkit.zoo.secure import right
from omega_ai.testkit.zoo.site import EchoSite, Site
from omega_ai.tests.conformance.echo import echo_server

SLOW = ("conformance.slow-", "conformance.limit-text-4096k", "conformance.limit-binary-4096k")


def sample(step: int) -> set[str]:
    """The first case of every family and each ``step``-th of them all, without what takes seconds."""
    ids = {family.cases[0].id for family in FAMILIES} | {case.id for case in SUITE.cases[::step]}
    return {one for one in ids if not one.startswith(SLOW)}


async def judged(
    url: str, profile: Profile, step: int, *, ca: Path | None = None
) -> tuple[list[CaseResult], list[CaseResult]]:
    """The cases that were put to it, and those of them that did not pass."""
    runner = Runner(Target(url, profile, ca=ca), seed=3, only=sample(step))
    result = await runner.run_suite(SUITE)
    put = [case for case in result.cases if case.skipped is None]
    return put, [case for case in put if case.verdict is not Verdict.PASS]


async def test_the_faultless_server_passes() -> None:
    """The one that the faults are put into."""
    async with FaultyEcho() as server:
        put, wrong = await judged(server.url, load_profile("echo"), 9)
    assert not wrong, [(case.id, case.finding) for case in wrong]
    assert len(put) > len(SUITE.cases) / 12
    assert all(case.evidence for case in put)


async def test_our_engine_passes() -> None:
    """An independent implementation, without one case failed or non-strict beyond those of HTTP."""
    async with echo_server() as port:
        put, wrong = await judged(f"ws://127.0.0.1:{port}/", load_profile("echo"), 9)
    assert not wrong, [(case.id, case.finding) for case in wrong]
    assert len(put) > len(SUITE.cases) / 12


async def test_a_server_that_answers_in_its_own_words_is_judged_too() -> None:
    """The zoo's server echoes JSON objects alone; payloads of our choice travel inside of them."""
    async with Site() as site:
        put, wrong = await judged(site.url, site.profile, 9)
    assert not wrong, [(case.id, case.finding) for case in wrong]
    names = {case.id.partition(".")[2].partition("-")[0] for case in put}
    assert {"framing", "fragment", "utf8", "deflate", "close", "open", "ping"} <= names


async def test_a_server_that_echoes_nothing_is_put_only_what_needs_no_echo() -> None:
    """The others are skipped, and say why."""
    silent = parse_profile('name = "silent"\nformat = "text"', "test")
    async with FaultyEcho() as server:
        runner = Runner(Target(server.url, silent), seed=3, only=sample(7))
        result = await runner.run_suite(SUITE)
    skipped = [case for case in result.cases if case.skipped is not None]
    assert skipped
    assert all("answers to its sender" in (case.skipped or "") for case in skipped)
    assert all(case.verdict is Verdict.PASS for case in result.cases if case.skipped is None)


async def test_it_works_over_tls(tmp_path: Path) -> None:
    """The same cases, wss."""
    authority = Authority(tmp_path)
    async with EchoSite(0, right(authority)) as site:
        assert site.secure_url is not None
        put, wrong = await judged(site.secure_url, load_profile("echo"), 11, ca=authority.ca)
    assert not wrong, [(case.id, case.finding) for case in wrong]
    assert put


def test_clients_that_leave_without_waiting_are_no_error_of_our_engine(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A close frame and, before it is answered, the end of TCP: nothing to log, on asyncio's own loop too."""
    case = next(one for one in SUITE if one.id == "conformance.close-gone-close-without-waiting")

    async def leave() -> None:
        async with echo_server() as port:
            target = Target(f"ws://127.0.0.1:{port}/", load_profile("echo"))
            for seed in range(5):
                assert (await Runner(target, seed=seed).run_case(case)).verdict is Verdict.PASS
                await asyncio.sleep(0.02)

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(leave())
    assert not caplog.records
