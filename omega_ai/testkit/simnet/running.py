"""Runs a scene in virtual time, with sockets, randomness and names of the machine replaced meanwhile."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from unittest import mock

from omega_ai.testkit.simnet.loop import START, SimClock, SimLoop
from omega_ai.testkit.simnet.network import Network
from omega_ai.testkit.simnet.process import Process

T = TypeVar("T")

ROUNDS = 10
"""How often what is left at the end is cancelled."""


class Simulation:
    """What a scene is given."""

    def __init__(self, loop: SimLoop, seed: int | str) -> None:
        self.loop = loop
        self.seed = seed
        self.rng = random.Random(f"scene:{seed}")
        self.network = Network(loop, random.Random(f"network:{seed}"))
        self.clock = SimClock(loop)

    def process(self, name: str) -> Process:
        """A new process."""
        return self.network.process(name)

    @property
    def elapsed_s(self) -> float:
        """Virtual seconds since the beginning."""
        return self.loop.time() - START

    @property
    def failures(self) -> list[str]:
        """What failed where nobody looked."""
        return self.loop.errors


def simulate(scene: Callable[[Simulation], Coroutine[Any, Any, T]], *, seed: int | str) -> T:
    """Run ``scene`` in virtual time, in this thread; what it left running is cancelled at its end.

    Meanwhile ``socket.socket``, ``socket.getaddrinfo`` and ``os.urandom`` are the simulation's: the same seed
    gives the same run. It cannot be used within a running event loop.

    Raises:
        Deadlock: nothing is due any more, and the scene is not over.
    """
    loop = SimLoop()
    sim = Simulation(loop, seed)
    with machine_of(sim):
        try:
            asyncio.set_event_loop(loop)
            return loop.run_until_complete(scene(sim))
        finally:
            try:
                _end(loop, sim.network)
            finally:
                asyncio.set_event_loop(None)
                loop.close()


@contextmanager
def machine_of(sim: Simulation) -> Iterator[None]:
    """While it lasts, the machine's sockets and randomness are those of the simulation."""
    chance = random.Random(f"urandom:{sim.seed}")
    with (
        mock.patch.object(socket, "socket", sim.network.socket),
        mock.patch.object(socket, "getaddrinfo", sim.network.getaddrinfo),
        mock.patch.object(os, "urandom", chance.randbytes),
    ):
        yield


def _end(loop: SimLoop, network: Network) -> None:
    for process in network.processes:
        loop.call_soon(process.resume)
    for _ in range(ROUNDS):  # what is unwound may start something to unwind
        left = asyncio.all_tasks(loop)
        if not left:
            break
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.wait(left, timeout=60.0))
    for pair in list(network.connections):
        pair.client.abort()
        pair.server.abort()
    loop.run_until_complete(loop.shutdown_asyncgens())
