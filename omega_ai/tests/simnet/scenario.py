"""What may happen to a house, one step after the other; and whether it lost anything by it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from omega_ai.testkit.simnet import Link, Simulation, simulate
from omega_ai.tests.faults.record import Truth
from omega_ai.tests.simnet.house import House, quiet, text_of

RAW = 3
LIBRARY = 2
EDGES = 2


class Step(NamedTuple):
    """One thing that happens: what, to whom, how much of it, and how long after the step before."""

    kind: str
    who: int
    amount: int
    wait_s: float


KINDS = (
    "publish",
    "burst",
    "cut",
    "silent",
    "slow",
    "narrow",
    "refuse",
    "kill",
    "power off",
    "stop",
    "pause",
    "broker away",
    "stalled reader",
    "subscribe again",
    "broker forgets",
)
"""``amount`` (1 to 100) says how many, how slow, or for how long in tenths of a second; see ``Chaos``."""


class Chaos:
    """Does the steps to a house. What is broken is mended some time after, by itself."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.sim = house.sim
        self.starting: set[int] = set()

    def do(self, step: Step) -> None:
        """One step."""
        edge = step.who % EDGES
        client = step.who % (RAW + LIBRARY)
        seconds = step.amount / 10
        port, link = self.house.ways(client)[edge]
        match step.kind:
            case "publish":
                self.house.publish(1 + step.amount % 5)
            case "burst":
                self.house.publish(step.amount * 3)
            case "cut":
                self.sim.network.cut("127.0.0.1", port)
            case "silent":
                link.silent = True
                self.later(seconds, self.unsilence, link, port)
            case "slow":
                link.latency_s, link.jitter_s = step.amount / 50, step.amount / 100
                self.later(2 * seconds, self.calm, link)
            case "narrow":
                link.bandwidth = 200.0 + 100 * step.amount
                self.later(2 * seconds, self.calm, link)
            case "refuse":
                link.refuses = True
                self.sim.network.cut("127.0.0.1", port)
                self.later(seconds, self.calm, link)
            case "kill" | "power off":
                self.house.kill_edge(edge, silently=step.kind == "power off")
                self.later(seconds, self.restart, edge)
            case "stop":
                self.stop(edge)
            case "pause":
                self.pause(edge, 4 * seconds)
            case "broker away":
                self.broker_away(edge, seconds)
            case "stalled reader":
                self.house.clients[step.who % RAW].pause(4 * seconds)
            case "subscribe again":
                self.house.clients[step.who % RAW].resume()
            case "broker forgets":
                self.house.forget()

    def later(self, seconds: float, what: Callable[..., object], *arguments: Any) -> None:
        self.sim.loop.call_later(seconds, what, *arguments)

    def unsilence(self, link: Link, port: int) -> None:
        link.silent = False
        self.sim.network.heal("127.0.0.1", port)

    def calm(self, link: Link) -> None:
        link.latency_s, link.jitter_s, link.bandwidth, link.refuses = 0.0002, 0.0, None, False

    def restart(self, number: int) -> None:
        edge = self.house.edges[number]
        if number not in self.starting and (edge is None or not edge.process.alive):
            self.starting.add(number)
            self.sim.loop.create_task(self._restart(number))

    async def _restart(self, number: int) -> None:
        try:
            await self.house.start_edge(number)
        finally:
            self.starting.discard(number)

    def stop(self, number: int) -> None:
        edge = self.house.edges[number]
        if edge is not None and edge.process.alive and number not in self.starting:
            edge.process.resume()
            self.starting.add(number)
            self.sim.loop.create_task(self._stop(number))

    async def _stop(self, number: int) -> None:
        edge = self.house.edges[number]
        assert edge is not None
        await edge.stop()
        edge.process.kill()
        await self._restart(number)

    def pause(self, number: int, seconds: float) -> None:
        edge = self.house.edges[number]
        if edge is not None and number not in self.starting:
            edge.process.pause()
            self.later(seconds, edge.process.resume)

    def broker_away(self, number: int, seconds: float) -> None:
        edge = self.house.edges[number]
        if edge is not None and edge.broker is not None:
            edge.broker.cut()
            self.later(seconds, edge.broker.mend)


def steps_of(seed: int, count: int) -> list[Step]:
    """``count`` steps by chance; a minute or two of chaos for every hundred."""
    rng = random.Random(f"steps:{seed}")
    rare = {"broker forgets": 0.1, "power off": 0.5, "publish": 4.0}
    weights = [rare.get(kind, 1.0) for kind in KINDS]
    return [
        Step(rng.choices(KINDS, weights)[0], rng.randrange(10), rng.randint(1, 100), rng.expovariate(2.0))
        for _ in range(count)
    ]


class Report(NamedTuple):
    """What a run came to."""

    truth: Truth
    failures: list[str]
    seconds: float
    connects: int
    digest: str
    """Of every message that every client saw, with its time: equal for equal runs."""

    @property
    def passed(self) -> bool:
        """Nothing lost, doubled, reordered or unexplained; and not nothing seen."""
        return self.truth.passed and not self.failures

    def __str__(self) -> str:
        text = text_of(self.truth)
        return text if not self.failures else f"{text}\n{self.failures}"


def live_through(steps: Sequence[Step], seed: int) -> Report:
    """Do all of it to a new house, heal it, and judge."""

    async def scene(sim: Simulation) -> Report:
        async with House(sim, edges=EDGES, raw=RAW, library=LIBRARY) as house:
            chaos = Chaos(house)
            house.publish(3)
            market = sim.loop.create_task(house.trade())
            for step in steps:
                await asyncio.sleep(step.wait_s)
                chaos.do(step)
            market.cancel()
            while chaos.starting:
                house.heal()
                await asyncio.sleep(0.5)
            await house.settle()
            connects = sum(client.connects for client in house.clients)
            digest = house.digest.hexdigest()
            return Report(house.truth, sim.failures, sim.elapsed_s, connects, digest)

    with quiet():
        return simulate(scene, seed=seed)
