"""``python -m omega_ai.testkit.zoo.enduring``: servers whose fault takes a while to show.

Each is a process of its own, since what it takes is looked at. The right servers must pass every case here.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import Final

import uvloop

from omega_ai.testkit.case import Case
from omega_ai.testkit.result import CaseResult
from omega_ai.testkit.runner import Runner
from omega_ai.testkit.suites import load_suite
from omega_ai.testkit.target import Target
from omega_ai.testkit.verdict import Verdict
from omega_ai.testkit.zoo.catalogue import ENDURING, RIGHT, Exhibit
from omega_ai.testkit.zoo.prove import caught, find_case
from omega_ai.testkit.zoo.serve import ZooProcess

SUITES: Final = ("soak", "stress")


async def put(exhibit: Exhibit, case: Case, seed: int) -> CaseResult:
    """Start the server as a process, and put one case to it."""
    async with ZooProcess(exhibit, seed) as process:
        assert process.url is not None  # noqa: S101 - it is up
        profile = exhibit.site(seed).profile
        target = Target(process.url, profile, server_pid=process.pid)
        return await Runner(target, seed=seed).run_case(case)


async def prove(seed: int, names: Iterable[str] = ()) -> list[tuple[Exhibit, CaseResult, bool]]:
    """All of them, one after another, and every case on the right servers; whether it ended as it must."""
    wanted = set(names)
    found = []
    for exhibit in (*ENDURING, *RIGHT):
        if wanted and exhibit.name not in wanted:
            continue
        if exhibit in RIGHT:
            cases = [case for name in SUITES for case in load_suite(name)]
        else:
            cases = [find_case(exhibit.case)]
        for case in cases:
            result = await put(exhibit, case, seed)
            right = exhibit in RIGHT
            as_it_must = result.verdict is Verdict.PASS if right else caught(exhibit, result)
            found.append((exhibit, result, as_it_must))
            mark = "as it must" if as_it_must else "NOT AS IT MUST"
            print(f"{exhibit.name}, {case.id}: {result.verdict}, {mark}: {result.finding}", flush=True)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and say what came of each; 0 if all ended as they must. It takes some twelve minutes."""
    parser = argparse.ArgumentParser(prog="python -m omega_ai.testkit.zoo.enduring", description=__doc__)
    parser.add_argument("names", nargs="*", help="only these servers")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    found = uvloop.run(prove(given.seed, given.names))
    wrong = [exhibit.name for exhibit, _, as_it_must in found if not as_it_must]
    print(f"{len(found) - len(wrong)} of {len(found)} ended as they must", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
