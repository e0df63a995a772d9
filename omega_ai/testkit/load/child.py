"""A process of the load generator's own, as its parent holds it: orders go in as lines, reports come out."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Final, Self

import msgspec
from msgspec import Struct

_LINE_LIMIT: Final = 1 << 16
"""asyncio's own."""


class Child:
    """A module of this package that runs by itself, and ends when its input does."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None  # noqa: S101 - `start` makes pipes
        assert process.stdout is not None  # noqa: S101
        self._process = process
        self._orders = process.stdin
        self.reports = process.stdout
        """What it writes."""

    @classmethod
    async def start(cls, module: str, *, line_limit: int = _LINE_LIMIT) -> Self:
        """``python -m module``. ``line_limit``: bytes of one line of its reports."""
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                module,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=line_limit,
            )
        )

    def tell(self, order: Struct) -> None:
        """Give it an order; nothing happens if it hears no more."""
        if not self._orders.is_closing():
            self._orders.write(msgspec.json.encode(order) + b"\n")

    async def how_it_ended(self) -> str:
        """Wait for its end; how that was, in words."""
        code = await self._process.wait()
        return f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"

    async def end(self, within_s: float) -> int:
        """End its input, and after ``within_s`` itself; its exit code."""
        self._orders.close()
        try:
            async with asyncio.timeout(within_s):
                return await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            return await self._process.wait()
