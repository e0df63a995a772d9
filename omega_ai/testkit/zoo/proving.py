"""The whole proof: every faulty server and client with many seeds, right ones too, over several processes.

What came out so far can be had at any time, so that a proof which takes an hour may be ended early.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeVar

import uvloop

from omega_ai.testkit.result import CaseResult
from omega_ai.testkit.zoo.catalogue import EXHIBITS, RIGHT
from omega_ai.testkit.zoo.client_catalogue import CATCHES
from omega_ai.testkit.zoo.client_prove import ClientProof, client_alarms, prove_client
from omega_ai.testkit.zoo.contract import CONTRACT_EXHIBITS
from omega_ai.testkit.zoo.contract_prove import ContractProof, contract_alarms, prove_contract
from omega_ai.testkit.zoo.prove import Proof, alarms, prove

Kind = Literal["server", "right", "client", "right client", "contract", "right contract"]


class Unit(NamedTuple):
    """One thing that is done in one process: the one in this place of a kind, with one seed."""

    kind: Kind
    place: int
    seed: int


Outcome = Proof | ClientProof | ContractProof | list[CaseResult]


@dataclass(slots=True)
class Seen:
    """What came out so far."""

    servers: list[Proof] = field(default_factory=lambda: [Proof(one) for one in EXHIBITS])
    clients: list[ClientProof] = field(default_factory=lambda: [ClientProof(*row) for row in CATCHES])
    contracts: list[ContractProof] = field(
        default_factory=lambda: [ContractProof(one) for one in CONTRACT_EXHIBITS]
    )
    raised: dict[Kind, list[CaseResult]] = field(
        default_factory=lambda: {"right": [], "right client": [], "right contract": []}
    )
    right_runs: dict[Kind, int] = field(
        default_factory=lambda: {"right": 0, "right client": 0, "right contract": 0}
    )

    def add(self, unit: Unit, outcome: Outcome) -> None:
        """What one process saw."""
        if isinstance(outcome, Proof):
            self.servers[unit.place].add(outcome)
        elif isinstance(outcome, ClientProof):
            self.clients[unit.place].add(outcome)
        elif isinstance(outcome, ContractProof):
            self.contracts[unit.place].add(outcome)
        else:
            self.raised[unit.kind] += outcome
            self.right_runs[unit.kind] += 1

    @property
    def missed(self) -> list[tuple[str, int, int, list[str]]]:
        """Name, caught, runs and what was seen instead, of those that were not caught every time."""
        rows = [(p.exhibit.name, p.caught, p.runs, p.missed) for p in self.servers]
        rows += [(f"client {p.fault}", p.caught, p.runs, p.missed) for p in self.clients]
        rows += [(p.exhibit.name, p.caught, p.runs, p.missed) for p in self.contracts]
        return [row for row in rows if row[1] < row[2]]


def do(unit: Unit) -> Outcome:
    """In a process of its own."""
    return uvloop.run(_do(unit))


async def _do(unit: Unit) -> Outcome:
    seed = unit.seed
    match unit.kind:
        case "server":
            return _told(unit, await prove(EXHIBITS[unit.place], [seed]))
        case "client":
            return _told(unit, await prove_client(*CATCHES[unit.place], [seed]))
        case "contract":
            return _told(unit, await prove_contract(CONTRACT_EXHIBITS[unit.place], [seed]))
        case "right":
            found = await alarms(RIGHT[unit.place], seed)
        case "right client":
            found = await client_alarms(seed)
        case "right contract":
            found = await contract_alarms(seed)
    for case in found:
        text = f"{case.id}: {case.verdict}: {case.finding}"
        print(f"{unit.kind} {unit.place}, seed {seed}: {text}", file=sys.stderr, flush=True)
    return found


AnyProof = TypeVar("AnyProof", Proof, ClientProof, ContractProof)


def _told(unit: Unit, proof: AnyProof) -> AnyProof:
    for text in proof.missed:
        name = proof.fault if isinstance(proof, ClientProof) else proof.exhibit.name
        print(f"{unit.kind} {name} not caught: {text}", file=sys.stderr, flush=True)
    return proof


def _end_with(parent: int) -> None:
    """In each process: end when the one that started it is gone, even if it was killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end with the parent").start()


def units(runs: int, right: int) -> Iterator[Unit]:
    """Everything, so that each kind is at about the same share of its runs at any time."""
    shares: list[tuple[float, Unit]] = []

    def plan(kind: Kind, count: int, times: int) -> None:
        for seed in range(times):
            shares.extend(((seed + 1) / times, Unit(kind, index, seed)) for index in range(count))

    plan("server", len(EXHIBITS), runs)
    plan("client", len(CATCHES), runs)
    plan("contract", len(CONTRACT_EXHIBITS), runs)
    plan("right", len(RIGHT), right)
    plan("right client", 1, seldom(right))
    plan("right contract", 1, seldom(right))
    yield from (unit for _, unit in sorted(shares, key=lambda pair: pair[0]))


def seldom(right: int) -> int:
    """Runs of the right client, whose nearly 800 cases take long: one for five of the right servers."""
    return -(-right // 5)


def run(
    runs: int,
    right: int,
    *,
    processes: int = 1,
    minutes: float | None = None,
    told: Callable[[Seen, int], None] = lambda seen, done: None,  # noqa: ARG005 - nobody wants to know
) -> Seen:
    """Prove everything, for so many minutes at most; ``told`` of what was seen after each piece of it."""
    seen = Seen()
    left = units(runs, right)
    end = None if minutes is None else time.monotonic() + 60 * minutes
    done = 0
    running: dict[Future[Outcome], Unit] = {}
    with ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), initializer=_end_with, initargs=(os.getpid(),)
    ) as pool:
        while True:
            while len(running) < processes and (end is None or time.monotonic() < end):
                unit = next(left, None)
                if unit is None:
                    break
                running[pool.submit(do, unit)] = unit
            if not running:
                return seen
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                seen.add(running.pop(future), future.result())
                done += 1
                told(seen, done)


async def in_this_process(every: list[Unit]) -> Seen:
    """The same, one after the other."""
    seen = Seen()
    for unit in every:
        seen.add(unit, await _do(unit))
        await asyncio.sleep(0)
    return seen
