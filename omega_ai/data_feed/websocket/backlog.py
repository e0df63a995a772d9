"""``Backlog``: a stretch of a channel's past, joined into pieces that all who resume share.

A thousand clients that come back together have missed nearly the same. What they have missed is framed and
joined once, in pieces of a write's size; whoever begins in the middle of a piece has that one for itself (or
with those who stood at the same place), and shares the rest.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final, Literal

from omega_ai.core.websocket.frames import text_frame
from omega_ai.data_feed.broker.base import Position

Origin = Literal["tail", "broker", "shared"]
"""Where it came from: the newest frames that are kept here, the broker's history, or another who resumed."""

PIECE_BYTES: Final = 64 * 1024
"""Bytes of messages from which a piece is full: a larger write saves little, and holds up others longer."""
PARTS: Final = 64
"""Pieces beginning in the middle of another that are kept."""


class Backlog:
    """Messages ``first``, ``first`` + 1, ... of one epoch, to which newer ones are added at the end."""

    __slots__ = (
        "__weakref__",
        "_ends",
        "_joined",
        "_messages",
        "_open",
        "_parts",
        "epoch",
        "first",
        "origin",
        "size",
    )

    def __init__(self, epoch: str, first: int, messages: Iterable[bytes], *, origin: Origin = "tail") -> None:
        self.origin: Origin = origin
        """For the next who takes it."""
        self.epoch = epoch
        self.first = first
        self.size = 0
        """Bytes of the messages; joined, they are kept a second time."""
        self._messages: list[bytes] = []
        self._ends: list[int] = []  # indices at which full pieces end
        self._joined: list[bytes | None] = []
        self._open = 0  # bytes after the last full piece
        self._parts: dict[tuple[int, int], bytes] = {}
        self.extend(messages)

    @property
    def last(self) -> int:
        """The ``seq`` of the newest message; ``first`` - 1 if there is none."""
        return self.first + len(self._messages) - 1

    def covers(self, since: Position) -> bool:
        """Whether everything from ``since`` to ``last`` is here."""
        return since.epoch == self.epoch and self.first - 1 <= since.seq <= self.last

    def extend(self, messages: Iterable[bytes]) -> None:
        """Add what follows ``last``."""
        kept = self._messages
        for message in messages:
            kept.append(message)
            size = len(message)
            self.size += size
            self._open += size
            if self._open >= PIECE_BYTES:
                self._ends.append(len(kept))
                self._joined.append(None)
                self._open = 0

    def piece(self, after: int) -> tuple[bytes, int]:
        """The next frames after ``seq`` ``after``, at least one, and the ``seq`` that they reach.

        ``after`` is at least ``first`` - 1, and less than ``last``.
        """
        start = after + 1 - self.first
        number = bisect_right(self._ends, start)
        if number == len(self._ends):
            end = len(self._messages)
        else:
            end = self._ends[number]
            if start == (self._ends[number - 1] if number else 0):
                data = self._joined[number]
                if data is None:
                    data = self._joined[number] = self._join(start, end)
                return data, self.first + end - 1
        data = self._parts.get((start, end))
        if data is None:
            if len(self._parts) >= PARTS:
                self._parts.clear()
            data = self._parts[start, end] = self._join(start, end)
        return data, self.first + end - 1

    def release(self) -> None:
        """Forget everything: whoever was not through has to look elsewhere."""
        self.first = self.last + 1
        self.size = self._open = 0
        self._messages = []
        self._ends.clear()
        self._joined.clear()
        self._parts.clear()

    def _join(self, start: int, end: int) -> bytes:
        return b"".join([text_frame(message) for message in self._messages[start:end]])
