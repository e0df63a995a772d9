"""The process that makes a run's faults, as the run holds it. See ``disturber`` for what it does."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from omega_ai.testkit.experiment.model import FaultStep
from omega_ai.testkit.load.child import Child
from omega_ai.testkit.load.detour import Detour
from omega_ai.testkit.load.disturber import (
    LINE_LIMIT,
    Begin,
    End,
    Ended,
    Failed,
    Orders,
    Prepare,
    Reports,
    Standing,
    Stop,
)
from omega_ai.testkit.load.fault_plan import is_proxied
from omega_ai.testkit.load.plan import LoadPlan, PlanError
from omega_ai.testkit.load.tally import Tally
from omega_ai.testkit.process_faults import children, send

STAND_S: Final = 30.0
END_S: Final = 30.0


class DisturbanceFailed(Exception):
    """Faults could not be made; ``str(error)`` says why."""


def steps_here(plan: LoadPlan, pid: int | None) -> tuple[FaultStep, ...]:
    """The faults that this machine makes: those on its own connections' way, and those of the process that it
    was given.

    Raises:
        PlanError: a process is to be disturbed, and none was given.
    """
    lonely = [step.name for step in plan.faults if step.process is not None]
    if lonely and pid is None and plan.shards == 1:
        raise PlanError(
            f"the fault {lonely[0]!r} is one of the server's process, and nothing says which that is: "
            "--server-pid"
        )
    return tuple(step for step in plan.faults if step.process is None or pid is not None)


@asynccontextmanager
async def disturbed(plan: LoadPlan, pid: int | None) -> AsyncIterator[Disturbance | None]:
    """What makes the faults of ``plan``, ready to begin; None if there are none to make here.

    Raises:
        PlanError: see ``steps_here``.
        DisturbanceFailed: it cannot be had.
    """
    steps = steps_here(plan, pid)
    if not steps:
        yield None
        return
    disturbance = Disturbance(plan, steps, pid)
    try:
        await disturbance.stand()
        yield disturbance
    finally:
        await disturbance.leave()


class Disturbance:
    """A ``disturber``. Made by ``disturbed``."""

    def __init__(self, plan: LoadPlan, steps: tuple[FaultStep, ...], pid: int | None) -> None:
        self.detour: Detour | None = None
        """Where connections go."""
        self._plan, self._steps = plan, steps
        self._pid = pid if any(step.process is not None for step in steps) else None
        self._child: Child | None = None

    async def stand(self) -> None:
        """Start it, and wait until it is ready.

        Raises:
            DisturbanceFailed: it cannot be had.
        """
        self._child = await Child.start("omega_ai.testkit.load.disturber", line_limit=LINE_LIMIT)
        plan = self._plan
        detours = any(map(is_proxied, self._steps))
        self._tell(
            Prepare(
                steps=self._steps,
                urls=plan.urls,
                clients=-(-plan.clients // plan.shards) if detours else 0,
                seed=plan.seed + plan.shard,
                ca=plan.ca,
                pid=self._pid,
            )
        )
        report = await self._report(STAND_S)
        if not isinstance(report, Standing):
            raise DisturbanceFailed("the process that makes the faults is not ready")
        self.detour = report.detour

    def begin(self, at_ns: int) -> None:
        """The run starts at ``at_ns`` of ``time.monotonic_ns``."""
        self._tell(Begin(at_ns))

    def stop(self) -> None:
        """End the faults that are under way, and begin no more."""
        self._tell(Stop())

    async def settle(self, tally: Tally) -> None:
        """The run is over: note in ``tally`` what was broken, and what the proxy added.

        Raises:
            DisturbanceFailed: it did not get to the end.
        """
        self._tell(End())
        report = await self._report(END_S)
        if not isinstance(report, Ended):
            raise DisturbanceFailed("the process that makes the faults did not end")
        tally.faults, tally.undone = report.windows, report.undone
        if report.cost is not None:
            tally.detours = [msgspec.structs.replace(report.cost, shard=self._plan.shard)]

    async def leave(self) -> None:
        """Leave no process behind, and none stopped."""
        if self._child is None:
            return
        code = await self._child.end(END_S)
        if code and self._pid is not None:  # it may not have come to mending
            for pid in (self._pid, *children(self._pid)):
                with contextlib.suppress(PermissionError):
                    send(pid, signal.SIGCONT)

    def _tell(self, order: Orders) -> None:
        if self._child is not None:
            self._child.tell(order)

    async def _report(self, within_s: float) -> Reports:
        child = self._child
        assert child is not None  # noqa: S101 - it was started
        try:
            async with asyncio.timeout(within_s):
                line = await child.reports.readline()
        except TimeoutError:
            raise DisturbanceFailed(
                f"the process that makes the faults said nothing for {within_s:g} s"
            ) from None
        if not line:
            raise DisturbanceFailed(f"the process that makes the faults {await child.how_it_ended()}")
        report: Reports = msgspec.json.decode(line, type=Reports)
        if isinstance(report, Failed):
            raise DisturbanceFailed(f"the faults cannot be made: {report.text}")
        return report
