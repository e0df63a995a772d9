"""Simulated prices only until a venue is reached, and marked as what they are."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from omega_ai.core.clock import SystemClock
from omega_ai.core.scheduler import LoopScheduler
from omega_ai.data_feed.fallback import Fallback
from omega_ai.data_feed.pipeline import Pipeline
from omega_ai.data_feed.price_index import PriceIndex, PublishPolicy
from omega_ai.data_feed.sources.base import no_drain
from omega_ai.data_feed.sources.simulated import SimulatedSource


class Scene:
    """A fallback over a fast simulated source; what it publishes is kept."""

    def __init__(self, after: float) -> None:
        self.out: list[dict[str, Any]] = []
        pipeline = Pipeline(
            lambda _, body: self.out.append(json.loads(body)),
            PriceIndex(simulated=True),
            PublishPolicy(min_interval_ms=0),
            clock=SystemClock(),
            scheduler=LoopScheduler(asyncio.get_running_loop()),
            simulated=True,
        )
        self.fallback = Fallback(SimulatedSource(rate=500), pipeline, after=after)

    async def published(self, count: int) -> None:
        """Wait until so much was published."""
        async with asyncio.timeout(5):
            while len(self.out) < count:
                await asyncio.sleep(0.005)


async def test_a_venue_that_answers_in_time_prevents_it() -> None:
    """Nothing simulated is ever published."""
    scene = Scene(after=5)
    scene.fallback.venue_is_live()
    await asyncio.wait_for(scene.fallback.run(no_drain), 1)
    assert scene.out == []


async def test_without_a_venue_every_message_says_simulated() -> None:
    """Prices by their state, everything else by a field."""
    scene = Scene(after=0.01)
    running = asyncio.create_task(scene.fallback.run(no_drain))
    await scene.published(50)
    assert scene.fallback.active
    for message in scene.out:
        assert message.get("state") == "simulated" or message.get("simulated") is True, message
    assert {"btc_price", "trades", "quotes"} <= {message["type"] for message in scene.out}
    scene.fallback.venue_is_live()
    await asyncio.wait_for(running, 1)


async def test_it_ends_for_good_when_a_venue_is_live() -> None:
    """The last thing that is heard of it is that its venues have stopped."""
    scene = Scene(after=0.01)
    running = asyncio.create_task(scene.fallback.run(no_drain))
    await scene.published(10)
    scene.fallback.venue_is_live()
    await asyncio.wait_for(running, 1)
    assert not scene.fallback.active
    stopped = [m["venue"] for m in scene.out if m["type"] == "status" and m["state"] == "stopped"]
    assert sorted(stopped) == ["sim-1", "sim-2", "sim-3"]
    count = len(scene.out)
    await asyncio.sleep(0.1)
    assert len(scene.out) == count
