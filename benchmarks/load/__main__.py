"""``python -m benchmarks.load``: ours and others, side by side, against the same servers in one run."""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.load.contenders import CONTENDERS, Contender, Said, Task
from benchmarks.load.workbench import Server, Unavailable, Workbench, cpu_of, rss_of, sleep_until

CASES = ("throughput", "memory", "pause", "faults", "unreachable", "clock")
RATES = {
    "omega": (1000, 2000, 3000),
    "k6": (200, 400, 1000),
    "locust": (200, 400, 1000),
    "artillery": (50, 100, 200),
    "tsung": (200, 400, 1000),
}
"""Messages a second on each of 50 connections that are asked for; the best that was reached is quoted."""


def main() -> int:
    """Measure and print Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--against", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--cache", type=Path, default=None)
    parser.add_argument("--nice", type=int, default=0, help="such as -15, on a machine that others use")
    options = parser.parse_args()
    if options.nice:
        prefer(options.nice)
    bench = Workbench(options.cache)
    contenders, missing = {}, {}
    for name in options.against:
        contender = CONTENDERS[name](bench)
        try:
            contender.prepare()
            contenders[name] = contender
        except Unavailable as reason:
            missing[name] = str(reason)
    load = os.getloadavg()[0]
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, load of the machine at the start {load:.1f}")
    print(f"Everything runs at nice {options.nice}.\n" if options.nice else "")
    for case in options.only:
        with tempfile.TemporaryDirectory() as directory:
            globals()[f"{case}_case"](bench, contenders, options.seconds, Path(directory))
    for name, reason in missing.items():
        print(f"not measured: {name}: {reason}")
    return 0


def throughput_case(bench: Workbench, contenders: dict[str, Contender], seconds: float, where: Path) -> None:
    """Messages for a CPU second, counted by the server, in the steady part of the run."""
    table("messages per CPU second, 50 connections", ["asked for", "reached", "cores", "per CPU s", "says"])
    for name, contender in contenders.items():
        for rate in RATES[name]:
            with bench.serving() as server:
                task = Task(server.url, 50, rate, seconds + 3, where)
                process = contender.start(task)
                begin = wait_for_messages(server, process)
                sleep_until(begin + 1.5)
                cpu, count, at = cpu_of(process.pid), server.count()["messages"], time.monotonic()
                sleep_until(begin + 1.5 + seconds)
                cpu, count = cpu_of(process.pid) - cpu, server.count()["messages"] - count
                at = time.monotonic() - at
                said = end(contender, task, process)
            row(contender.name, f"{50 * rate:,}/s", f"{count / at:,.0f}/s", f"{cpu / at:.2f}",
                f"{count / cpu:,.0f}", said.verdict)  # fmt: skip


def memory_case(bench: Workbench, contenders: dict[str, Contender], seconds: float, where: Path) -> None:
    """Memory with 5,000 connections, each with a message in five seconds, beside that with 10."""
    table("memory, 5,000 connections", ["MB with 10", "MB with 5,000", "KB per connection"])
    for contender in contenders.values():
        found = []
        for clients in (10, 5000):
            with bench.serving() as server:
                task = Task(server.url, clients, 0.2, 25.0, where)
                process = contender.start(task)
                most = 0
                limit = time.monotonic() + 25.0
                while time.monotonic() < limit and process.poll() is None:
                    most = max(most, rss_of(process.pid))
                    time.sleep(0.5)
                os.killpg(process.pid, signal.SIGTERM)
                end(contender, task, process)
            found.append(most)
        row(contender.name, f"{found[0] / 1e6:.0f}", f"{found[1] / 1e6:.0f}",
            f"{(found[1] - found[0]) / 4990 / 1000:.1f}")  # fmt: skip


def pause_case(bench: Workbench, contenders: dict[str, Contender], seconds: float, where: Path) -> None:
    """The server stands still for one second of five; 50 connections with 100 messages a second each."""
    table(
        "the server stands still for 1 s of 5", ["pause, s", "true p95", "p95 said", "true p99", "p99 said"]
    )
    for contender in contenders.values():
        with bench.serving() as server:
            task = Task(server.url, 50, 100, 5.0, where)
            process = contender.start(task)
            begin = wait_for_messages(server, process)
            sleep_until(begin + 2.0)
            os.kill(server.pid, signal.SIGSTOP)
            stopped = time.monotonic()
            sleep_until(stopped + 1.0)
            os.kill(server.pid, signal.SIGCONT)
            length = time.monotonic() - stopped
            said = end(contender, task, process)
        truth = [1000 * (length - (1 - share) * 5.0) for share in (0.95, 0.99)]
        row(contender.name, f"{length:.3f}", f"{truth[0]:.0f} ms", ms(said.p95_ms), f"{truth[1]:.0f} ms",
            ms(said.p99_ms))  # fmt: skip


def faults_case(bench: Workbench, contenders: dict[str, Contender], seconds: float, where: Path) -> None:
    """A server that loses, doubles, swaps and corrupts one message in a hundred each."""
    heads = ["the server did (lost, doubled, swapped, corrupted)", "was told", "verdict"]
    table("a server that misbehaves", heads)
    for contender in contenders.values():
        with bench.serving(lose=0.01, double=0.01, swap=0.01, corrupt=0.01) as server:
            task = Task(server.url, 50, 100, seconds, where)
            process = contender.start(task)
            said = end(contender, task, process)
            did = server.end()
        kinds = ("lost", "doubled", "swapped", "corrupted")
        told = ", ".join(str(said.more.get(kind, "-")) for kind in kinds)
        row(contender.name, ", ".join(str(did[kind]) for kind in kinds), told, said.verdict)


def unreachable_case(bench: Workbench, contenders: dict[str, Contender], seconds: float, where: Path) -> None:
    """A rate that no generator here can make: a million a second."""
    table("a rate that cannot be reached (1,000,000/s)", ["served", "verdict", "why"])
    for contender in contenders.values():
        with bench.serving() as server:
            task = Task(server.url, 50, 20_000, 3.0, where)
            process = contender.start(task)
            begin = wait_for_messages(server, process)
            sleep_until(begin + 3.0)
            served = server.count()["messages"]
            said = end(contender, task, process)
        row(contender.name, f"{served / 3:,.0f}/s", said.verdict, str(said.more.get("invalid", "")))


def clock_case(bench: Workbench, contenders: dict[str, Contender], seconds: float, where: Path) -> None:
    """The generator's wall clock is set an hour ahead, and a second later half an hour back."""
    table("a clock that jumps", ["p95 said", "p99 said", "verdict", "why"])
    for contender in contenders.values():
        if not contender.asks_libc:
            row(contender.name, "-", "-", "not tried", "its clock cannot be set alone: it does not ask libc")
            continue
        with bench.serving() as server, bench.clock() as clock:
            task = Task(server.url, 50, 100, 5.0, where, clock.variables)
            process = contender.start(task)
            begin = wait_for_messages(server, process)
            sleep_until(begin + 1.5)
            clock.set(3600.0)
            sleep_until(begin + 2.5)
            clock.set(-1800.0)
            said = end(contender, task, process)
        row(contender.name, ms(said.p95_ms), ms(said.p99_ms), said.verdict, str(said.more.get("invalid", "")))


def wait_for_messages(server: Server, process) -> float:
    """When the first messages came."""
    limit = time.monotonic() + 60
    while time.monotonic() < limit and process.poll() is None:
        if server.count()["messages"]:
            return time.monotonic()
        time.sleep(0.02)
    return time.monotonic()


def end(contender: Contender, task: Task, process) -> Said:
    """Let it end, within bounds; what it said."""
    timer = threading.Timer(90.0, os.killpg, (process.pid, signal.SIGKILL))
    timer.start()
    output = process.communicate()[1]
    timer.cancel()
    try:
        return contender.said(task, process, output)
    except (OSError, ValueError) as error:
        print(output[-500:], file=sys.stderr)
        return Said(verdict=f"no report ({error})")


def prefer(nice: int) -> None:
    """Before others, or after them: this process and all that it starts."""
    os.nice(nice)
    with contextlib.suppress(OSError):
        os.setsid()  # a scheduling group of its own, where the system groups by sessions
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(nice))


def ms(value: float | None) -> str:
    """In milliseconds."""
    return "-" if value is None else f"{value:.0f} ms"


def table(title: str, heads: list[str]) -> None:
    """Begin a table."""
    print(f"\n**{title}**\n")
    print("| | " + " | ".join(heads) + " |")
    print("|---|" + "---|" * len(heads), flush=True)


def row(*cells: str) -> None:
    """A row of it."""
    print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
