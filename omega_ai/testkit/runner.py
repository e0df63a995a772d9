"""Runs the cases of suites against a target, and makes one result of them."""

from __future__ import annotations

import asyncio
import platform
import traceback
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from msgspec.structs import replace as changed

from omega_ai import __version__
from omega_ai.core.clock import Clock, SystemClock
from omega_ai.core.timestamps import format_utc
from omega_ai.testkit.case import Case, CaseEnded, NotApplicable, Outcome, Suite, Undecided, failed, unknown
from omega_ai.testkit.context import Context, Products
from omega_ai.testkit.doubt import TRIES, is_busy, is_doubtful, unconfirmed, worth_repeating
from omega_ai.testkit.history import Happening, History
from omega_ai.testkit.lag import LagWatch
from omega_ai.testkit.result import CaseResult, RunResult, SuiteResult, TargetFacts, WireLine
from omega_ai.testkit.target import Target
from omega_ai.testkit.verdict import Verdict

AT_ONCE = 8
"""Cases that run at the same time, of those that may."""
CLEANUP_TIMEOUT = 15.0
"""Seconds in which a case's connections and processes must have ended."""


LAG_LIMIT_S = 4.0
"""Held up for longer, we cannot say that an answer did not come, though we wait longer then."""
CALM_WAIT_S = 5.0
"""Seconds for which another try waits until the machine has less to do."""


class Observer(Protocol):
    """Is told how a run goes, for a live display."""

    def suite_started(self, name: str, cases: int) -> None:
        """A suite with so many cases begins."""

    def case_progressed(self, case: Case, text: str, share: float | None) -> None:
        """A case says what it is doing."""

    def case_ended(self, result: CaseResult) -> None:
        """A case has its verdict."""


class Silent:
    """An observer that does nothing."""

    def suite_started(self, name: str, cases: int) -> None:
        """See ``Observer``."""

    def case_progressed(self, case: Case, text: str, share: float | None) -> None:
        """See ``Observer``."""

    def case_ended(self, result: CaseResult) -> None:
        """See ``Observer``."""


@dataclass(frozen=True, slots=True)
class Try:
    """A case was put to the target once."""

    result: CaseResult
    products: Products
    doubtful: bool
    """It is worth another try."""


class Runner:
    """One run: target, seed and where to tell of it."""

    def __init__(
        self,
        target: Target,
        *,
        seed: int,
        observer: Observer | None = None,
        clock: Clock | None = None,
        reproduce: Callable[[Case], str] = lambda case: case.id,
        only: Collection[str] = (),
    ) -> None:
        self.target = target
        self.seed = seed
        self.clock: Clock = SystemClock() if clock is None else clock
        self.products = Products()
        self._observer = Silent() if observer is None else observer
        self._reproduce = reproduce
        self._only = frozenset(only)
        self._start = self.clock.monotonic()
        self._lag: LagWatch | None = None

    async def run(self, suites: Sequence[Suite], *, command: str = "") -> RunResult:
        """Run the suites in order, and give the whole result."""
        started = format_utc(self.clock.time_ns())
        self._start = self.clock.monotonic()
        results = [await self.run_suite(suite) for suite in suites]
        target = self.target
        return RunResult(
            target=TargetFacts(
                url=target.url,
                profile=target.profile.name,
                server=target.server,
                facts=target.facts,
                limits=target.limits,
            ),
            seed=self.seed,
            started=started,
            duration_s=self.clock.monotonic() - self._start,
            suites=tuple(results),
            histograms=self.products.histograms,
            series=tuple(self.products.series),
            fault_windows=tuple(self.products.fault_windows),
            thresholds=tuple(self.products.thresholds),
            invalid=tuple(self.products.invalid),
            versions={
                "omega-btc-ai": __version__,
                "python": platform.python_version(),
                "system": f"{platform.system()} {platform.release()} {platform.machine()}",
            },
            command=command,
        )

    async def run_suite(self, suite: Suite) -> SuiteResult:
        """Run one suite: first, at once, the cases that may run beside others, then the rest one by one."""
        begin = self.clock.monotonic()
        cases = [case for case in suite if not self._only or case.id in self._only]
        async with LagWatch(self.clock) as self._lag:
            try:
                results = await self._run_cases(suite, cases)
            finally:
                self._lag = None
        return SuiteResult(
            name=suite.name,
            title=suite.title,
            cases=tuple(results[case.id] for case in cases),
            duration_s=self.clock.monotonic() - begin,
        )

    async def _run_cases(self, suite: Suite, cases: Sequence[Case]) -> dict[str, CaseResult]:
        self._observer.suite_started(suite.name, len(cases))
        slots = asyncio.Semaphore(AT_ONCE)
        results: dict[str, CaseResult] = {}

        first: dict[str, Try] = {}

        async def one(case: Case) -> None:
            async with slots:
                first[case.id] = tried = await self._try(case)
            if not tried.doubtful:
                results[case.id] = self._ended(tried)

        await asyncio.gather(*(one(case) for case in cases if not case.alone))
        for case in cases:
            if case.alone:
                await one(case)
        doubtful = [case for case in cases if first[case.id].doubtful]
        again = worth_repeating(len(doubtful), len(cases))
        for case in doubtful:  # one by one, when nothing else runs
            tried = first[case.id]
            results[case.id] = self._ended(await self._try_again(case, tried) if again else tried)
        return results

    async def run_case(self, case: Case) -> CaseResult:
        """Put one case to the target. Whatever goes wrong in the case itself is no verdict on the target."""
        if self._lag is None:
            async with LagWatch(self.clock) as self._lag:
                try:
                    return await self.run_case(case)
                finally:
                    self._lag = None
        tried = await self._try(case)
        return self._ended(await self._try_again(case, tried) if tried.doubtful else tried)

    def _ended(self, tried: Try) -> CaseResult:
        """This is how the case ended: keep what it leaves, tell of it."""
        self.products.add(tried.products)
        self._observer.case_ended(tried.result)
        return tried.result

    async def _try_again(self, case: Case, first: Try) -> Try:
        """Put a doubtful case to the target until it is seen twice to fail, or once to pass."""
        failures = int(first.result.verdict is Verdict.FAIL)
        last = first
        for number in range(1, TRIES):
            self._observer.case_progressed(case, "once more, as this machine was busy", None)
            if self._lag is not None:
                await self._lag.calm(CALM_WAIT_S)
            last = await self._try(case, number)
            verdict = last.result.verdict
            if verdict is Verdict.PASS:
                note = unconfirmed(first.result.verdict, first.result.finding)
                return replace(last, result=changed(last.result, findings=(*last.result.findings, note)))
            if verdict is Verdict.FAIL:
                if failures or not last.doubtful:
                    return last
                failures += 1
        return last

    async def _try(self, case: Case, number: int = 0) -> Try:
        lag = self._lag
        assert lag is not None  # noqa: S101 - a suite, or a case alone, is watched
        begin = self.clock.monotonic()
        skipped = self._unfit(case)
        outcome = unknown("")
        history: History | None = None
        products = Products()
        if skipped is None:
            context = Context(
                self.target,
                seed=self.seed + number,
                name=case.id,
                clock=self.clock,
                start_ns=round(self._start * 1e9),
                progress=lambda text, share: self._observer.case_progressed(case, text, share),
            )
            context.held_up = lambda: lag.worst(begin)
            context.held_up_since = lag.worst
            context.hold_ups = lambda: lag.hold_ups(begin)
            history = context.history
            try:
                outcome = excuse(await self._outcome(case, context), lag.worst(begin))
            except NotApplicable as reason:
                skipped = str(reason)
            products = context.products
        result = CaseResult(
            id=case.id,
            suite=case.suite,
            title=case.title,
            verdict=Verdict.UNKNOWN if skipped is not None else outcome.verdict,
            expectation=case.expectation,
            spec=case.spec,
            finding=skipped if skipped is not None else outcome.finding,
            findings=outcome.findings,
            evidence=outcome.evidence or _evidence(history, outcome.verdict),
            skipped=skipped,
            start_ns=round((begin - self._start) * 1e9),
            duration_s=self.clock.monotonic() - begin,
            reproduce=self._reproduce(case),
            reproducer=outcome.reproducer,
            figures=dict(outcome.figures),
        )
        doubtful = skipped is None and is_doubtful(outcome, busy=is_busy(lag.worst(begin)))
        return Try(result, products, doubtful)

    def _unfit(self, case: Case) -> str | None:
        lacking = self.target.lacks(case.needs)
        if lacking is None and case.destructive and self.target.profile.read_only:
            return "a server of others that nobody allowed us to strain: its profile says read_only"
        return lacking

    async def _outcome(self, case: Case, context: Context) -> Outcome:
        timer = asyncio.timeout(case.timeout)
        outcome: Outcome
        try:
            try:
                async with timer:
                    outcome = await case.run(context)
            finally:
                await clean_up(context)
        except CaseEnded as ended:
            outcome = ended.outcome
        except NotApplicable:
            raise
        except TimeoutError as error:
            if not timer.expired():
                return _defect(case, error)
            return unknown(f"not done within {case.timeout:g} s")
        except Exception as error:
            return _defect(case, error)
        return _distrust(outcome, context.history)


async def clean_up(context: Context) -> None:
    """Release everything; what does not end in time is left to its own time-outs, and no verdict."""
    try:
        async with asyncio.timeout(CLEANUP_TIMEOUT):
            await context.release()
    except TimeoutError:
        raise Undecided(f"its connections did not end within {CLEANUP_TIMEOUT:g} s of the case") from None


def excuse(outcome: Outcome, lag_s: float) -> Outcome:
    """Turn a failure into unknown if it is that something did not come, and we were held up for long.

    Something wrong that came is wrong all the same.
    """
    if outcome.verdict is not Verdict.FAIL or not outcome.by_silence or lag_s < LAG_LIMIT_S:
        return outcome
    text = f"this machine held us up for {lag_s:.1f} s, so it cannot be said: {outcome.finding}"
    return replace(outcome, verdict=Verdict.UNKNOWN, finding=text)


def _defect(case: Case, error: Exception) -> Outcome:
    """A case that raised says nothing of the target."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{place.filename.rpartition('/')[2]}:{place.lineno}"
    return unknown(
        f"the case {case.id} has a defect, please report it: {type(error).__name__}: {error} at {where}"
    )


def _distrust(outcome: Outcome, history: History) -> Outcome:
    """Let no fault pass that the case did not look for, and no pass stand on a history with holes."""
    if outcome.verdict is Verdict.FAIL:
        return outcome
    for client in history.clients.values():
        for event in client.events:
            if event.kind is Happening.VIOLATION and not event.by_us:
                return failed(f"the server broke the protocol ({event.code}): {event.text}")
        if client.overflowed:
            return unknown(f"{client.name} received more than is kept: {client.overflowed} messages were not")
    return outcome


def _evidence(history: History | None, verdict: Verdict) -> tuple[WireLine, ...]:
    if history is None:
        return ()
    return history.wire(limit=20 if verdict is Verdict.PASS else 120)
