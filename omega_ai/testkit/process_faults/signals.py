"""What signals can do to a process: stop it, let it go on, give it only a share of the time, end it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path


def alive(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with contextlib.suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return stat.rpartition(")")[2].split()[:1] != ["Z"]
    return True


def send(pid: int, number: int) -> bool:
    """Send a signal; False if the process is gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def children(pid: int) -> list[int]:
    """Processes that ``pid`` started, and those that they started; where there is ``/proc`` (Linux)."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for word in (task / "children").read_text(encoding="ascii").split():
                found += [int(word), *children(int(word))]
    return list(dict.fromkeys(found))


@asynccontextmanager
async def paused(pids: Sequence[int]) -> AsyncIterator[None]:
    """Stopped meanwhile: connections stay open, and nobody answers on them."""
    for pid in pids:
        send(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            send(pid, signal.SIGCONT)


class Starving:
    """Gives processes ``share`` (0 to 1) of the time, in periods of ``period_s``. ``async with`` it.

    Raises:
        ValueError: a share or period that makes no sense.
    """

    def __init__(self, pids: Sequence[int], share: float = 0.25, period_s: float = 0.1) -> None:
        if not 0.0 < share < 1.0 or not 0.005 <= period_s <= 60.0:
            raise ValueError(
                f"a share between 0 and 1 and a period of 5 ms to 60 s, not {share}, {period_s} s"
            )
        self._pids = list(pids)
        self._share = share
        self._period_s = period_s
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Starving:
        self._task = asyncio.create_task(self._turn())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _turn(self) -> None:
        while True:
            async with paused(self._pids):
                await asyncio.sleep(self._period_s * (1.0 - self._share))
            await asyncio.sleep(self._period_s * self._share)
