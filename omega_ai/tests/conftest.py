"""What every test has: the product's event loop, fair time limits, and proof that nothing is left behind."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
import structlog
import uvloop

ROOT = Path(__file__).resolve().parents[2]
RUN_MARK = "OMEGA_TEST_RUN"
GRACE = 3.0
"""Seconds that a process which was told to end may take after the last test."""

# A noisy machine makes single examples slow; what must be fast has a benchmark or a bound of its own.
# In CI, a change is not held up by what chance finds elsewhere: the examples are the same every time. New
# ones are tried wherever else the tests run, and by make fuzz.
hypothesis.settings.register_profile(
    "omega", deadline=None, print_blob=True, derandomize=bool(os.environ.get("CI"))
)
hypothesis.settings.load_profile("omega")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run coroutines on the loop that the product runs on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def every_line() -> Iterator[None]:
    """No line of the log is held back, also while a feed under test keeps it quiet; put back afterwards."""
    before = structlog.get_config() if structlog.is_configured() else None
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    yield
    structlog.reset_defaults()
    if before is not None:
        structlog.configure(**before)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Recorded venue messages and the like: ``OMEGA_SHARED``, or ``shared`` beside the checkout."""
    named = os.environ.get("OMEGA_SHARED")
    directory = Path(named) if named else ROOT.parent / "shared"
    if not (directory / "captures").is_dir():
        pytest.skip(f"no recordings at {directory}; name their directory in OMEGA_SHARED")
    return directory


@pytest.fixture
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory of the test's own, and no settings from the environment of whoever runs it."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in list(os.environ):
        # The state, cache and runtime directories, and every setting of ours.
        ours = name.startswith("OMEGA_") and name != RUN_MARK
        if ours or name.startswith("XDG_") or name in ("REDIS_URL", "SSL_CERT_PATH"):
            monkeypatch.delenv(name)
    return home


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A test that configures structlog, or captures its lines, leaves it as it found it."""
    configured = structlog.is_configured()
    yield
    if structlog.is_configured() and not configured:
        structlog.reset_defaults()


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail the run if a thread, a socket, or a process outlives the last test.

    Every process started by a test inherits a variable that names the run, so those that were orphaned are
    found too. Where there is no ``/proc``, only threads are looked at.
    """
    mark = uuid.uuid4().hex
    os.environ[RUN_MARK] = mark
    sockets = _open_sockets()
    yield
    deadline = time.monotonic() + GRACE
    while (left := _left_behind(mark, sockets)) and time.monotonic() < deadline:
        time.sleep(0.05)
    del os.environ[RUN_MARK]
    assert not left, "left behind by the tests: " + "; ".join(left)


def _left_behind(mark: str, sockets: set[str]) -> list[str]:
    threads = [
        f"thread {thread.name}"
        for thread in threading.enumerate()
        if thread is not threading.main_thread() and not thread.daemon
    ]
    processes = [f"process {pid}: {command}" for pid, command in _processes_of(mark)]
    return threads + processes + [f"open {name}" for name in sorted(_open_sockets() - sockets)]


def _open_sockets() -> set[str]:
    names: set[str] = set()
    for link in Path("/proc/self/fd").glob("*"):
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if target.startswith("socket:"):
            names.add(target)
    return names


def _processes_of(mark: str) -> Iterator[tuple[int, str]]:
    entry = f"{RUN_MARK}={mark}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        pid = int(process.name)
        if pid == os.getpid():
            continue
        try:
            environment = (process / "environ").read_bytes()
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        # Our own environ in /proc is that of our start, so the mark is only in what was started since.
        if entry in environment.split(b"\0"):
            yield pid, command or "(ended, but nobody waited for it)"
