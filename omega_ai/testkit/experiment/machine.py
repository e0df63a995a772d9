"""The process of a real server: one that was started for the test."""

from __future__ import annotations

import contextlib
import signal
from contextlib import AsyncExitStack
from typing import Final

from omega_ai.testkit.case import Undecided
from omega_ai.testkit.experiment.model import FaultStep
from omega_ai.testkit.process_faults import Starving, children, limited, limits_can_be_set, paused, send
from omega_ai.testkit.process_faults.limits import SPARE_DESCRIPTORS, SPARE_MEMORY
from omega_ai.testkit.server_process import ServerFailed
from omega_ai.testkit.target import Control

STARTS: Final = 3
_BESIDE: Final = ("kill-child", "slow-child")


class RealMachine:
    """See ``world.Machine``; ``control`` is the server."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._stacks: dict[str, AsyncExitStack] = {}

    def lacks(self, step: FaultStep) -> str | None:
        """See ``world.Machine``."""
        pid = self._control.pid
        if pid is None:
            return f"{step.name}: the server does not run"
        if step.process in _BESIDE and not children(pid):
            return f"{step.name}: the server has started no process beside itself"
        if step.process in ("descriptors", "memory") and not limits_can_be_set():
            return f"{step.name}: this system cannot set the limits of a process that runs"
        return None

    async def begin(self, step: FaultStep) -> None:
        """See ``world.Machine``."""
        control = self._control
        pid = control.pid
        if pid is None:
            return
        given = step.attributes
        stack = self._stacks[step.name] = AsyncExitStack()
        share, period = float(given.get("share", 0.25)), float(given.get("period_ms", 100)) / 1000
        match step.process:
            case "kill":
                await control.kill()
            case "restart":
                await control.stop()
            case "pause":
                await stack.enter_async_context(paused([pid]))
            case "reload":
                send(pid, signal.SIGHUP)
            case "starve":
                await stack.enter_async_context(Starving([pid], share, period))
            case "descriptors":
                more = int(given.get("spare", SPARE_DESCRIPTORS))
                stack.enter_context(limited(pid, descriptors=more))
            case "memory":
                stack.enter_context(limited(pid, memory=int(given.get("spare", SPARE_MEMORY))))
            case "kill-child":
                for child in children(pid):
                    send(child, signal.SIGKILL)
            case "slow-child":
                await stack.enter_async_context(Starving(children(pid), share, period))

    async def end(self, step: FaultStep) -> None:
        """See ``world.Machine``."""
        stack = self._stacks.pop(step.name, None)
        if stack is not None:
            with contextlib.suppress(ProcessLookupError):
                await stack.aclose()
        await self.ensure()

    async def ensure(self) -> None:
        """See to it that the server runs; on a busy machine a start may need a second try.

        Raises:
            Undecided: it does not come up.
        """
        for left in reversed(range(STARTS)):
            if self._control.pid is not None:
                return
            try:
                await self._control.start()
            except ServerFailed as error:
                if not left:
                    raise Undecided(f"the server did not come up again: {error}") from None
