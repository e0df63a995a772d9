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

    async def _watch(self) -> None:
        while True:
            self._ticked = self._clock.monotonic()
            await asyncio.sleep(INTERVAL_S)
            now = self._clock.monotonic()
            lag = now - self._ticked - INTERVAL_S
            if lag >= WORTH_NOTING_S:
                self._lags.append((now, lag))
