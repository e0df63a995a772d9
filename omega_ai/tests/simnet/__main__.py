"""``python -m omega_ai.tests.simnet``: chaos in virtual time, seed after seed; exit code 1: it lost."""

from __future__ import annotations

import argparse
import contextlib
import secrets
import sys
import time

from omega_ai.tests.simnet.mutants import MUTANTS
from omega_ai.tests.simnet.scenario import live_through, steps_of

STEPS = 60


def main() -> int:
    """Run, and print every seed that fails, with the command that replays it."""
    parser = argparse.ArgumentParser(prog="python -m omega_ai.tests.simnet", description=__doc__)
    parser.add_argument("--seed", type=int, help="this seed alone, with all that was found")
    parser.add_argument("--hours", type=float, default=1.0, help="virtual hours to live through (default: 1)")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"disturbances a seed (default: {STEPS})")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="put a bug in: seeds must fail")
    given = parser.parse_args()
    wanted = given.hours * 3600.0
    seed = secrets.randbelow(1 << 31) if given.seed is None else given.seed
    began, lived, runs, failed, seen = time.monotonic(), 0.0, 0, 0, 0
    with MUTANTS[given.mutant]() if given.mutant else contextlib.nullcontext():
        while lived < wanted and (given.seed is None or not runs):
            report = live_through(steps_of(seed, given.steps), seed)
            lived += report.seconds
            runs += 1
            seen += report.truth.deliveries
            if not report.passed:
                failed += 1
                more = f" --mutant {given.mutant}" if given.mutant else ""
                again = f"python -m omega_ai.tests.simnet --seed {seed} --steps {given.steps}{more}"
                print(f"seed {seed} fails: {again}")
                print(report)
            elif given.seed is not None:
                print(f"seed {seed}: {report.truth.deliveries} messages, digest {report.digest[:16]}")
            seed += 1
    took = time.monotonic() - began
    print(
        f"{runs} runs, {lived / 3600:.2f} virtual hours in {took:.0f} s, {seen} messages checked, "
        f"{failed} failed",
        file=sys.stderr,
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
