"""``python -m omega_ai.testkit.zoo``: run the zoo many times, and write the table of what was caught."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from omega_ai.testkit.result import CaseResult
from omega_ai.testkit.zoo.catalogue import EXHIBITS, RIGHT, Exhibit
from omega_ai.testkit.zoo.prove import Proof, alarms, prove_all

_HEAD = """\
# The zoo: does the test kit find what it says it finds?

A test that never fails proves nothing. So the test kit ships servers that are right but for one fault each
(`omega_ai/testkit/zoo/`), and every case must catch the fault that is meant for it, every time. The right
servers must pass every case: an alarm there would be false. Both are tests of this project. This page is made
by

    python -m omega_ai.testkit.zoo --runs {runs} --right-runs {right} --write docs/testkit/zoo.md

"""


def page(proofs: Sequence[Proof], raised: Sequence[CaseResult], runs: int, right: int) -> str:
    """The page, from what was seen."""
    caught = sum(proof.caught == proof.runs for proof in proofs)
    lines = [
        _HEAD.format(runs=runs, right=right),
        f"{caught} of {len(proofs)} faulty servers were caught in each of {runs} runs, every run with a new "
        f"seed. In {right} runs of all cases on each of {len(RIGHT)} right servers, {len(raised)} alarms "
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
        "A fault counts as caught only if the case fails *and* names a finding of the kind in that column.",
        "",
    ]
    return "\n".join(lines)


async def _run(
    runs: int, right: int, at_once: int, right_at_once: int
) -> tuple[list[Proof], list[CaseResult]]:
    raised: list[CaseResult] = []
    slots = asyncio.Semaphore(right_at_once)
    done = 0

    async def one_right(exhibit: Exhibit, seed: int) -> None:
        nonlocal done
        async with slots:
            found = await alarms(exhibit, seed)
        raised.extend(found)
        done += 1
        for case in found:
            print(f"false alarm: {exhibit.name}, seed {seed}: {said(case)}", file=sys.stderr, flush=True)
        if sys.stderr.isatty():
            print(f"\r{done} of {right * len(RIGHT)} right runs", end="", file=sys.stderr, flush=True)

    async def all_right() -> None:
        await asyncio.gather(*(one_right(exhibit, seed) for seed in range(right) for exhibit in RIGHT))

    proofs, _ = await asyncio.gather(prove_all(EXHIBITS, range(runs), at_once), all_right())
    return proofs, raised


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
    proofs, raised = uvloop.run(_run(given.runs, given.right_runs, given.at_once, given.right_at_once))
    missed = [proof for proof in proofs if proof.caught < proof.runs]
    for proof in missed:
        print(f"{proof.exhibit.name}: caught {proof.caught} of {proof.runs}", file=sys.stderr)
        for text in proof.missed:
            print(f"  {text}", file=sys.stderr)
    if given.write is not None:
        given.write.write_text(page(proofs, raised, given.runs, given.right_runs), encoding="utf-8")
    print(
        f"{len(proofs) - len(missed)} of {len(proofs)} caught every time, {len(raised)} false alarms",
        file=sys.stderr,
    )
    return 1 if missed or raised else 0


if __name__ == "__main__":
    sys.exit(main())
