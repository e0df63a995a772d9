"""``python -m omega_ai.testkit.zoo``: run the zoo many times, and write the table of what was caught."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from omega_ai.testkit.result import CaseResult
from omega_ai.testkit.verdict import Verdict
from omega_ai.testkit.zoo.catalogue import RIGHT
from omega_ai.testkit.zoo.proving import Seen, run

_HEAD = """\
# The zoo: does the test kit find what it says it finds?

A test that never fails proves nothing. So the test kit ships servers that are right but for one fault each
(`omega_ai/testkit/zoo/`), and every case must catch the fault that is meant for it, every time. The right
servers must pass every case: an alarm there would be false. Both are tests of this project. This page is made
by

    python -m omega_ai.testkit.zoo --runs {runs} --right-runs {right} --write docs/testkit/zoo.md

"""


def page(seen: Seen, runs: int, right: int) -> str:
    """The page, from what was seen."""
    proofs = seen.proofs
    caught = sum(proof.caught == proof.runs for proof in proofs)
    lines = [
        _HEAD.format(runs=runs, right=right),
        f"{caught} of {len(proofs)} faulty servers were caught in each of {runs} runs, every run with a new "
        f"seed. In {right} runs of all cases on each of {len(RIGHT)} right servers, {_count(seen.raised)}.\n",
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
        f"The same for [the suite for clients](clients.md): {caught} of {len(seen.clients)} pairs of a fault "
        f"and a case were caught in each of {runs} runs. In {client_runs(right)} runs of all its cases on a "
        f"right client, {_count(seen.by_clients)}.",
        "",
        "| fault of the client | case that catches it | what it must say | caught |",
        "|---|---|---|---|",
        *(
            f"| `{proof.fault}`: {proof.what} | `{proof.case}` | {proof.kind} "
            f"| {proof.caught} of {proof.runs} |"
            for proof in seen.clients
        ),
        "",
    ]


def _count(raised: Sequence[CaseResult]) -> str:
    """An alarm accuses a right server; a case that leaves it open does not."""
    failed = sum(case.verdict is Verdict.FAIL for case in raised)
    text = f"{failed} alarm{'' if failed == 1 else 's'} {'was' if failed == 1 else 'were'} raised"
    open_ = len(raised) - failed
    return text + (
        f", and {open_} cases could not be decided on a machine that was too busy" if open_ else ""
    )


def client_runs(right: int) -> int:
    """How many of all cases on a right client: nearly 800 cases take long."""
    return -(-right // 5)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, say what was missed, write the page if asked to; 0 if nothing was missed and no alarm false."""
    parser = argparse.ArgumentParser(prog="python -m omega_ai.testkit.zoo", description=__doc__)
    parser.add_argument("--runs", type=int, default=1, help="runs of each faulty server")
    parser.add_argument("--right-runs", type=int, default=1, help="runs of all cases on each right server")
    parser.add_argument("--at-once", type=int, default=3, help="servers of a kind at the same time")
    parser.add_argument("--processes", type=int, default=1, help="so many of these beside each other")
    parser.add_argument("--write", type=Path, help="write the table to this file")
    given = parser.parse_args(arguments)
    clients = client_runs(given.right_runs)
    seen = run(given.runs, given.right_runs, clients, processes=given.processes, at_once=given.at_once)
    for name, caught, runs, texts in seen.missed:
        print(f"{name}: caught {caught} of {runs}", file=sys.stderr)
        for text in texts:
            print(f"  {text}", file=sys.stderr)
    if given.write is not None:
        given.write.write_text(page(seen, given.runs, given.right_runs), encoding="utf-8")
    every = len(seen.proofs) + len(seen.clients)
    raised = [*seen.raised, *seen.by_clients]
    print(f"{every - len(seen.missed)} of {every} caught every time; {_count(raised)}", file=sys.stderr)
    return 1 if seen.missed or raised else 0


if __name__ == "__main__":
    sys.exit(main())
