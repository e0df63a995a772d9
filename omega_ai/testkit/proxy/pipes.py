"""Pipes, through which the kernel moves bytes from socket to socket without a copy to us (Linux)."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import Final

PIPE_SIZE: Final = 1 << 20
"""Bytes asked for; a user may have so many in all pipes, and gets less when they are used up."""
SPLICE: Final = hasattr(os, "splice")
"""Whether the kernel moves bytes between sockets without copying them through us (Linux)."""


class Pipes:
    """Pipes through which the kernel moves bytes; empty ones are used again."""

    KEPT: Final = 16

    def __init__(self) -> None:
        self._free: list[tuple[int, int]] = []

    def borrow(self) -> tuple[int, int]:
        """The reading and the writing end of an empty pipe."""
        if self._free:
            return self._free.pop()
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # more than a user may have in all pipes: the default size does
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        return reader, writer

    def give_back(self, pipe: tuple[int, int], *, empty: bool) -> None:
        """It is not needed any more."""
        if empty and len(self._free) < self.KEPT:
            self._free.append(pipe)
        else:
            _close_pipe(pipe)

    def close(self) -> None:
        """Close those that are free."""
        while self._free:
            _close_pipe(self._free.pop())


def _close_pipe(pipe: tuple[int, int]) -> None:
    for fd in pipe:
        with contextlib.suppress(OSError):
            os.close(fd)
