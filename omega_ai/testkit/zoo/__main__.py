"""``python -m omega_ai.testkit.zoo``: run the zoo many times, and write the table of what was caught."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from omega_ai.testkit.result import CaseResult
from omega_ai.testkit.zoo.catalogue import EXHIBITS, RIGHT, Exhibit
from omega_ai.testkit.zoo.client_prove import ClientProof, client_alarms, prove_clients
from omega_ai.testkit.zoo.prove import Proof, alarms, prove_all

_HEAD = """\
# The zoo: does the test kit find what it says it finds?

A test that never fails proves nothing. So the test kit ships servers that are right but for one fault each
(`omega_ai/testkit/zoo/`), and every case must catch the fault that is meant for it, every time. The right
servers must pass every case: an alarm there would be false. Both are tests of this project. This page is made
by

    python -m omega_ai.testkit.zoo --runs {runs} --right-runs {right} --write docs/testkit/zoo.md

"""


@dataclass(slots=True)
class Seen:
    """What came out."""

    proofs: Sequence[Proof]
    clients: Sequence[ClientProof] = ()
    raised: list[CaseResult] = field(default_factory=list)
    by_clients: list[CaseResult] = field(default_factory=list)

    @property
    def missed(self) -> list[tuple[str, int, int, list[str]]]:
        """Name, caught, runs and what was seen instead, of those that were not caught every time."""
        rows = [(p.exhibit.name, p.caught, p.runs, p.missed) for p in self.proofs]
        rows += [(f"client {p.fault}", p.caught, p.runs, p.missed) for p in self.clients]
        return [row for row in rows if row[1] < row[2]]


def page(seen: Seen, runs: int, right: int) -> str:
    """The page, from what was seen."""
    proofs = seen.proofs
    caught = sum(proof.caught == proof.runs for proof in proofs)
    lines = [
        _HEAD.format(runs=runs, right=right),
        f"{caught} of {len(proofs)} faulty servers were caught in each of {runs} runs, every run with a new "
        f"seed. In {right} runs of all cases on each of {len(RIGHT)} right servers, {len(seen.raised)} alarms "
        "were raised.\n",
        "| server | its fault | case that catches it | what it must say | caught |",
        "|---|---|---|---|---|",
    ]
    for proof in proofs:
        exhibit = proof.exhibit
        kind = exhibit.kind or "fail"
        lines.append(
            f"| `{exhibit.name}` | {exhibit.fault.rstrip('.')} | `{exhibit.case}` | {kind} "
            f"| {proof.caught} of {proof.runs} |"
        )
    lines += [
        "",
        *_clients(seen, runs, right),
        "A fault counts as caught only if the case fails *and* names a finding of the kind in that column.",
        "",
    ]
    return "\n".join(lines)


def _clients(seen: Seen, runs: int, right: int) -> list[str]:
    caught = sum(proof.caught == proof.runs for proof in seen.clients)
    return [
        "## Clients",
        "",
        f"The same for [the suite for clients](clients.md): {caught} of {len(seen.clients)} pairs of a fault and "
        f"a case were caught in each of {runs} runs. In {right} runs of all its cases on a right client, "
        f"{len(seen.by_clients)} alarms were raised.",
        "",
        "| fault of the client | case that catches it | what it must say | caught |",
        "|---|---|---|---|",
        *(
            f"| `{proof.fault}`: {proof.what} | `{proof.case}` | {proof.kind} | {proof.caught} of {proof.runs} |"
            for proof in seen.clients
        ),
        "",
    ]


async def _run(runs: int, right: int, at_once: int, right_at_once: int) -> Seen:
    seen = Seen([])
    slots = asyncio.Semaphore(right_at_once)
    done = 0

    async def one_right(exhibit: Exhibit, seed: int) -> None:
        nonlocal done
        async with slots:
            found = await alarms(exhibit, seed)
        seen.raised.extend(found)
        done += 1
        for case in found:
            print(f"false alarm: {exhibit.name}, seed {seed}: {said(case)}", file=sys.stderr, flush=True)
        if sys.stderr.isatty():
            print(f"\r{done} of {right * len(RIGHT)} right runs", end="", file=sys.stderr, flush=True)

    async def all_right() -> None:
        await asyncio.gather(*(one_right(exhibit, seed) for seed in range(right) for exhibit in RIGHT))

    async def clients() -> None:
        seen.clients = await prove_clients(range(runs))
        for seed in range(right):
            found = await client_alarms(seed)
            seen.by_clients.extend(found)
            for case in found:
                print(f"false alarm: client, seed {seed}: {said(case)}", file=sys.stderr, flush=True)

    seen.proofs, *_ = await asyncio.gather(prove_all(EXHIBITS, range(runs), at_once), all_right(), clients())
    return seen


def said(case: CaseResult) -> str:
    """A case's verdict in one line."""
    return f"{case.id}: {case.verdict}: {case.finding}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, say what was missed, write the page if asked to; 0 if nothing was missed and no alarm false."""
    parser = argparse.ArgumentParser(prog="python -m omega_ai.testkit.zoo", description=__doc__)
    parser.add_argument("--runs", type=int, default=1, help="runs of each faulty server")
    parser.add_argument("--right-runs", type=int, default=1, help="runs of all cases on each right server")
    parser.add_argument("--at-once", type=int, default=4, help="faulty servers at the same time")
    parser.add_argument("--right-at-once", type=int, default=2, help="right servers at the same time")
    parser.add_argument("--write", type=Path, help="write the table to this file")
    given = parser.parse_args(arguments)
    seen = uvloop.run(_run(given.runs, given.right_runs, given.at_once, given.right_at_once))
    for name, caught, runs, texts in seen.missed:
        print(f"{name}: caught {caught} of {runs}", file=sys.stderr)
        for text in texts:
            print(f"  {text}", file=sys.stderr)
    if given.write is not None:
        given.write.write_text(page(seen, given.runs, given.right_runs), encoding="utf-8")
    every = len(seen.proofs) + len(seen.clients)
    alarms_raised = len(seen.raised) + len(seen.by_clients)
    print(
        f"{every - len(seen.missed)} of {every} caught every time, {alarms_raised} false alarms",
        file=sys.stderr,
    )
    return 1 if seen.missed or alarms_raised else 0


if __name__ == "__main__":
    sys.exit(main())
