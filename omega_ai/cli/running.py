"""Running a coroutine as a command: on uvloop, ended cleanly by Ctrl-C."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` to its end. SIGINT cancels it, and once it has let go of everything, raises here.

    Raises:
        KeyboardInterrupt: SIGINT came before the end.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
