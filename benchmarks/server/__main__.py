"""Measure the server against others on this machine.

    python -m benchmarks.server                      everything (some 30 minutes)
    python -m benchmarks.server --quick              fewer rivals, shorter runs (under 3 minutes)
    python -m benchmarks.server --only fanout echo   some cases

What is needed is made on first use in a cache directory: two C programs (a C compiler), the Python rivals
(pip) and the JavaScript rivals (npm, node). What cannot be had is skipped, and named.

Server and client are pinned to a core each. In every round each contender runs once, in an order that turns;
a ratio is of two runs of the same round, and the median of the rounds is quoted with its extremes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.server.bench import QUICK, Bench
from benchmarks.server.cases import CASES
from benchmarks.server.contenders import CONTENDERS
from benchmarks.server.processes import Failed, choose_cores, may_be_nice, raise_descriptor_limit
from benchmarks.server.report import MEASURED, machine, markdown, put_into, terminal_table
from benchmarks.server.results import Result
from benchmarks.server.workshop import Unavailable, Workshop

CONSOLE = Console(stderr=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.server",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", metavar="CASE", choices=CASES, help=f"of {', '.join(CASES)}")
    parser.add_argument(
        "--against", nargs="+", metavar="NAME", choices=CONTENDERS, help=f"of {', '.join(CONTENDERS)}"
    )
    parser.add_argument("--rounds", type=int, help="runs of each contender (default 5; quick 2)")
    parser.add_argument("--seconds", type=float, help="length of a run (default 2; quick 0.7)")
    parser.add_argument("--quick", action="store_true", help=f"short runs of {', '.join(QUICK)}")
    parser.add_argument("--cores", metavar="SERVER,CLIENT", help="cores to pin to (default: the first two)")
    parser.add_argument(
        "--nice", type=int, default=0, help="niceness of server and client; -5 on a busy machine"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("reports/benchmarks"), help="directory of the results"
    )
    parser.add_argument("--document", type=Path, help=f"also put the tables into this file, after {MEASURED}")
    parser.add_argument("--cache", type=Path, help="directory for what is built and installed")
    options = parser.parse_args()
    if options.rounds is not None and not 1 <= options.rounds <= 100:
        parser.error("--rounds takes 1 to 100")
    if options.document is not None and MEASURED not in (
        options.document.read_text() if options.document.exists() else ""
    ):
        parser.error(f"--document {options.document}: there is no line {MEASURED!r} in it")
    if not -20 <= options.nice <= 19:
        parser.error("--nice takes -20 to 19")
    if options.seconds is not None and not 0.2 <= options.seconds <= 60:
        parser.error("--seconds takes 0.2 to 60")
    return options


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    options = parse()
    # Whoever ends us, the servers end with us; a shell may have told us to ignore Ctrl-C.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        return measure(options)
    except KeyboardInterrupt:
        CONSOLE.print("Stopped.")
        return 130


def measure(options: argparse.Namespace) -> int:
    if sys.platform != "linux":
        CONSOLE.print("The benchmarks read /proc and pin processes to cores: they need Linux.")
        return 3
    wanted = options.against or (QUICK if options.quick else tuple(CONTENDERS))
    needs = {CONTENDERS[name].needs for name in wanted}
    workshop = Workshop(options.cache, lambda text: CONSOLE.print(f"{text} ..."))
    try:
        workshop.prepare(python="python" in needs, javascript=bool(needs & {"node", "bun"}))
        cores = choose_cores(options.cores)
        may_be_nice(options.nice)
    except (Unavailable, Failed) as error:
        CONSOLE.print(str(error))
        return 3
    if cores[0] == cores[1]:
        CONSOLE.print("Only one core: server and client share it, and the figures say little.")
    began, busy = time.monotonic(), _busy_seconds()
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=CONSOLE, transient=True
    ) as progress:
        bar = progress.add_task("starting", total=None)
        lines = not CONSOLE.is_terminal

        def step(text: str) -> None:
            progress.update(bar, description=text)
            if lines:
                CONSOLE.print(text, highlight=False)

        bench = Bench(
            workshop,
            cores=cores,
            nice=options.nice,
            rounds=options.rounds or (2 if options.quick else 5),
            seconds=options.seconds or (0.7 if options.quick else 2.0),
            quick=options.quick,
            descriptors=raise_descriptor_limit(),
            only=options.against,
            step=step,
        )
        for label, reason in bench.skipped.items():
            if any(CONTENDERS[name].label == label for name in wanted):
                CONSOLE.print(f"Skipped: {label}: {reason}")
        results: list[Result] = []
        for name in options.only or CASES:
            case_began = time.monotonic()
            result = CASES[name](bench)
            result.seconds = time.monotonic() - case_began
            results.append(result)
            CONSOLE.print(terminal_table(result))
    elapsed = time.monotonic() - began
    facts = {
        "machine": machine(),
        "versions": {
            CONTENDERS[name].label: CONTENDERS[name].version(workshop)
            for name in wanted
            if CONTENDERS[name].label not in bench.skipped
        },
        "skipped": bench.skipped,
        "noise": _noise(elapsed, busy),
        "command": _command(options),
        "rounds": bench.rounds,
        "seconds": bench.seconds,
    }
    _write(options.out, options.document, results, facts, workshop)
    return 0


def _command(options: argparse.Namespace) -> str:
    """What to type for the same figures; where they were written does not matter."""
    words = ["python", "-m", "benchmarks.server"]
    for name in ("only", "against", "rounds", "seconds", "cores", "nice"):
        value = getattr(options, name)
        if value:
            words += [f"--{name}", *(value if isinstance(value, list) else [str(value)])]
    return shlex.join([*words, "--quick"] if options.quick else words)


def _write(
    out: Path, document: Path | None, results: list[Result], facts: dict[str, Any], workshop: Workshop
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    data = out / "server.json"
    data.write_text(json.dumps({**facts, "cases": [result.as_dict() for result in results]}, indent=1) + "\n")
    (out / "server.md").write_text(markdown(results, facts))
    written = [data, out / "server.md"]
    if document is not None:
        document.write_text(put_into(document.read_text(), markdown(results, facts)))
        written.append(document)
    if workshop.python.exists():
        plots = Path(__file__).with_name("plots.py")
        done = subprocess.run(
            [str(workshop.python), str(plots), str(data), str(out / "server.html")],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            written.append(out / "server.html")
        else:
            CONSOLE.print(f"No plots: {done.stderr.strip().splitlines()[-1:]}")
    CONSOLE.print(f"{facts['noise']}\nWritten: {', '.join(str(path) for path in written)}", highlight=False)


def _busy_seconds() -> tuple[float, float]:
    """CPU seconds used by the whole machine, and by this process with its children."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    whole = (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")
    own = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        used = resource.getrusage(who)
        own += used.ru_utime + used.ru_stime
    return whole, own


def _noise(elapsed: float, before: tuple[float, float]) -> str:
    whole, own = _busy_seconds()
    others = max(0.0, (whole - before[0]) - (own - before[1])) / elapsed
    said = "quiet" if others < 0.05 else "noisy: trust ratios more than figures, and spreads more than either"
    cores = os.cpu_count()
    return f"took {elapsed:.0f} s, in which other processes used {others:.2f} of {cores} cores ({said})"


if __name__ == "__main__":
    sys.exit(main())
