"""Runs an experiment in a world: load all the time, faults when their time comes, then the judgement."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine
from typing import Any, Final

from omega_ai.testkit.case import CaseEnded, Need, NotApplicable, Outcome, judged
from omega_ai.testkit.connection import ConnectFailed, Connection
from omega_ai.testkit.context import Context
from omega_ai.testkit.experiment.breaking import Undo
from omega_ai.testkit.experiment.breaking import begin as begin_fault
from omega_ai.testkit.experiment.judging import Shown, judge
from omega_ai.testkit.experiment.model import Experiment, FaultStep
from omega_ai.testkit.experiment.visitor import Backoff, Visitor
from omega_ai.testkit.experiment.world import World
from omega_ai.testkit.result import FaultWindow

GATHER_S: Final = 10.0
"""So long may it take until all clients are there for the first time."""
GRACE_S: Final = 1.0
STRAGGLERS_S: Final = 0.3

MakeBackoff = Callable[[random.Random], Backoff]


class Run:
    """One run of one experiment; ``await run()`` gives the outcome, ``shown`` what is behind it."""

    def __init__(
        self, experiment: Experiment, context: Context, world: World, *, backoff: MakeBackoff = Backoff
    ) -> None:
        self.experiment = experiment
        self.context = context
        self.world = world
        self.shown: Shown | None = None
        self.windows: list[FaultWindow] = []
        self.visitors: list[Visitor] = []
        met = context.target.needs_met
        self._publishes = Need.PUBLISH in met
        self._echoes = not self._publishes and Need.ECHO in met
        self._listens = self._publishes or Need.FEED in met
        self._backoff = backoff
        self._tasks: list[asyncio.Task[Any]] = []
        self._undo: list[Undo] = []
        self._publisher: Connection | None = None

    async def __call__(self) -> Outcome:
        """Run it.

        Raises:
            NotApplicable: the target, or its process, cannot be put to it.
        """
        for step in self.experiment.faults:
            lacking = None if step.process is None else self.world.machine.lacks(step)
            if lacking is not None:
                raise NotApplicable(lacking)
        if not (self._publishes or self._echoes or self._listens):
            raise NotApplicable("nothing is known that it would send or answer")
        try:
            await self._live()
        finally:
            await self._end()
        return self._outcome()

    async def _live(self) -> None:
        experiment, context = self.experiment, self.context
        load = experiment.load
        context.progress(f"{load.clients} clients come", None)
        for number in range(load.clients):
            visitor = Visitor(
                context,
                f"client {number + 1}",
                lambda: self.world.proxy.url,
                listens=self._listens,
                patience_s=load.patience_s,
                backoff=self._backoff(random.Random(f"{context.seed}:{experiment.name}:{number}")),
            )
            self.visitors.append(visitor)
            self._task(visitor.run())
        if self._publishes:
            self._task(self._keep_publisher())
        await self._all_ready(GATHER_S)
        self._task(self._send())
        context.progress("steady", None)
        await asyncio.sleep(experiment.steady.before_s)
        begin = context.clock.monotonic()
        await asyncio.gather(*(self._fault(step, begin) for step in experiment.faults))
        recovery = experiment.recovery
        context.progress("recovering", None)
        await self._all_ready(recovery.within_s)
        context.progress("watching", None)
        await asyncio.sleep(recovery.watch_s)

    async def _all_ready(self, within_s: float) -> None:
        clock = self.context.clock
        deadline = clock.monotonic() + within_s
        while clock.monotonic() < deadline:
            if all(visitor.ready for visitor in self.visitors):
                return
            await asyncio.sleep(0.05)

    async def _fault(self, step: FaultStep, begin: float) -> None:
        clock = self.context.clock
        wait = begin + step.at_s - clock.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        self.context.progress(step.text or step.name, None)
        start = self._seconds()
        if step.act == "burst":
            await self._burst(int(step.attributes.get("count", 200)))
        undo = await begin_fault(step, self.world)
        if undo is not None:
            self._undo.append(undo)
        left = begin + step.end_s - clock.monotonic()
        if left > 0:
            await asyncio.sleep(left)
        if undo is not None:
            self._undo.remove(undo)
            await undo()
        text = step.text or step.network or step.process or step.act or ""
        window = FaultWindow(name=step.name, start_s=start, end_s=self._seconds(), description=text)
        self.windows.append(window)

    async def _burst(self, count: int) -> None:
        for number in range(count):
            self._send_one(number, self.context.now_ns())
            if number % 20 == 19:
                await asyncio.sleep(0.005)

    # The load.

    async def _keep_publisher(self) -> None:
        """A connection past the proxy, so that faults are on the listeners' way alone."""
        while True:
            with contextlib.suppress(ConnectFailed, CaseEnded):
                self._publisher = await self.context.connect("publisher", url=self.world.direct, must=False)
                while not self._publisher.over:
                    await self._publisher.wait_ended(60.0)
            await asyncio.sleep(0.1)

    async def _send(self) -> None:
        """By a plan made ahead: what is late counts as late."""
        begin = self.context.now_ns()
        number = 0
        while True:
            intended = begin + round(number * 1e9 / self.experiment.load.rate)
            wait = (intended - self.context.now_ns()) / 1e9
            if wait > 0:
                await asyncio.sleep(wait)
            elif wait < -0.5:  # a server that is away is no backlog to be made up for
                begin, number = self.context.now_ns(), 0
                continue
            self._send_one(number, min(intended, self.context.now_ns()))
            number += 1

    def _send_one(self, number: int, intended_ns: int) -> None:
        size = self.experiment.load.size
        if self._publishes:
            publisher = self._publisher
            if publisher is not None and publisher.open:
                self.context.publish(publisher, size=size, intended_ns=intended_ns)
        elif self._echoes:
            visitor = self.visitors[number % len(self.visitors)]
            connection = visitor.connection
            if visitor.ready and connection is not None and connection.open:
                self.context.send_echo(connection, size=size, intended_ns=intended_ns)

    # The end.

    async def _end(self) -> None:
        for undo in list(self._undo):
            with contextlib.suppress(Exception):
                await undo()
        self._undo.clear()
        if self._tasks:
            self._tasks[-1].cancel()  # the sender; what is on its way may still arrive
            await asyncio.sleep(STRAGGLERS_S)
        self._judge()
        for visitor in self.visitors:
            visitor.leave()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _judge(self) -> None:
        if not self.windows:
            return
        reading = self.context.reading(GRACE_S)
        attempts = {visitor.name: visitor.attempts for visitor in self.visitors}
        names = [visitor.name for visitor in self.visitors]
        self.shown = judge(self.experiment, reading, self.windows, attempts, names)

    def _outcome(self) -> Outcome:
        shown, context, name = self.shown, self.context, self.experiment.name
        assert shown is not None  # noqa: S101 - without a window, an exception was raised
        products = context.products
        products.fault_windows += self.windows
        products.series += shown.series
        if shown.latency is not None:
            products.histograms[f"{name} latency"] = shown.latency
        figures = {"messages": float(shown.examined), "lost_meanwhile": float(shown.lost_meanwhile)}
        told = "not steady again"
        if shown.recovery_s is not None:
            figures["recovery_ms"] = shown.recovery_s * 1000.0
            told = f"steady again after {shown.recovery_s:.1f} s"
        text = f"{shown.examined} deliveries, {told}"
        if shown.lost_meanwhile:
            text += f", {shown.lost_meanwhile} messages did not come that nobody had promised"
        return judged(shown.findings, text, examined=shown.examined, figures=figures)

    def _seconds(self) -> float:
        return (self.context.now_ns() - self.context.history.start_ns) / 1e9

    def _task(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))
