"""``python -m omega_ai.tests.faults``: see ``--help``. Exit code 0: nothing lost; 1: an anomaly."""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import signal
import sys
from pathlib import Path

import uvloop

from omega_ai.tests.faults.disturb import FAULTS
from omega_ai.tests.faults.groups import REDISES
from omega_ai.tests.faults.plugin import MUTANTS
from omega_ai.tests.faults.run import report, run


def main() -> int:
    """Run once and print the verdict."""
    parser = argparse.ArgumentParser(prog="python -m omega_ai.tests.faults", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1800, help="how long faults come (default: 1800)")
    parser.add_argument("--seed", type=int, help="of the faults and their moments (default: a new one)")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--rate", type=float, default=20, help="trades a second (default: 20)")
    parser.add_argument(
        "--mutant", choices=sorted(MUTANTS), help="put a bug in, and do only what shows it: the run must fail"
    )
    parser.add_argument("--fault", action="append", choices=list(FAULTS), help="only these (repeatable)")
    parser.add_argument(
        "--redis", choices=list(REDISES), default="single", help="what holds the history (default: single)"
    )
    parser.add_argument("--logs", type=Path, help="write the processes' logs to this file")
    given = parser.parse_args()
    seed = secrets.randbelow(2**31) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    work = run(
        seconds=given.seconds,
        seed=seed,
        clients=given.clients,
        rate=given.rate,
        mutant=given.mutant,
        faults=given.fault or ((MUTANTS[given.mutant][1],) if given.mutant else tuple(FAULTS)),
        redis=REDISES[given.redis],
        say=lambda text: print(text, file=sys.stderr, flush=True),
    )
    # Whoever ends this process wants its children to end as well.
    signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(work)
    if given.logs is not None:
        given.logs.write_text(result.logs)
    report(result, print)
    return 0 if result.passed else 1


if __name__ == "__main__":
    sys.exit(main())
