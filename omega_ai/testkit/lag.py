"""How long our own event loop was held up: what came late by that much says nothing of the server."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Final

from omega_ai.core.clock import Clock

INTERVAL_S: Final = 0.05
WORTH_NOTING_S: Final = 0.05
KEPT: Final = 10_000


class LagWatch:
    """Notes when the loop came back late. ``async with`` it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._lags: deque[tuple[float, float]] = deque(maxlen=KEPT)
        self._ticked = clock.monotonic()

    async def __aenter__(self) -> LagWatch:
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def worst(self, since: float) -> float:
        """The longest hold-up, in seconds, of those that ended at ``since`` (monotonic) or later."""
        now = self._clock.monotonic()
        current = now - self._ticked - INTERVAL_S
        return max([lag for at, lag in self._lags if at >= since] + [current, 0.0])

    def hold_ups(self, since: float) -> tuple[tuple[int, int], ...]:
        """Begin and end, in nanoseconds of the clock, of those that ended at ``since`` or later."""
        found = [(at, lag) for at, lag in self._lags if at >= since]
        now = self._clock.monotonic()
        current = now - self._ticked - INTERVAL_S
        if current >= WORTH_NOTING_S:
            found.append((now, current))
        return tuple((round((at - lag) * 1e9), round(at * 1e9)) for at, lag in found)

    async def calm(self, within: float, quiet_s: float = 0.5) -> bool:
        """Wait until we were not held up for ``quiet_s`` seconds; False if that did not come in time."""
        deadline = self._clock.monotonic() + within
        begin = self._clock.monotonic()
        while (now := self._clock.monotonic()) < deadline:
            if self.worst(begin) >= WORTH_NOTING_S:
                begin = now
            elif now - begin >= quiet_s:
                return True
            await asyncio.sleep(INTERVAL_S)
        return False

    async def _watch(self) -> None:
        while True:
            self._ticked = self._clock.monotonic()
            await asyncio.sleep(INTERVAL_S)
            now = self._clock.monotonic()
            lag = now - self._ticked - INTERVAL_S
            if lag >= WORTH_NOTING_S:
                self._lags.append((now, lag))
