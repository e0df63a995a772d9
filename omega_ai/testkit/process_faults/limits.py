"""Too few descriptors, too little memory: limits of a process that runs, by ``prlimit`` (Linux)."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

SPARE_DESCRIPTORS: Final = 3
SPARE_MEMORY: Final = 32 << 20


def limits_can_be_set() -> bool:
    """Whether this system can do it."""
    return hasattr(resource, "prlimit") and Path("/proc/self/fd").is_dir()


@contextmanager
def limited(
    pid: int, *, descriptors: int | None = None, memory: int | None = None
) -> Iterator[tuple[int, int]]:
    """Let ``pid`` open no more than ``descriptors`` files and sockets beyond those it has, or take no more
    than ``memory`` bytes of addresses beyond those it has. Gives both limits as they were set (-1: not).

    Afterwards the limits are as they were; the hard limits are never touched, so no privilege is needed.

    Raises:
        OSError: there is no such process, or it is not ours.
    """
    undo = []
    bounds = [-1, -1]
    wanted = (
        (resource.RLIMIT_NOFILE, descriptors, _descriptors),
        (resource.RLIMIT_AS, memory, _addresses),
    )
    try:
        for place, (kind, more, used) in enumerate(wanted):
            if more is None:
                continue
            soft, hard = resource.prlimit(pid, kind)
            bound = used(pid, more)
            if hard != resource.RLIM_INFINITY:
                bound = min(bound, hard)
            resource.prlimit(pid, kind, (bound, hard))
            undo.append((kind, (soft, hard)))
            bounds[place] = bound
        yield bounds[0], bounds[1]
    finally:
        for kind, before in undo:
            with contextlib.suppress(OSError):
                resource.prlimit(pid, kind, before)


def _descriptors(pid: int, more: int) -> int:
    """The bound below which ``more`` numbers are free: it is on the number, not on how many are open."""
    used = {int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    bound = 0
    while more > 0 or bound in used:
        more -= bound not in used
        bound += 1
    return bound


def _addresses(pid: int, more: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize() + more
