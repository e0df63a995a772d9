"""Runs a plan: workers in processes of their own, so that neither a display nor a checker disturbs them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Final

import msgspec

from omega_ai.testkit.load.child import Child
from omega_ai.testkit.load.detour import Detour
from omega_ai.testkit.load.disturbance import Disturbance, DisturbanceFailed, disturbed
from omega_ai.testkit.load.plan import LoadPlan
from omega_ai.testkit.load.tally import Tally, Window, add_window, empty_window, merge
from omega_ai.testkit.load.worker import Done, Failed, Prepare, Ready, Reports, Seen, Start, Stop

READY_S: Final = 30.0
"""Seconds that workers have to get ready."""
HEAD_START_S: Final = 0.1
"""Seconds from all being ready until the start."""
OVERDUE_S: Final = 30.0
"""Seconds after which a worker that should have ended is given up."""
END_S: Final = 2.0
"""A worker that has not ended by then is killed."""
REPORT_LIMIT: Final = 1 << 30


class LoadError(Exception):
    """The run could not be carried out, through no fault of the server; ``str(error)`` says what to do."""


async def run_load(
    plan: LoadPlan,
    *,
    on_window: Callable[[Window], None] | None = None,
    stop: asyncio.Event | None = None,
    server_pid: int | None = None,
) -> Tally:
    """Carry ``plan`` out and give back what was seen.

    Args:
        plan: What to do. With ``plan.shards`` > 1, this machine's part of it.
        on_window: Called for each window in order, all workers joined, soon after it has ended.
        stop: When set, the run stops sending at once, ends its faults, waits for what is on its way, and ends
            as usual.
        server_pid: The server's process, for those of the plan's faults that are done to it.

    Raises:
        PlanError: the plan cannot be carried out.
        LoadError: a worker could not start or was killed, or the faults could not be made.
    """
    plan.check()
    try:
        async with disturbed(plan, server_pid) as disturbance:
            return await _run(plan, disturbance, on_window, stop)
    except DisturbanceFailed as error:
        raise LoadError(str(error)) from None


async def _run(
    plan: LoadPlan,
    disturbance: Disturbance | None,
    on_window: Callable[[Window], None] | None,
    stop: asyncio.Event | None,
) -> Tally:
    detour = None if disturbance is None else disturbance.detour
    crew = [_Hand(plan, worker, detour) for worker in range(plan.workers)]
    stopping: asyncio.Task[None] | None = None
    try:
        async with asyncio.timeout(READY_S):
            await asyncio.gather(*(hand.prepare() for hand in crew))
    except TimeoutError:
        await asyncio.gather(*(hand.end() for hand in crew))
        raise LoadError(f"the workers were not ready within {READY_S:g} s") from None
    except BaseException:
        await asyncio.gather(*(hand.end() for hand in crew))
        raise
    try:
        start = _start_of(plan)
        for hand in crew:
            hand.tell(Start(start))
        if disturbance is not None:
            disturbance.begin(start)
        if stop is not None:
            stopping = asyncio.create_task(_stop_all(stop, crew, disturbance))
        joiner = _Joiner(len(crew), plan.window_s, on_window)
        limit = (start - time.monotonic_ns()) / 1e9 + plan.duration_s + plan.grace_s + OVERDUE_S
        try:
            async with asyncio.timeout(limit):
                tally = merge(await asyncio.gather(*(hand.work(joiner) for hand in crew)))
        except TimeoutError:
            raise LoadError("a worker did not end in time") from None
        if disturbance is not None:
            await disturbance.settle(tally)
        return tally
    finally:
        if stopping is not None:
            stopping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await stopping
        await asyncio.gather(*(hand.end() for hand in crew))


def _start_of(plan: LoadPlan) -> int:
    """When to start, by the clock that cannot be set."""
    now = time.monotonic_ns()
    if plan.start_at_utc_ns is None:
        return now + round(HEAD_START_S * 1e9)
    wait = plan.start_at_utc_ns - time.time_ns()
    if wait < 0:
        raise LoadError(f"the time to start was {-wait / 1e9:.1f} s ago; are the machines' clocks right?")
    return now + wait


async def _stop_all(stop: asyncio.Event, crew: list[_Hand], disturbance: Disturbance | None) -> None:
    await stop.wait()
    for hand in crew:
        hand.tell(Stop())
    if disturbance is not None:
        disturbance.stop()


class _Joiner:
    """Joins the windows of several workers, and hands them on in order."""

    def __init__(self, workers: int, window_s: float, tell: Callable[[Window], None] | None) -> None:
        self._workers, self._window_s, self._tell = workers, window_s, tell
        self._open: dict[int, tuple[Window, int]] = {}
        self._next = 0
        self._done = 0

    def add(self, window: Window) -> None:
        """A worker's next window."""
        if self._tell is None:
            return
        place = round(window.start_s / self._window_s)
        joined, parts = self._open.get(place, (empty_window(window.start_s, 0.0), 0))
        add_window(joined, window, beside=True)
        joined.duration_s = max(joined.duration_s, window.duration_s)
        self._open[place] = (joined, parts + 1)
        self._hand_on()

    def done(self) -> None:
        """One of the workers has ended: no more windows come from it."""
        self._done += 1
        self._hand_on()

    def _hand_on(self) -> None:
        while self._next in self._open:
            window, parts = self._open[self._next]
            if parts + self._done < self._workers:
                return
            del self._open[self._next]
            self._next += 1
            if self._tell is not None:
                self._tell(window)


class _Hand:
    """A worker, as its parent holds it."""

    def __init__(self, plan: LoadPlan, worker: int, detour: Detour | None = None) -> None:
        self._plan, self._worker, self._detour = plan, worker, detour
        self._child: Child | None = None

    async def prepare(self) -> None:
        """Start it, and wait until it is ready."""
        self._child = await Child.start("omega_ai.testkit.load.worker")
        self.tell(Prepare(self._plan, self._worker, self._detour))
        report = await self._report()
        if isinstance(report, Failed):
            raise LoadError(report.text)
        if not isinstance(report, Ready):
            raise LoadError("a worker said something else than that it is ready")

    def tell(self, order: Prepare | Start | Stop) -> None:
        """Give it an order."""
        if self._child is not None:
            self._child.tell(order)

    async def work(self, joiner: _Joiner) -> Tally:
        """Wait for its end."""
        while True:
            report = await self._report()
            if isinstance(report, Seen):
                joiner.add(report.window)
            elif isinstance(report, Done):
                joiner.done()
                return report.tally
            elif isinstance(report, Failed):
                raise LoadError(report.text)

    async def _report(self) -> Reports:
        child = self._child
        assert child is not None  # noqa: S101 - it was started
        try:
            size = int.from_bytes(await child.reports.readexactly(4), "big")
            if size > REPORT_LIMIT:
                raise LoadError("a worker's report is too long")
            return _decoder.decode(await child.reports.readexactly(size))
        except asyncio.IncompleteReadError:
            how = await child.how_it_ended()
            raise LoadError(f"a worker {how}; what it wrote to standard error says more") from None

    async def end(self) -> None:
        """Leave no process behind."""
        if self._child is not None:
            await self._child.end(END_S)


_decoder: Final[msgspec.msgpack.Decoder[Reports]] = msgspec.msgpack.Decoder(Reports)
