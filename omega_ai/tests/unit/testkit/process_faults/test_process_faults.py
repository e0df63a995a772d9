"""Faults of real processes, without privileges, and undone afterwards."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from omega_ai.testkit.process_faults import (
    Starving,
    alive,
    children,
    limited,
    limits_can_be_set,
    paused,
    send,
    skewed_environment,
)
from omega_ai.testkit.process_faults import clock as clock_module

PROGRAM = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
for line in sys.stdin:
    try:
        exec(line)
        print("done", flush=True)
    except (OSError, MemoryError) as error:
        print(type(error).__name__, flush=True)
child.stdin.close()
child.wait()
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")


@pytest.fixture
def program() -> Iterator[subprocess.Popen[str]]:
    """A process with a child, that does what it is told."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert tell(process, "pass") == "done"
        yield process
    finally:
        send(process.pid, signal.SIGCONT)
        process.communicate(timeout=30)


def tell(process: subprocess.Popen[str], line: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def wait_for(pid: int, wanted: str) -> None:
    deadline = time.monotonic() + 20
    while state(pid) not in wanted and time.monotonic() < deadline:
        time.sleep(0.005)
    assert state(pid) in wanted


async def test_a_process_stands_still_meanwhile_and_goes_on(program: subprocess.Popen[str]) -> None:
    async with paused([program.pid]):
        wait_for(program.pid, "T")
    wait_for(program.pid, "SR")
    assert tell(program, "pass") == "done"


async def test_a_starved_process_is_stopped_again_and_again_and_let_go_in_the_end(
    program: subprocess.Popen[str],
) -> None:
    async with Starving([program.pid], share=0.5, period_s=0.02) as starving:
        assert starving._task is not None
        import asyncio

        seen: set[str] = set()
        deadline = time.monotonic() + 20
        while not {"T", "S"} <= seen and time.monotonic() < deadline:
            seen.add(state(program.pid))
            await asyncio.sleep(0.001)
        assert {"T", "S"} <= seen
    wait_for(program.pid, "SR")
    with pytest.raises(ValueError, match="share"):
        Starving([program.pid], share=1.5)


@pytest.mark.skipif(not limits_can_be_set(), reason="no prlimit")
def test_descriptors_run_out_and_are_there_again(program: subprocess.Popen[str]) -> None:
    before = resource.prlimit(program.pid, resource.RLIMIT_NOFILE)
    with limited(program.pid, descriptors=2) as (bound, _):
        assert resource.prlimit(program.pid, resource.RLIMIT_NOFILE)[0] == bound
        assert tell(program, "kept = [open('/dev/null') for _ in range(2)]") == "done"
        assert tell(program, "open('/dev/null')") == "OSError"
    assert resource.prlimit(program.pid, resource.RLIMIT_NOFILE) == before
    assert tell(program, "open('/dev/null').close()") == "done"


@pytest.mark.skipif(not limits_can_be_set(), reason="no prlimit")
def test_memory_runs_out_and_is_there_again(program: subprocess.Popen[str]) -> None:
    with limited(program.pid, memory=16 << 20):
        assert tell(program, "bytearray(64 << 20)") == "MemoryError"
    assert tell(program, "bytearray(64 << 20)") == "done"


def test_children_are_found_and_the_dead_are_known(program: subprocess.Popen[str]) -> None:
    (child,) = children(program.pid)
    assert alive(program.pid)
    assert alive(child)
    assert send(child, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert not alive(child)


def test_a_wrong_clock_is_had_where_the_library_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without it, that is said (None), not passed over."""
    monkeypatch.setattr(clock_module, "PLACES", (str(tmp_path / "none"),))
    assert skewed_environment(60, {}) is None
    library = tmp_path / "libfaketime.so.1"
    library.touch()
    monkeypatch.setattr(clock_module, "PLACES", (str(library),))
    made = skewed_environment(-90.5, {"A": "b", "LD_PRELOAD": "other.so"})
    assert made is not None
    assert made["FAKETIME"] == "-90.5s"
    assert made["LD_PRELOAD"] == f"{library}:other.so"
