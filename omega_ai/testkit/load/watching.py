"""Looks at the server while a run goes on, in a thread, so that a slow look disturbs no measurement."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from omega_ai.core.clock import Clock, SystemClock
from omega_ai.testkit.load.server_side import SEEN, Recorder, Source, Unseen
from omega_ai.testkit.result import TimeSeries

INTERVAL_S: Final = 1.0
MISSES: Final = 5
"""Looks that may fail one after another before it is given up."""


class Watch:
    """Reads a source once a second. ``async with`` it."""

    def __init__(self, source: Source, *, clock: Clock | None = None, interval_s: float = INTERVAL_S) -> None:
        self._source = source
        self._clock: Clock = SystemClock() if clock is None else clock
        self._interval = interval_s
        self._recorder = Recorder()
        self._task: asyncio.Task[None] | None = None
        self._began = 0.0
        self._began_utc_ns = 0
        self.trouble: str | None = None
        """Why nothing more could be read."""
        self.latest: dict[str, float] = {}
        """The newest value of each."""

    async def __aenter__(self) -> Watch:
        self._began, self._began_utc_ns = self._clock.monotonic(), self._clock.time_ns()
        await self._look()
        if self.trouble is None:
            self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self.trouble is None:
            await self._look(attempts=1)

    @property
    def absent(self) -> dict[str, str]:
        """What could not be had, and why."""
        missing = dict(self._source.absent)
        if self.trouble is not None and not self._recorder.series():
            missing = dict.fromkeys(SEEN, self.trouble) | missing
        return missing

    def series(self, started_utc_ns: int | None = None) -> list[TimeSeries]:
        """What was seen; times in seconds since ``started_utc_ns``, or since the watch began."""
        shift = 0.0 if started_utc_ns is None else (self._began_utc_ns - started_utc_ns) / 1e9
        return self._recorder.series(shift)

    async def _run(self) -> None:
        place = 0
        while True:
            place += 1
            wait = self._began + place * self._interval - self._clock.monotonic()
            if wait < 0:  # we were held up: leave out what was missed
                place -= int(wait // self._interval)
                continue
            await asyncio.sleep(wait)
            await self._look()
            if self.trouble is not None:
                return

    async def _look(self, attempts: int = MISSES) -> None:
        for attempt in range(attempts):
            try:
                reading = await asyncio.to_thread(self._source.read)
            except Unseen as error:
                if attempt == attempts - 1 or not self._recorder.series():
                    self.trouble = str(error)
                    return
                await asyncio.sleep(self._interval)
                continue
            self._recorder.add(self._clock.monotonic() - self._began, reading)
            self.latest = {**self.latest, **reading.gauges}
            return
