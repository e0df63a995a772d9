"""Breaks one thing, and says what mends it: the same for an experiment and for a fault within a load."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from omega_ai.testkit.experiment.model import FaultStep
from omega_ai.testkit.experiment.world import World, slow_handshakes

Undo = Callable[[], Coroutine[Any, Any, None]]


async def begin(step: FaultStep, world: World) -> Undo | None:
    """Break something; what mends it, if anything is to be mended.

    A ``burst`` and a ``leave`` are for who makes the load to do.
    """
    proxy, machine = world.proxy, world.machine
    if step.network is not None:
        toxic = proxy.add(step.fault, stream=step.stream, toxicity=step.toxicity, name=step.name)

        async def remove() -> None:
            proxy.remove(toxic)

        return remove
    if step.process is not None:
        await machine.begin(step)

        async def mend() -> None:
            await machine.end(step)

        return mend
    if step.act == "reset":
        proxy.reset_connections()
    elif step.act == "disable":
        await proxy.disable()
        return proxy.enable
    elif step.act == "slow-handshakes":
        count = int(step.attributes.get("count", 50))
        return _closing(await slow_handshakes(world.direct, count))  # not what `reset` resets
    return None


def _closing(writers: list[asyncio.StreamWriter]) -> Undo:
    async def close() -> None:
        for writer in writers:
            writer.close()

    return close
