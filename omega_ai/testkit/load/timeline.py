"""Faults on a timeline: each begins and ends when its time has come, and all of them at once when told to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from omega_ai.core.clock import Clock, SystemClock
from omega_ai.testkit.experiment.breaking import Undo, begin
from omega_ai.testkit.experiment.machine import RealMachine
from omega_ai.testkit.experiment.model import FaultStep
from omega_ai.testkit.experiment.world import World
from omega_ai.testkit.load.fault_plan import described, is_proxied
from omega_ai.testkit.process_faults import alive
from omega_ai.testkit.result import FaultWindow
from omega_ai.testkit.server_process import ServerFailed


class GivenProcess:
    """A server of which only the process is known: a ``Control`` that cannot start it."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    @property
    def pid(self) -> int | None:
        """While it runs."""
        return self._pid if alive(self._pid) else None

    async def stop(self) -> None:
        """See ``Control``."""
        raise ServerFailed("it was not started by us")

    kill = start = stop


class GivenMachine(RealMachine):
    """The process of a server that was not started by us."""

    async def begin(self, step: FaultStep) -> None:
        """See ``Machine``.

        Raises:
            ProcessLookupError: it is gone.
        """
        if (lacking := self.lacks(step)) is not None:
            raise ProcessLookupError(lacking.removeprefix(f"{step.name}: "))
        await super().begin(step)

    async def ensure(self) -> None:
        """That it runs is not for us to see to."""


class Timeline:
    """Makes faults when their time comes. ``run`` ends when all are over; ``stop`` ends them now."""

    def __init__(
        self, steps: Sequence[FaultStep], worlds: Sequence[World], start: float, clock: Clock | None = None
    ) -> None:
        """``worlds`` has one for each address of the server; ``start`` is monotonic seconds of the clock."""
        self._steps, self._worlds, self._start = steps, worlds, start
        self._clock: Clock = SystemClock() if clock is None else clock
        self._stopped = asyncio.Event()
        self.windows: list[FaultWindow] = []
        self.undone: dict[str, str] = {}

    async def run(self) -> None:
        """Until all are over."""
        await asyncio.gather(*map(self._fault, self._steps))
        self.windows.sort(key=lambda window: (window.start_s, window.name))

    def stop(self) -> None:
        """End what is under way; begin nothing more."""
        self._stopped.set()

    async def _fault(self, step: FaultStep) -> None:
        if await self._stopped_by(step.at_s):
            self.undone[step.name] = "the run ended before"
            return
        began = self._now()
        undos: list[Undo] = []
        try:
            for world in self._worlds if is_proxied(step) else self._worlds[:1]:
                undo = await begin(step, world)
                undos += [] if undo is None else [undo]
            await self._stopped_by(step.end_s)
        except Exception as error:
            self.undone[step.name] = f"{getattr(error, 'strerror', None) or error}"
        finally:
            for undo in undos:
                with contextlib.suppress(ProcessLookupError):
                    await undo()
        if step.name not in self.undone:
            self.windows.append(
                FaultWindow(name=step.name, start_s=began, end_s=self._now(), description=described(step))
            )

    async def _stopped_by(self, at_s: float) -> bool:
        """Wait until ``at_s`` of the run; whether it was stopped before."""
        if self._stopped.is_set():
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, at_s - self._now())):
                await self._stopped.wait()
                return True
        return False

    def _now(self) -> float:
        return self._clock.monotonic() - self._start
