"""Doing something later, as an argument: the event loop in production, a queue that a test turns by hand."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from omega_ai.core.clock import ManualClock

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop


class Cancellable(Protocol):
    """What can be called off."""

    def cancel(self) -> None:
        """Call it off; nothing happens if it was done already."""
        ...


class Scheduler(Protocol):
    """Runs callbacks in the thread that owns it."""

    def soon(self, callback: Callable[[], None]) -> None:
        """Run ``callback`` once the present turn is over."""
        ...

    def later(self, delay: float, callback: Callable[[], None]) -> Cancellable:
        """Run ``callback`` after ``delay`` seconds of monotonic time."""
        ...


class _Entry:
    __slots__ = ("callback", "due")

    def __init__(self, due: float, callback: Callable[[], None]) -> None:
        self.due = due
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class ManualScheduler:
    """A scheduler on a ``ManualClock``: ``run()`` finishes the turn, ``advance`` lets time pass in order."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self._soon: deque[Callable[[], None]] = deque()
        self._heap: list[tuple[float, int, _Entry]] = []
        self._count = 0

    def soon(self, callback: Callable[[], None]) -> None:
        """Queue ``callback`` for the next ``run``."""
        self._soon.append(callback)

    def later(self, delay: float, callback: Callable[[], None]) -> Cancellable:
        """Queue ``callback`` for ``delay`` seconds from the clock's present."""
        entry = _Entry(self.clock.monotonic() + max(delay, 0.0), callback)
        self._count += 1
        heapq.heappush(self._heap, (entry.due, self._count, entry))
        return entry

    def turn(self) -> None:
        """Run what was queued before this call, as one turn of an event loop does."""
        for _ in range(len(self._soon)):
            self._soon.popleft()()

    def run(self) -> None:
        """Run what is due now, and what that makes due, until nothing is."""
        while True:
            while self._soon:
                self._soon.popleft()()
            if not self._heap or self._heap[0][0] > self.clock.monotonic() + 1e-9:
                return
            callback = heapq.heappop(self._heap)[2].callback
            if callback is not None:
                callback()

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass, stopping at each moment at which something is due."""
        self.run()
        end = self.clock.monotonic() + seconds
        while self._heap and self._heap[0][0] <= end:
            self.clock.advance(max(self._heap[0][0] - self.clock.monotonic(), 0.0))
            self.run()
        self.clock.advance(max(end - self.clock.monotonic(), 0.0))
        self.run()


class LoopScheduler:
    """A scheduler on an event loop's own queue and clock."""

    __slots__ = ("_loop",)

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop

    def soon(self, callback: Callable[[], None]) -> None:
        """Run ``callback`` in the loop's next turn."""
        self._loop.call_soon(callback)

    def later(self, delay: float, callback: Callable[[], None]) -> Cancellable:
        """Run ``callback`` after ``delay`` seconds."""
        return self._loop.call_later(delay, callback)
