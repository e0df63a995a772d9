"""An experiment's world in virtual time: a simulated proxy, and a server in a process of the simulation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from omega_ai.testkit.experiment.model import FaultStep
from omega_ai.testkit.experiment.world import World
from omega_ai.testkit.simnet import Process, Simulation
from omega_ai.testkit.simnet.proxy import SimProxy

Serve = Callable[[], Awaitable[None]]
"""Starts the server, within its process, on its port; returns once it listens."""

_CAN: Final = frozenset({"kill", "restart", "pause", "starve"})


class SimMachine:
    """The process of a server in a simulation."""

    def __init__(self, sim: Simulation, serve: Serve) -> None:
        self._sim = sim
        self._serve = serve
        self._process: Process | None = None
        self._starving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the server."""
        self._process = self._sim.process("server")
        await self._process.run(self._work())

    async def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()

    async def _work(self) -> None:
        await self._serve()

    def lacks(self, step: FaultStep) -> str | None:
        """See ``world.Machine``."""
        return None if step.process in _CAN else f"{step.name}: there is no {step.process} in virtual time"

    async def begin(self, step: FaultStep) -> None:
        """See ``world.Machine``."""
        process = self._process
        if process is None:
            return
        if step.process in ("kill", "restart"):
            process.kill()
        elif step.process == "pause":
            process.pause()
        elif step.process == "starve":
            share, period = step.attributes.get("share", 0.25), step.attributes.get("period_ms", 100) / 1000
            self._starving = asyncio.create_task(self._starve(process, share, period))

    async def end(self, _step: FaultStep) -> None:
        """See ``world.Machine``."""
        if self._starving is not None:
            self._starving.cancel()
            self._starving = None
        if self._process is not None and self._process.alive:
            self._process.resume()
        else:
            await self.start()

    async def _starve(self, process: Process, share: float, period_s: float) -> None:
        while True:
            process.pause()
            await asyncio.sleep(period_s * (1 - share))
            process.resume()
            await asyncio.sleep(period_s * share)


async def simulated_world(sim: Simulation, url: str, serve: Serve, *, seed: int) -> tuple[World, SimMachine]:
    """A world around a server that ``serve`` starts at ``url``."""
    machine = SimMachine(sim, serve)
    await machine.start()
    proxy = SimProxy(sim.network, url, seed=seed)
    await proxy.enable()
    return World(proxy, machine, url), machine
