"""An asyncio event loop in virtual time: when nothing is left to do now, its clock jumps to what is due next.

It owns no selector and no socket. Connections come from a ``Network``; work for threads is done at once, in
no time at all. Callbacks belong to the ``Process`` in whose context they were asked for, so that a process
can be paused and killed.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
from asyncio import base_events
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from omega_ai.testkit.simnet.process import PROCESS, Process

if TYPE_CHECKING:
    from omega_ai.testkit.simnet.network import Network

START_UTC_NS: Final = 1_767_225_600_000_000_000
"""When simulations begin: 2026-01-01T00:00:00Z."""
START: Final = 1000.0
MOTION_NS: Final = 1_000_000
"""Less than a millisecond is no time passing."""
TURNS: Final = 100_000
"""Turns of the loop without time passing, after which it is taken to go round in circles."""


class Deadlock(RuntimeError):
    """Nothing is due any more, and what is waited for will never come."""


class Stuck(RuntimeError):
    """The loop turns and turns, and no time passes."""


class _Timer(asyncio.TimerHandle):
    """A timer with a place in line: the order of asyncio's own, at one moment, is that of a heap."""

    __slots__ = ("number",)

    number: int
    _when: float
    _scheduled: bool

    def __lt__(self, other: object) -> bool:
        assert isinstance(other, _Timer)  # noqa: S101 - the loop makes no others
        return (self._when, self.number) < (other._when, other.number)


class _Due:
    """What the base class takes for its selector: waiting is moving the clock."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        self._loop._pass(timeout)
        return []

    def close(self) -> None:
        pass


class SimLoop(base_events.BaseEventLoop):
    """See the module's text. ``network`` is set before it runs."""

    network: Network
    _scheduled: list[Any]
    _ready: deque[Any]
    _check_closed: Callable[[], None]

    def __init__(self) -> None:
        super().__init__()
        self._now_ns = round(START * 1e9)
        # Nothing is done a little early: who then looks at the clock would wait again, for no time at all.
        self._clock_resolution = 0.0
        self._selector = _Due(self)
        self._still = 0
        self._moved_ns = 0
        self._timers = 0
        self.errors: list[str] = []
        """What went wrong where nobody looked: callbacks and tasks that failed."""
        self.set_exception_handler(lambda _, context: self._failed(context))

    def time(self) -> float:
        """Virtual seconds."""
        return self._now_ns / 1e9

    def now_ns(self) -> int:
        """Virtual time in nanoseconds, exactly."""
        return self._now_ns

    def _pass(self, timeout: float | None) -> None:
        if timeout is None:
            raise Deadlock(f"at {self.time() - START:.6f} s everybody waits for what will never happen")
        if self._now_ns - self._moved_ns > MOTION_NS:
            self._moved_ns = self._now_ns
            self._still = 0
        if timeout <= 0 and self._ready:
            self._still += 1
            if self._still > TURNS:
                self._still = 0
                raise Stuck(
                    f"{TURNS} turns of the loop at {self.time() - START:.6f} s, and no time passes; "
                    f"next is {list(self._ready)[:3]}"
                )
            return
        self._still += 1
        # Rounded up, so that what is due is due: a timer must not be a fraction of a nanosecond away.
        self._now_ns += max(1, -int(-timeout * 1e9 // 1))

    def _failed(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        text = f"{context.get('message')}: {error!r}" if error is not None else str(context.get("message"))
        self.errors.append(text)

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps."""

    # Whose callback it is.

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """See asyncio; in the name of the process in whose context it is to run."""
        process = PROCESS.get() if context is None else context.get(PROCESS)
        if process is None:
            return super().call_soon(callback, *args, context=context)
        guard = process.guard(callback, args)
        guard.handle = super().call_soon(guard.run, context=context)
        return guard.handle

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """See ``call_soon``. Of what is due at the same moment, what was asked for first is done first."""
        process = PROCESS.get() if context is None else context.get(PROCESS)
        self._check_closed()
        if process is None:
            timer = _Timer(when, callback, args, self, context)
        else:
            guard = process.guard(callback, args)
            guard.handle = timer = _Timer(when, guard.run, (), self, context)
        self._timers += 1
        timer.number = self._timers
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True
        return timer

    def create_task(self, coro: Any, **named: Any) -> asyncio.Task[Any]:
        """See asyncio."""
        context = named.get("context")
        process: Process | None = PROCESS.get() if context is None else context.get(PROCESS)
        task = super().create_task(coro, **named)
        if process is not None:
            process.tasks[task] = None
            task.add_done_callback(process.forget)
        return task

    def run_in_executor(self, _executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """There are no threads: it is done now, and takes no time."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    # Connections.

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> Any:
        """Every host of the network has one address: its name."""
        return self.network.getaddrinfo(host, port)

    async def sock_connect(self, sock: Any, address: Any) -> None:
        """Connect a socket of the network."""
        await sock.connect_to(address)

    async def create_connection(
        self, protocol_factory: Any, host: Any = None, port: Any = None, **named: Any
    ) -> Any:
        """See asyncio."""
        sock = named.get("sock")
        if sock is None:
            sock = self.network.socket()
            try:
                await sock.connect_to((host, port))
            except BaseException:
                sock.close()
                raise
        return await sock.hand_over(protocol_factory, named.get("ssl"), named.get("server_hostname") or host)

    async def create_server(
        self, protocol_factory: Any, host: Any = None, port: Any = None, **named: Any
    ) -> Any:
        """See asyncio."""
        sock = named.get("sock")
        if sock is None:
            sock = self.network.socket()
            sock.bind((host or "0.0.0.0", port or 0))  # noqa: S104 - a host of the simulation
        return sock.serve(protocol_factory, named.get("ssl"))


class SimClock:
    """The project's ``Clock`` on a loop's virtual time; ``skew_s`` shifts the UTC time, as a wrong clock."""

    def __init__(self, loop: SimLoop, skew_s: float = 0.0) -> None:
        self._loop = loop
        self.skew_s = skew_s

    def monotonic(self) -> float:
        """Virtual seconds."""
        return self._loop.time()

    def time_ns(self) -> int:
        """Nanoseconds since the Unix epoch, virtual."""
        elapsed = self._loop.now_ns() - round(START * 1e9)
        return START_UTC_NS + elapsed + round(self.skew_s * 1e9)
