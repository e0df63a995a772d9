"""``python -m omega_ai.tests.fuzz``: feed bytes to every target for a while.

Exit code 1 if one fails, 2 if nothing was seen of one.

With atheris (``pip install atheris``) inputs are guided by the code that they reach, and the corpus is kept
from run to run; without it they are mutations of right inputs, the same for the same seed.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import platformdirs

from omega_ai.core.client_tls import APPLICATION
from omega_ai.tests.fuzz.mutation import inputs
from omega_ai.tests.fuzz.targets import TARGETS, as_text

SLICE_SECONDS = 60.0
GRACE_SECONDS = 120.0


class Outcome(NamedTuple):
    """What became of one target: how many inputs, and what made it fail."""

    executions: int
    failure: str | None = None


def mutate(name: str, *, seconds: float, seed: int, executions: int | None = None) -> Outcome:
    """Run mutations of the target's seeds for ``seconds``, or so many of them."""
    target = TARGETS[name]
    end = time.monotonic() + seconds
    made = inputs(target.seeds, target.words, random.Random(f"{name}:{seed}"))
    for count, data in enumerate(made, start=1):
        try:
            target.run(data)
        except Exception:
            return Outcome(count, f"{traceback.format_exc()}input: {as_text(data)}")
        if (executions is not None and count >= executions) or time.monotonic() > end:
            return Outcome(count)
    raise AssertionError("mutations never end")


def guided(name: str, *, seconds: float, seed: int, directory: Path) -> Outcome:
    """Run the target under atheris, with a corpus of its own in ``directory``."""
    corpus = directory / name
    corpus.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "omega_ai.tests.fuzz.coverage", name, str(corpus)]
    command += [
        f"-max_total_time={max(1, round(seconds))}",
        f"-seed={seed}",
        f"-artifact_prefix={directory}/{name}-",
    ]
    command += ["-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1"]
    log = directory / f"{name}.log"
    with log.open("wb") as output:
        limit = seconds + GRACE_SECONDS
        try:
            ended = subprocess.run(
                command, stdout=output, stderr=subprocess.STDOUT, timeout=limit, check=False
            )
        except subprocess.TimeoutExpired:
            # A target that hangs is found by libFuzzer's own limit; this is a machine too busy to begin.
            print(f"{name}: not at an end after {limit:.0f} s; nothing is said of it", flush=True)
            return Outcome(0)
    text = log.read_text(errors="replace")
    found = re.search(r"number_of_executed_units: (\d+)", text)
    executions = int(found[1]) if found else 0
    if ended.returncode:
        return Outcome(executions, f"{text[-3000:]}\nwhole log: {log}")
    return Outcome(executions)


def main(arguments: Sequence[str] | None = None) -> int:
    """Every target in turn, in slices, until the time is over."""
    parser = argparse.ArgumentParser(prog="python -m omega_ai.tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=8.0, help="for all targets together (default: 8)")
    parser.add_argument("--seed", type=int, default=None, help="repeat the run that named this seed")
    parser.add_argument("--target", action="append", choices=list(TARGETS), help="only this one (repeatable)")
    parser.add_argument("--engine", choices=("auto", "guided", "mutation"), default="auto")
    parser.add_argument("--corpus", type=Path, default=None, help="where guided inputs are kept")
    options = parser.parse_args(arguments)

    have = importlib.util.find_spec("atheris") is not None
    if options.engine == "guided" and not have:
        parser.error("--engine guided needs atheris: pip install atheris")
    use_guided = have and options.engine != "mutation"
    directory: Path = (
        options.corpus or Path(platformdirs.user_state_dir(APPLICATION, appauthor=False)) / "fuzz"
    )
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1, 2**31)
    names = options.target or list(TARGETS)
    print(
        f"seed {seed}, engine {'guided' if use_guided else 'mutation'}, {options.minutes:g} min", flush=True
    )
    if use_guided:
        print(f"corpus in {directory}", flush=True)

    total = dict.fromkeys(names, 0)
    remaining = options.minutes * 60
    turn = 0
    failed = False
    while remaining > 0 and names and not failed:
        share = min(SLICE_SECONDS, max(remaining / len(names), 1.0))
        for name in list(names):
            began = time.monotonic()
            if use_guided:
                outcome = guided(name, seconds=share, seed=seed + turn, directory=directory)
            else:
                outcome = mutate(name, seconds=share, seed=seed + turn)
            total[name] += outcome.executions
            remaining -= time.monotonic() - began
            print(
                f"{name:<18}{outcome.executions:>10} inputs in {time.monotonic() - began:5.0f} s", flush=True
            )
            if outcome.failure is not None:
                failed = True
                names.remove(name)
                print(f"FAILED: {name}, --seed {seed + turn}\n{outcome.failure}", flush=True)
        turn += 1
    if not failed and not all(total.values()):
        print("nothing was seen of " + ", ".join(name for name, count in total.items() if not count))
        return 2
    print("inputs: " + ", ".join(f"{name} {count:,}" for name, count in total.items()))
    print(
        f"{sum(total.values()):,} inputs, {'a failure: see above' if failed else 'none made a target fail'}"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
