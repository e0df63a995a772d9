"""One run, from the first process to the verdict."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from omega_ai.tests.faults.clients import CHANNELS, Client
from omega_ai.tests.faults.disturb import FAULTS, Disturber
from omega_ai.tests.faults.exchange import Exchange
from omega_ai.tests.faults.plugin import ALONE
from omega_ai.tests.faults.record import Place, Truth, Witness
from omega_ai.tests.faults.stage import Redis, SingleRedis, Stage

QUIET_SECONDS = 45.0
"""After the last fault everything must have arrived within this time."""

STILL_SECONDS = 12.0
"""What is behind and has not moved for so long will not come: longer than any time limit in the feed."""


@dataclass
class Result:
    """What came of a run."""

    seed: int
    seconds: float
    clients: int
    truth: Truth
    trades: int = 0
    connects: int = 0
    settled: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    logs: str = ""

    @property
    def passed(self) -> bool:
        """No anomaly."""
        return self.truth.passed and self.trades > 0


async def run(
    *,
    seconds: float,
    seed: int,
    clients: int = 200,
    rate: float = 20.0,
    mutant: str | None = None,
    faults: Sequence[str] = tuple(FAULTS),
    redis: Callable[[], Redis] = SingleRedis,
    say: Callable[[str], None] = lambda _: None,
) -> Result:
    """Disturb a feed for ``seconds`` and compare what was published with what every client saw."""
    rng = random.Random(seed)
    truth = Truth()
    truth.say = say
    async with Exchange(random.Random(rng.random()), rate) as exchange:
        ingests = 1 if mutant in ALONE else 2
        stage = Stage(await asyncio.to_thread(redis), exchange.port, mutant, ingests)
        async with stage:
            parties = [
                Client(
                    Witness(f"client {n}", CHANNELS, truth),
                    stage.addresses,
                    random.Random(rng.random()),
                    publishes=n * 10**9 if 0 < n <= 3 else 0,
                )
                for n in range(clients)
            ]
            running = [asyncio.create_task(party.run()) for party in parties]
            disturber = Disturber(stage, parties, truth, random.Random(rng.random()))
            result = Result(seed, seconds, clients, truth)
            progress = asyncio.create_task(_progress(disturber, exchange, truth, seconds, say))
            try:
                await _until(lambda: all(p.witness.since() for p in parties), 30)
                await disturber.run(seconds, faults)
                progress.cancel()
                await exchange.stop_trading()
                for party in parties:
                    party.quiet()
                began = moved = asyncio.get_running_loop().time()
                tops: dict[bytes, Place] = {}
                before: list[str] = []

                def behind() -> list[str]:
                    return [text for p in parties for text in p.witness.behind(tops, exchange.last)]

                while asyncio.get_running_loop().time() - began < QUIET_SECONDS:
                    await asyncio.sleep(0.25)
                    tops = await asyncio.to_thread(_tops, stage.redis)
                    late, before = before, behind()
                    if late != before:
                        moved = asyncio.get_running_loop().time()
                    if not before or asyncio.get_running_loop().time() - moved > STILL_SECONDS:
                        break
                result.settled = asyncio.get_running_loop().time() - began
                for party in parties:
                    party.witness.finish(tops, exchange.last)
            finally:
                progress.cancel()
                for task in running:
                    task.cancel()
                await asyncio.gather(progress, *running, return_exceptions=True)
            result.trades = exchange.last
            result.connects = sum(party.connects for party in parties)
            result.faults = disturber.counts
            result.logs = stage.logs()
            return result


def _tops(redis: Redis) -> dict[bytes, Place]:
    # Prices go on without trades; their tail is compared where it is at rest, in the other channels.
    tops = {}
    for channel in (b"trades", b"broadcast"):
        place = redis.position(channel.decode())
        if place is not None:
            tops[channel] = Place(*place)
    return tops


async def _until(condition: Callable[[], bool], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.05)


async def _progress(
    disturber: Disturber, exchange: Exchange, truth: Truth, seconds: float, say: Callable[[str], None]
) -> None:
    began = asyncio.get_running_loop().time()
    while True:
        await asyncio.sleep(10)
        now = asyncio.get_running_loop().time() - began
        found = ", ".join(f"{name} {count}" for name, count in truth.anomalies.items())
        faults = sum(disturber.counts.values())
        say(f"{now:6.0f} s of {seconds:.0f}: {faults} faults, {exchange.last} trades, "
            f"{truth.deliveries} deliveries; {found}")  # fmt: skip


def report(result: Result, out: Callable[[str], None]) -> None:
    """The table."""
    truth = result.truth
    out(f"seed {result.seed}, {result.seconds:g} s, {result.clients} clients")
    for name, count in sorted(result.faults.items()):
        out(f"  {count:6}  {name}")
    out(f"published: {result.trades} trades by the exchange, {truth.positions} messages seen on all channels")
    out(f"seen: {truth.deliveries} deliveries over {result.connects} connections, "
        f"all there {result.settled:.1f} s after the last fault")  # fmt: skip
    for name, count in sorted(truth.explained.items()):
        out(f"  explained: {count}  {name}")
    for text in truth.examples:
        out(f"  {text}")
    out("  ".join(f"{name} {count}" for name, count in truth.anomalies.items()))
    out("PASS" if result.passed else "FAIL")
    sys.stdout.flush()
