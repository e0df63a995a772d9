"""What a client could leave behind: tasks, sockets, file descriptors."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

SETTLE_SECONDS = 2.0


def open_descriptors() -> dict[str, str]:
    """Every open file descriptor and what it stands for; empty where there is no ``/proc``.

    What an event loop keeps for itself is left out: its epoll and its like, and ``/dev/null``, which one that
    listens holds in reserve. They go when the loop is collected.
    """
    found: dict[str, str] = {}
    for link in Path("/proc/self/fd").glob("*"):
        with contextlib.suppress(OSError):
            stands_for = str(link.readlink())
            if stands_for != os.devnull and _kind(stands_for) != "anon_inode":
                found[link.name] = stands_for
    return found


@contextlib.asynccontextmanager
async def nothing_leaks() -> AsyncIterator[None]:
    """After the block there are no more tasks, sockets and descriptors of each kind than before it.

    What is being closed gets a moment for it. A server in a thread of this process counts as well: its side
    of the connections must be gone too.
    """
    tasks, before = asyncio.all_tasks(), open_descriptors()
    yield
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        left_tasks = asyncio.all_tasks() - tasks - {asyncio.current_task()}
        now = open_descriptors()
        # By kind and not by name, since an event loop exchanges its own sockets between two runs.
        more = Counter(map(_kind, now.values())) - Counter(map(_kind, before.values()))
        if not left_tasks and not more:
            return
        if time.monotonic() > deadline:
            names = [task.get_name() for task in left_tasks if task is not None]
            raise AssertionError(f"left behind: tasks {names}, open {dict(more)}")
        await asyncio.sleep(0.01)


def _kind(stands_for: str) -> str:
    """``socket:[4711]`` is a socket; a file is itself."""
    return stands_for.partition(":[")[0]
