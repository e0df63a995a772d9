"""A stage that keeps what passes until it is due: the common part of everything that delays."""

from __future__ import annotations

from collections import deque

from omega_ai.testkit.faults.model import Item, Signal, Stage


class QueueStage(Stage):
    """Bytes and signals wait in line; none overtakes another. Subclasses say by ``due`` when each may go."""

    __slots__ = ("_held", "_last", "_queue")

    def __init__(self) -> None:
        self._queue: deque[tuple[float, Item]] = deque()
        self._held = 0
        self._last = float("-inf")

    def put(self, item: Item, due: float) -> None:
        """Keep ``item`` until ``due``, but not shorter than what is before it."""
        self._last = max(self._last, due)
        self._queue.append((self._last, item))
        if not isinstance(item, Signal):
            self._held += len(item)

    @property
    def last(self) -> float:
        """When the last in line may go; nothing can go before it any more."""
        return self._last

    def release(self, now: float) -> list[Item]:
        """All that is due."""
        out: list[Item] = []
        queue = self._queue
        while queue and queue[0][0] <= now:
            item = queue.popleft()[1]
            if not isinstance(item, Signal):
                self._held -= len(item)
            out.append(item)
        return out

    def finish(self, signal: Signal, now: float) -> list[Item]:
        """A signal goes behind what is kept, no later."""
        self.put(signal, now)
        return self.release(now)

    def tick(self, now: float) -> list[Item]:
        """Let go of what is due."""
        return self.release(now)

    def next_wake(self) -> float | None:
        """When the first in line may go."""
        return self._queue[0][0] if self._queue else None

    def stop(self, now: float) -> list[Item]:
        """Let go of all."""
        return self.release(float("inf"))

    @property
    def held(self) -> int:
        """Bytes in line."""
        return self._held
