"""The whole proof: every faulty server and client with many seeds, right ones too, over several processes."""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import uvloop

from omega_ai.testkit.result import CaseResult
from omega_ai.testkit.zoo.catalogue import EXHIBITS, RIGHT, Exhibit
from omega_ai.testkit.zoo.client_prove import ClientProof, client_alarms, prove_clients
from omega_ai.testkit.zoo.prove import Proof, alarms, prove_all


class Share(NamedTuple):
    """What one process does: seeds of each kind, and how much of it at the same time."""

    faulty: Sequence[int]
    right: Sequence[int]
    clients: Sequence[int]
    at_once: int


@dataclass(slots=True)
class Seen:
    """What came out."""

    proofs: Sequence[Proof]
    clients: Sequence[ClientProof] = ()
    raised: list[CaseResult] = field(default_factory=list)
    by_clients: list[CaseResult] = field(default_factory=list)

    def add(self, other: Seen) -> None:
        """What another process saw."""
        for mine, more in zip(self.proofs, other.proofs, strict=True):
            mine.add(more)
        for client, others in zip(self.clients, other.clients, strict=True):
            client.add(others)
        self.raised += other.raised
        self.by_clients += other.by_clients

    @property
    def missed(self) -> list[tuple[str, int, int, list[str]]]:
        """Name, caught, runs and what was seen instead, of those that were not caught every time."""
        rows = [(p.exhibit.name, p.caught, p.runs, p.missed) for p in self.proofs]
        rows += [(f"client {p.fault}", p.caught, p.runs, p.missed) for p in self.clients]
        return [row for row in rows if row[1] < row[2]]


async def _do(share: Share) -> Seen:
    seen = Seen([])
    slots = asyncio.Semaphore(share.at_once)

    async def one_right(exhibit: Exhibit, seed: int) -> None:
        async with slots:
            found = await alarms(exhibit, seed)
        seen.raised.extend(found)
        _tell(exhibit.name, seed, found)

    async def right() -> None:
        await asyncio.gather(*(one_right(exhibit, seed) for seed in share.right for exhibit in RIGHT))

    async def clients() -> None:
        seen.clients = await prove_clients(share.faulty, at_once=share.at_once)
        for seed in share.clients:
            found = await client_alarms(seed)
            seen.by_clients.extend(found)
            _tell("client", seed, found)

    seen.proofs, *_ = await asyncio.gather(
        prove_all(EXHIBITS, share.faulty, share.at_once), right(), clients()
    )
    return seen


def _tell(name: str, seed: int, found: Sequence[CaseResult]) -> None:
    for case in found:
        text = f"{case.id}: {case.verdict}: {case.finding}"
        print(f"false alarm: {name}, seed {seed}: {text}", file=sys.stderr, flush=True)


def do(share: Share) -> Seen:
    """In a process of its own."""
    return uvloop.run(_do(share))


def run(runs: int, right: int, clients: int, *, processes: int = 1, at_once: int = 4) -> Seen:
    """Put the zoo to the proof: see the options of ``python -m omega_ai.testkit.zoo``."""
    shares = [
        Share(*(range(runs)[n::processes], range(right)[n::processes], range(clients)[n::processes]), at_once)
        for n in range(processes)
    ]
    if processes == 1:
        return do(shares[0])
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        first, *rest = pool.map(do, shares)
    for other in rest:
        first.add(other)
    return first
