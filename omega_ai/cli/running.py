"""Running a coroutine as a command: on uvloop, ended cleanly by Ctrl-C and by SIGTERM."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` to its end. SIGINT and SIGTERM cancel it; when it has let go of all, they raise here.

    Raises:
        KeyboardInterrupt: a signal came before the end.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            return runner.run(_terminable(main))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None


async def _terminable(main: Coroutine[Any, Any, T]) -> T:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine runs in a task
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await main
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
