"""A process of a simulation: whatever its tasks start is its own, and ends or stands still with it."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from omega_ai.testkit.simnet.network import Network

T = TypeVar("T")

PROCESS: Final[contextvars.ContextVar[Process | None]] = contextvars.ContextVar("process", default=None)


class State(Enum):
    """What a process does."""

    RUNNING = "running"
    PAUSED = "paused"
    """Stopped (SIGSTOP): its connections stand, and nobody answers on them."""
    DYING = "dying"
    """Killed: its connections are cut; its tasks are unwound, which nobody outside can see."""
    DEAD = "dead"


class Guard:
    """A callback of a process: held while it is paused, dropped when it is dead."""

    __slots__ = ("args", "callback", "handle", "process")

    handle: asyncio.Handle | None

    def __init__(self, process: Process, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.process = process
        self.callback = callback
        self.args = args
        self.handle = None

    def run(self) -> None:
        """Do it, if the process is in a state to."""
        process = self.process
        if process.state is State.PAUSED:
            process.held.append((contextvars.copy_context(), self))
        elif process.state is not State.DEAD:
            self.callback(*self.args)

    def again(self) -> None:
        """Do what was held, unless it was called off meanwhile."""
        if self.handle is None or not self.handle.cancelled():
            self.run()


class Process:
    """``network.process(name)`` makes one; a dead one is started again by a new one."""

    def __init__(self, network: Network, name: str) -> None:
        self.name = name
        self.state = State.RUNNING
        self.tasks: dict[asyncio.Task[Any], None] = {}  # in the order of their making: no set is repeatable
        self.held: list[tuple[contextvars.Context, Guard]] = []
        self._network = network
        self._context = contextvars.copy_context()
        self._context.run(PROCESS.set, self)

    @property
    def alive(self) -> bool:
        """Whether it runs, or could go on."""
        return self.state in (State.RUNNING, State.PAUSED)

    def guard(self, callback: Callable[..., Any], args: tuple[Any, ...]) -> Guard:
        """A callback of this process."""
        return Guard(self, callback, args)

    def forget(self, task: asyncio.Task[Any]) -> None:
        """A task of this process is done."""
        self.tasks.pop(task, None)

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run ``work`` in this process."""
        return asyncio.get_running_loop().create_task(work, context=self._context)

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` in this process, and wait for it."""
        return await self.start(work)

    def pause(self) -> None:
        """Stop it: its memory and its connections stay, and nothing in it moves."""
        if self.state is State.RUNNING:
            self.state = State.PAUSED

    def resume(self) -> None:
        """Let it go on: all that became due meanwhile happens at once, in order."""
        if self.state is not State.PAUSED:
            return
        self.state = State.RUNNING
        self._let_go()

    def kill(self) -> None:
        """End it as SIGKILL does: its peers get a reset, its listeners are gone, nothing more is said."""
        if not self.alive:
            return
        self._end(reset=True)

    def power_off(self) -> None:
        """End it as a power cut does: its peers hear nothing at all."""
        if self.alive:
            self._end(reset=False)

    def _end(self, *, reset: bool) -> None:
        self.state = State.DYING
        self._network.sever(self, reset=reset)
        self._let_go()
        for task in list(self.tasks):
            task.cancel()
            task.add_done_callback(lambda _: self._bury())
        self._bury()

    def _let_go(self) -> None:
        held, self.held = self.held, []
        loop = asyncio.get_running_loop()
        for context, guard in held:
            loop.call_soon(guard.again, context=context)

    def _bury(self) -> None:
        if all(task.done() for task in self.tasks):
            self.state = State.DEAD
