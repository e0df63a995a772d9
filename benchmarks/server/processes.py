"""Servers and the load client as processes, each pinned to a core."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

from benchmarks.server.contenders import Contender, Mode
from benchmarks.server.workshop import Workshop

START_SECONDS = 30
LOAD_SECONDS = 180
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Failed(Exception):
    """A server or the load client did not do its part; the text says what."""


def raise_descriptor_limit() -> int:
    """Let this process and its children open as many descriptors as the hard limit allows; returns that."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def choose_cores(text: str | None) -> tuple[int, int]:
    """The server's core and the client's: as told (``"0,1"``), or the first two that we may use."""
    allowed = sorted(os.sched_getaffinity(0))
    if text is None:
        return allowed[0], allowed[1 % len(allowed)]
    try:
        server, client = (int(part) for part in text.split(","))
    except ValueError:
        raise Failed(f"--cores takes two numbers, such as 0,1, not {text!r}") from None
    if not {server, client} <= set(allowed):
        raise Failed(f"--cores {text}: this process may use {allowed}")
    return server, client


def may_be_nice(nice: int) -> None:
    """Raise ``Failed`` if children may not have this niceness."""
    probe = subprocess.run(["nice", "-n", str(nice), "nice"], capture_output=True, text=True, check=False)
    if nice < 0 and probe.stdout.strip() != str(nice):
        raise Failed(f"--nice {nice}: a niceness below 0 needs privileges (CAP_SYS_NICE)")


class Place(NamedTuple):
    """Where a process runs: its core, and how it stands against other processes (``nice``)."""

    core: int
    nice: int

    def take(self) -> None:
        """Called in the child."""
        os.sched_setaffinity(0, {self.core})
        if self.nice:
            os.setpriority(os.PRIO_PROCESS, 0, self.nice)
            # Where each session is scheduled as one (CONFIG_SCHED_AUTOGROUP), a process's own niceness counts
            # among its session alone.
            with contextlib.suppress(OSError):
                Path("/proc/self/autogroup").write_text(str(self.nice))


class Server:
    """A running server; ``with Server(...) as server``."""

    def __init__(
        self,
        contender: Contender,
        workshop: Workshop,
        mode: Mode,
        place: Place,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.contender = contender
        self.mode = mode
        self.port = _free_port()
        self._command = contender.command(workshop, self.port, mode)
        self._place = place
        self._environment = {
            **os.environ,
            "NODE_PATH": str(workshop.node_modules),
            **(environment or {}),
        }
        self._process: subprocess.Popen[bytes]
        self._errors: IO[bytes]

    def __enter__(self) -> Server:
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            env=self._environment,
            start_new_session=True,
            preexec_fn=self._place.take,
        )
        try:
            self._wait_until_it_listens()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            try:
                self._process.wait(5)
                break
            except subprocess.TimeoutExpired:
                continue
        self._errors.close()

    def pids(self) -> list[int]:
        """The server's process and all its descendants."""
        parents: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                    parents.setdefault(int(fields[1]), []).append(int(entry.name))
        found = [self._process.pid]
        for pid in found:
            found += parents.get(pid, [])
        return found

    def memory(self) -> int:
        """Bytes of physical memory of all its processes, shared pages counted once."""
        total = 0
        for pid in self.pids():
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                total += next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
            except (OSError, StopIteration):
                with contextlib.suppress(OSError):
                    total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
        return total

    def check(self) -> None:
        """Raise ``Failed`` if it has ended."""
        if self._process.poll() is not None:
            self._errors.seek(0)
            last = self._errors.read().decode(errors="replace").strip().splitlines()[-3:]
            raise Failed(
                f"{self.contender.label} ended ({self._process.returncode}): {' | '.join(last)[:400]}"
            )

    def _wait_until_it_listens(self) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            self.check()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.05)
        raise Failed(f"{self.contender.label} does not listen after {START_SECONDS} s")


class LoadClient:
    """Runs the native client against a server."""

    def __init__(self, workshop: Workshop, place: Place) -> None:
        self._program = str(workshop.native("load"))
        self._place = place

    def run(self, server: Server, echo: str = "echo", **arguments: float | str) -> dict[str, Any]:
        """One run; returns what it measured. Raises ``Failed``."""
        server.check()
        try:
            done = subprocess.run(
                self._command(server, echo, arguments),
                capture_output=True,
                text=True,
                timeout=LOAD_SECONDS,
                check=False,
                start_new_session=True,
                preexec_fn=self._place.take,
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"no result from {server.contender.label} in {LOAD_SECONDS} s") from None
        if done.returncode != 0:
            server.check()
            raise Failed(f"{server.contender.label}: {done.stderr.strip() or f'exit {done.returncode}'}")
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    @contextlib.contextmanager
    def hold(self, server: Server, **arguments: float | str) -> Iterator[dict[str, Any]]:
        """Open connections (``mode=idle``), yield what opening them took, and keep them meanwhile."""
        process = subprocess.Popen(
            self._command(server, "echo", {**arguments, "mode": "idle"}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=self._place.take,
        )
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            line = process.stdout.readline()
            if not line:
                raise Failed(f"{server.contender.label}: {process.stderr.read().strip()}")
            yield json.loads(line)
        finally:
            process.communicate()

    def _command(self, server: Server, echo: str, arguments: dict[str, float | str]) -> list[str]:
        paths = server.contender.paths
        given: dict[str, float | str] = {
            "port": server.port,
            "pids": ",".join(map(str, server.pids())),
            "subscribe": paths["subscribe"],
            "publish": paths["publish"],
            "idle": paths["idle"],
            "echo": paths[echo],
            "tls": int(server.mode == "tls"),
            "deflate": int(server.mode == "deflate"),
            **arguments,
        }
        return [self._program, *(f"{name}={value}" for name, value in given.items())]


class VenueProbe:
    """The stand-in venue and its client (``venue_probe``); ``with VenueProbe(...) as probe``."""

    def __init__(self, place: Place, seconds: float) -> None:
        self._place = place
        self._command = [sys.executable, "-m", "benchmarks.server.venue_probe", "--seconds", str(seconds)]
        self._process: subprocess.Popen[str]
        self.port = 0

    def __enter__(self) -> VenueProbe:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=self._place.take,
        )
        self.port = int(self._answer())
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._process.communicate(timeout=10)  # the end of its input ends it
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def run(self, kind: str, server: Server) -> dict[str, Any]:
        """Time messages through ``server``, which follows the venue (``feed``) or passes on (``relay``)."""
        server.check()
        assert self._process.stdin is not None
        self._process.stdin.write(f"{kind} {server.port}\n")
        self._process.stdin.flush()
        result: dict[str, Any] = json.loads(self._answer())
        if "failed" in result:
            server.check()
            raise Failed(f"{server.contender.label}: {result['failed']}")
        return result

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Failed("the stand-in venue ended")
        return line


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
