"""Our feed in an experiment's world of virtual time."""

from __future__ import annotations

import asyncio
from unittest import mock

from omega_ai.data_feed import feed as feed_module
from omega_ai.data_feed.feed import Feed
from omega_ai.data_feed.settings import FeedSettings
from omega_ai.testkit.case import Outcome
from omega_ai.testkit.context import Context
from omega_ai.testkit.experiment.model import Experiment
from omega_ai.testkit.experiment.running import Run
from omega_ai.testkit.experiment.simulated import simulated_world
from omega_ai.testkit.profile import load_profile
from omega_ai.testkit.simnet import Simulation, simulate
from omega_ai.testkit.target import Target
from omega_ai.tests.simnet.house import quiet

PORT = 9000


def put_to_the_feed(experiment: Experiment, seed: int) -> Outcome:
    """Put an experiment to the feed, with a memory broker, in virtual time."""

    async def scene(sim: Simulation) -> Outcome:
        async def serve() -> None:
            settings = FeedSettings(
                port=PORT, tls_port=None, http_port=None, source="none", broker="memory", seed=seed
            )
            up = asyncio.get_running_loop().create_future()

            async def run() -> None:
                async with Feed(settings, clock=sim.clock):
                    up.set_result(None)
                    await asyncio.Event().wait()

            serving = asyncio.create_task(run())
            await asyncio.wait({serving, up}, return_when=asyncio.FIRST_COMPLETED)

        url = f"ws://127.0.0.1:{PORT}"
        world, machine = await simulated_world(sim, url, serve, seed=seed)
        target = Target(url, load_profile("omega"))
        async with Context(target, seed=seed, name=experiment.name, clock=sim.clock) as context:
            try:
                return await Run(experiment, context, world)()
            finally:
                await machine.stop()

    with quiet(), mock.patch.object(feed_module, "open_ring", return_value=None):
        return simulate(scene, seed=seed)
