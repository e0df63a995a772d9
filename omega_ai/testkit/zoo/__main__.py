"""``python -m omega_ai.testkit.zoo``: run the zoo many times, and write the table of what was caught."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from omega_ai.testkit.result import CaseResult
from omega_ai.testkit.verdict import Verdict
from omega_ai.testkit.zoo.catalogue import RIGHT
from omega_ai.testkit.zoo.client_prove import ClientProof
from omega_ai.testkit.zoo.contract_prove import ContractProof
from omega_ai.testkit.zoo.prove import Proof
from omega_ai.testkit.zoo.proving import Seen, run, units

_HEAD = """\
# The zoo: does the test kit find what it says it finds?

A test that never fails proves nothing. So the test kit ships servers that are right but for one fault each
(`omega_ai/testkit/zoo/`), and every case must catch the fault that is meant for it, every time. The right
servers must pass every case: an alarm there would be false. Both are tests of this project. This page is made
by

    python -m omega_ai.testkit.zoo --runs {runs} --right-runs {right} --write docs/testkit/zoo.md

(`--minutes` ends it early; the last column says how often each was run.){note}

"""


def page(seen: Seen, runs: int, right: int, note: str = "") -> str:
    """The page, from what was seen. ``runs``, ``right``: what the command was asked for."""
    lines = [
        _HEAD.format(runs=runs, right=right, note=f" {note}" if note else ""),
        f"{_every(seen.servers)} faulty servers were caught every time, every run with a new seed. "
        f"In {seen.right_runs['right']} runs on right servers ({len(RIGHT)} of them, in turn; all cases on "
        f"{sum(not exhibit.case for exhibit in RIGHT)}, on the others the one that they were made for), "
        f"{_count(seen.raised['right'])}.\n",
        "| server | its fault | case that catches it | what it must say | caught |",
        "|---|---|---|---|---|",
        *(
            f"| `{proof.exhibit.name}` | {proof.exhibit.fault.rstrip('.')} | `{proof.exhibit.case}` "
            f"| {proof.exhibit.kind or 'fail'} | {proof.caught} of {proof.runs} |"
            for proof in seen.servers
        ),
        "",
        "## Clients",
        "",
        f"The same for [the suite for clients](clients.md): {_every(seen.clients)} pairs of a fault and a "
        f"case were caught every time. In {seen.right_runs['right client']} runs of all its cases on a right "
        f"client, {_count(seen.raised['right client'])}.",
        "",
        "| fault of the client | case that catches it | what it must say | caught |",
        "|---|---|---|---|",
        *(
            f"| `{proof.fault}`: {proof.what} | `client.{proof.case}` | {proof.kind} "
            f"| {proof.caught} of {proof.runs} |"
            for proof in seen.clients
        ),
        "",
        "## Contracts",
        "",
        f"And for [the suite from a contract](contract.md): {_every(seen.contracts)} faults were caught "
        "every time, and shrunk to as few messages as it takes. In "
        f"{seen.right_runs['right contract']} runs on a right server, "
        f"{_count(seen.raised['right contract'])}.",
        "",
        "| server | its fault | case that catches it | what it must say | messages | caught |",
        "|---|---|---|---|---|---|",
        *(
            f"| `{proof.exhibit.name}` | {proof.exhibit.fault.rstrip('.')} | `{proof.exhibit.case}` "
            f"| {proof.exhibit.kind} | {proof.exhibit.steps} | {proof.caught} of {proof.runs} |"
            for proof in seen.contracts
        ),
        "",
        "A fault counts as caught only if the case fails *and* names a finding of the kind in that column.",
        "",
    ]
    return "\n".join(lines)


def _every(proofs: Sequence[Proof] | Sequence[ClientProof] | Sequence[ContractProof]) -> str:
    return f"{sum(proof.caught == proof.runs > 0 for proof in proofs)} of {len(proofs)}"


def _count(raised: Sequence[CaseResult]) -> str:
    """An alarm accuses a right one; a case that leaves it open does not."""
    failed = sum(case.verdict is Verdict.FAIL for case in raised)
    text = f"{failed} alarm{'' if failed == 1 else 's'} {'was' if failed == 1 else 'were'} raised"
    open_ = len(raised) - failed
    return text + (
        f", and {open_} cases could not be decided on a machine that was too busy" if open_ else ""
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, say what was missed, write the page if asked to; 0 if nothing was missed and no alarm false."""
    parser = argparse.ArgumentParser(prog="python -m omega_ai.testkit.zoo", description=__doc__)
    parser.add_argument("--runs", type=int, default=1, help="runs of each fault")
    parser.add_argument("--right-runs", type=int, default=1, help="runs of all cases on each right server")
    parser.add_argument("--processes", type=int, default=4, help="so many things at the same time")
    parser.add_argument("--minutes", type=float, help="begin nothing more after so long")
    parser.add_argument("--write", type=Path, help="write the table to this file, as it grows")
    parser.add_argument("--note", default="", help="a sentence for the page: on which machine, say")
    given = parser.parse_args(arguments)
    total = sum(1 for _ in units(given.runs, given.right_runs))

    def told(seen: Seen, done: int) -> None:
        if given.write is not None:
            given.write.write_text(page(seen, given.runs, given.right_runs, given.note), encoding="utf-8")
        if sys.stderr.isatty():
            print(f"\r{done} of {total}", end="", file=sys.stderr, flush=True)

    seen = run(given.runs, given.right_runs, processes=given.processes, minutes=given.minutes, told=told)
    for name, caught, runs, texts in seen.missed:
        print(f"{name}: caught {caught} of {runs}", file=sys.stderr)
        for text in texts:
            print(f"  {text}", file=sys.stderr)
    raised = [case for cases in seen.raised.values() for case in cases]
    every = len(seen.servers) + len(seen.clients) + len(seen.contracts)
    print(f"{every - len(seen.missed)} of {every} caught every time; {_count(raised)}", file=sys.stderr)
    return 1 if seen.missed or raised else 0


if __name__ == "__main__":
    sys.exit(main())
