"""The runner: whatever happens in a case becomes a verdict to be trusted, and nothing is left behind."""

from __future__ import annotations

import asyncio
import time

import pytest

from omega_ai.core.clock import SystemClock
from omega_ai.testkit.case import (
    Failed,
    Need,
    NotApplicable,
    Outcome,
    Suite,
    Undecided,
    failed,
    judged,
    passed,
)
from omega_ai.testkit.context import Context
from omega_ai.testkit.lag import LagWatch
from omega_ai.testkit.profile import load_profile
from omega_ai.testkit.result import CaseResult, Finding, Severity
from omega_ai.testkit.runner import Runner, excuse
from omega_ai.testkit.target import Target
from omega_ai.testkit.verdict import Verdict
from omega_ai.testkit.zoo.protocol import Masks
from omega_ai.testkit.zoo.site import EchoSite


async def result_of(run, site=EchoSite, **options) -> CaseResult:
    suite = Suite("suite", "a suite")
    suite.case("case", "a case", expectation="what is right", **options)(run)
    async with site() as server:
        result = await Runner(Target(server.url, server.profile), seed=3).run_case(suite.cases[0])
        await asyncio.sleep(0.05)
        assert server.visitors == [], "connections were left behind"
    return result


async def test_a_pass_is_a_pass() -> None:
    """With its wire log, and how to run it again."""

    async def run(context: Context) -> Outcome:
        await context.round_trip(await context.connect("client"))
        return passed("all well", figures={"x_ms": 1.0})

    result = await result_of(run)
    assert result.verdict is Verdict.PASS
    assert [line.kind for line in result.evidence][:3] == ["open", "text", "text"]
    assert result.figures == {"x_ms": 1.0}


@pytest.mark.parametrize(
    ("error", "verdict"),
    [(Failed("it is wrong"), Verdict.FAIL), (Undecided("who knows"), Verdict.UNKNOWN)],
)
async def test_a_helper_may_end_a_case(error: Exception, verdict: Verdict) -> None:
    """With its verdict and its sentence."""

    async def run(context: Context) -> Outcome:
        await context.connect("client")
        raise error

    result = await result_of(run)
    assert (result.verdict, result.finding) == (verdict, str(error))


async def test_a_defect_of_the_case_is_no_verdict_on_the_target() -> None:
    """It is unknown, and says where."""

    async def run(context: Context) -> Outcome:
        await context.connect("client")
        raise ZeroDivisionError("oops")

    result = await result_of(run)
    assert result.verdict is Verdict.UNKNOWN
    assert "defect" in result.finding
    assert "test_runner.py" in result.finding


async def test_a_case_that_takes_too_long_is_unknown() -> None:
    """And its connections are closed."""

    async def run(context: Context) -> Outcome:
        await context.connect("client")
        await asyncio.sleep(60)
        return passed("never")

    result = await result_of(run, timeout=0.2)
    assert (result.verdict, result.finding) == (Verdict.UNKNOWN, "not done within 0.2 s")


async def test_a_case_that_does_not_apply_is_skipped_with_the_reason() -> None:
    """It counts for nothing."""

    async def run(context: Context) -> Outcome:
        raise NotApplicable("there is no such thing here")

    assert (await result_of(run)).skipped == "there is no such thing here"
    needs_more = await result_of(run, needs=[Need.PUBLISH, Need.TLS])
    assert needs_more.skipped == (
        "no message is known that it passes on to others; no wss:// address is known"
    )


async def test_a_breach_of_the_protocol_is_a_failure_whatever_the_case_looked_for() -> None:
    """Nothing passes over a connection that the server broke."""

    async def run(context: Context) -> Outcome:
        connection = await context.connect("client")
        context.send_echo(connection)
        await connection.wait_ended()
        return passed("I did not look")

    result = await result_of(run, site=Masks)
    assert result.verdict is Verdict.FAIL
    assert "masked" in result.finding


async def test_with_nothing_examined_a_judgement_is_unknown() -> None:
    """Never a pass."""
    assert judged([], "looked", examined=0).verdict is Verdict.UNKNOWN
    assert judged([], "looked", examined=1).verdict is Verdict.PASS


async def test_cases_run_beside_each_other_unless_they_ask_to_be_alone() -> None:
    """And are reported in their order."""
    suite = Suite("suite", "a suite")
    running: set[str] = set()
    beside: dict[str, set[str]] = {}

    def add(name: str, alone: bool) -> None:
        async def run(context: Context) -> Outcome:
            running.add(name)
            await asyncio.sleep(0.05)
            beside[name] = running - {name}
            await asyncio.sleep(0.05)
            running.discard(name)
            return failed("x") if name == "b" else passed("x")

        suite.case(name, name, expectation="", alone=alone)(run)

    for name in "abcd":
        add(name, alone=name == "c")
    target = Target("ws://127.0.0.1:1/", load_profile("echo"))
    result = await Runner(target, seed=1).run([suite])
    assert [case.id for case in result.cases] == ["suite.a", "suite.b", "suite.c", "suite.d"]
    assert beside["c"] == set()
    assert beside["a"] == {"b", "d"}
    assert result.verdict is Verdict.FAIL


async def test_the_same_seed_chooses_the_same() -> None:
    """So that a failure can be seen again."""
    chosen = []
    for _ in range(2):
        async with Context(Target("ws://127.0.0.1:1/", load_profile("echo")), seed=9, name="a.b") as context:
            chosen.append((context.history.run, context.rng.random()))
    assert chosen[0] == chosen[1]


async def test_a_hold_up_of_our_own_is_measured() -> None:
    """And one that is over is not held against a later case."""
    clock = SystemClock()
    begin = clock.monotonic()
    async with LagWatch(clock) as watch:
        await asyncio.sleep(0.1)
        time.sleep(0.4)  # noqa: ASYNC251 - to hold the loop up is what it is for
        await asyncio.sleep(0.1)
        assert watch.worst(begin) >= 0.3
        assert watch.worst(clock.monotonic()) < 0.3


def outcomes(*verdicts: Verdict, **options):
    """A case that ends in these ways, one after the other, and then in the last of them."""
    left = list(verdicts)
    tries = []

    async def run(context: Context) -> Outcome:
        tries.append(context.seed)
        verdict = left.pop(0) if len(left) > 1 else left[0]
        return Outcome(verdict=verdict, finding=f"try {len(tries)}", **options)

    return run, tries


LATE = Finding(kind="late", text="1 message late")
WRONG = Finding(kind="corrupted", text="1 message corrupted")


@pytest.mark.parametrize(
    ("seen", "options", "verdict", "tries"),
    [
        ([Verdict.FAIL, Verdict.PASS], {"by_silence": True}, Verdict.PASS, 2),
        ([Verdict.FAIL, Verdict.PASS], {"findings": (LATE,)}, Verdict.PASS, 2),
        ([Verdict.FAIL], {"by_silence": True}, Verdict.FAIL, 2),
        ([Verdict.FAIL], {"findings": (LATE, WRONG)}, Verdict.FAIL, 1),
        ([Verdict.FAIL, Verdict.PASS], {}, Verdict.FAIL, 1),
        ([Verdict.UNKNOWN, Verdict.FAIL], {}, Verdict.FAIL, 2),
        ([Verdict.UNKNOWN, Verdict.FAIL], {"by_silence": True}, Verdict.FAIL, 3),
        ([Verdict.UNKNOWN], {}, Verdict.UNKNOWN, 3),
        ([Verdict.PASS], {}, Verdict.PASS, 1),
    ],
)
async def test_on_a_busy_machine_what_did_not_come_must_be_missing_twice(
    monkeypatch: pytest.MonkeyPatch, seen, options, verdict: Verdict, tries: int
) -> None:
    """And what came and was wrong, once."""
    monkeypatch.setattr("omega_ai.testkit.runner.is_busy", lambda lag_s: True)
    monkeypatch.setattr("omega_ai.testkit.runner.CALM_WAIT_S", 0.0)
    run, seeds = outcomes(*seen, **options)
    result = await result_of(run)
    assert (result.verdict, len(seeds)) == (verdict, tries)
    told = [one for one in result.findings if one.kind == "unconfirmed"]
    assert bool(told) is (verdict is Verdict.PASS and tries > 1)
    assert all(one.severity is Severity.WARNING and "try 1" in one.text for one in told)


async def test_on_a_machine_at_rest_a_failure_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault that comes now and then is a fault."""
    monkeypatch.setattr("omega_ai.testkit.runner.is_busy", lambda lag_s: False)
    run, seeds = outcomes(Verdict.FAIL, Verdict.PASS, by_silence=True)
    assert (await result_of(run)).verdict is Verdict.FAIL
    assert len(seeds) == 1


async def test_where_much_is_doubtful_nothing_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no chance then: the target is gone, say."""
    monkeypatch.setattr("omega_ai.testkit.runner.CALM_WAIT_S", 0.0)
    suite = Suite("suite", "a suite")
    run, seeds = outcomes(Verdict.UNKNOWN)
    for number in range(20):
        suite.case(f"case {number}", "", expectation="")(run)
    target = Target("ws://127.0.0.1:1/", load_profile("echo"))
    result = await Runner(target, seed=1).run_suite(suite)
    assert len(seeds) == len(result.cases) == 20


@pytest.mark.parametrize(
    ("by_silence", "lag_s", "verdict"),
    [
        (False, 9.0, Verdict.FAIL),
        (True, 0.6, Verdict.FAIL),
        (True, 4.5, Verdict.UNKNOWN),
    ],
)
def test_an_answer_that_we_may_have_been_late_to_read_is_not_proved_missing(
    by_silence: bool, lag_s: float, verdict: Verdict
) -> None:
    """But something wrong that came is wrong all the same."""
    assert excuse(failed("x", by_silence=by_silence), lag_s).verdict is verdict
