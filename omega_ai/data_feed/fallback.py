"""Simulated prices while no venue has been reached yet: something to look at, never to be taken for real.

It begins when no venue was live within a few seconds of the start, and ends for good when the first one is:
a feed that has once been live goes ``stale`` when it loses its venues, and does not make prices up.
"""

from __future__ import annotations

import asyncio

import structlog

from omega_ai.data_feed.pipeline import Pipeline
from omega_ai.data_feed.sources.base import Drain, Source

AFTER_SECONDS = 3.0

_log = structlog.get_logger(__name__)


class Fallback:
    """Runs ``source`` into ``pipeline`` until told that a venue is live."""

    def __init__(self, source: Source, pipeline: Pipeline, *, after: float = AFTER_SECONDS) -> None:
        self._source = source
        self._after = after
        self._live = asyncio.Event()
        self.pipeline = pipeline
        self.active = False

    def venue_is_live(self) -> None:
        """A venue was reached: no more simulation."""
        self._live.set()

    async def run(self, drain: Drain) -> None:
        """Wait, simulate if need be, and stop."""
        try:
            async with asyncio.timeout(self._after):
                await self._live.wait()
            return
        except TimeoutError:
            pass
        _log.warning("no venue could be reached: prices are SIMULATED until one can", seconds=self._after)
        self.active = True
        self.pipeline.start()
        playing = asyncio.ensure_future(self._source.run(self.pipeline.emit, self.pipeline.report, drain))
        try:
            await self._live.wait()
        finally:
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)
            self.pipeline.stop()
            self.active = False
        _log.warning("a venue was reached: prices are live, simulation has ended")
