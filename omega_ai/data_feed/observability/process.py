"""What a process costs the machine: time, memory, descriptors. Read in microseconds, however many clients."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from pathlib import Path

from msgspec import Struct

_SELF = Path("/proc/self")


class ProcessFigures(Struct, frozen=True, kw_only=True):
    """One process at one moment; None for what this system does not tell (macOS has no ``/proc``)."""

    cpu_seconds: float
    """User and system time since its start."""
    resident_bytes: int | None = None
    virtual_bytes: int | None = None
    open_fds: int | None = None
    max_fds: int | None = None
    """The soft limit; None where there is none."""
    start_time: float | None = None
    """When it started, seconds since the Unix epoch."""


def read_process() -> ProcessFigures:
    """The figures of this process.

    Descriptors are counted by the size of ``/proc/self/fd`` (proc(5), Linux 6.2 and later): listing them
    would take tens of milliseconds of the event loop with a hundred thousand clients. Older kernels say 0
    there, which is then left out.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    figures = {
        "cpu_seconds": time.process_time(),
        "max_fds": None if soft == resource.RLIM_INFINITY else soft,
        "start_time": _START_TIME,
    }
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = (_SELF / "statm").read_text().split()
        figures |= {"virtual_bytes": int(pages[0]) * _PAGE, "resident_bytes": int(pages[1]) * _PAGE}
    with contextlib.suppress(OSError):
        figures["open_fds"] = (_SELF / "fd").stat().st_size or None
    return ProcessFigures(**figures)  # type: ignore[arg-type] # each under the name of its field


def _start_time() -> float | None:
    """Ticks after the boot (field 22 of proc_pid_stat(5)), and when the boot was (proc_stat(5))."""
    try:
        ticks = int((_SELF / "stat").read_text().rpartition(")")[2].split()[19])
        lines = Path("/proc/stat").read_text().splitlines()
        boot = next(float(line.split()[1]) for line in lines if line.startswith("btime "))
    except (OSError, ValueError, IndexError, StopIteration):
        return None
    return boot + ticks / os.sysconf("SC_CLK_TCK")


_PAGE = os.sysconf("SC_PAGE_SIZE")
_START_TIME = _start_time()
