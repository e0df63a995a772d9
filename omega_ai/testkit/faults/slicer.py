"""Slicer: what was sent at once arrives in small pieces."""

from __future__ import annotations

import random
from typing import Annotated

import msgspec

from omega_ai.testkit.faults.model import Context, Item, Signal, Stage, StreamFault
from omega_ai.testkit.faults.queue import QueueStage

MAX_SLICE = 1 << 20


class Slicer(StreamFault, frozen=True, kw_only=True):
    """What comes at once is cut into pieces of about ``average_size`` ± ``size_variation`` bytes.

    Pieces follow each other ``delay`` microseconds apart. Happens over TCP: a stream keeps no borders, and a
    reader may get it in any pieces. A sender is not read from while 64 KiB wait.
    """

    kind = "slicer"

    average_size: Annotated[int, msgspec.Meta(ge=0, le=MAX_SLICE)] = 0
    size_variation: Annotated[int, msgspec.Meta(ge=0, le=MAX_SLICE)] = 0
    delay: Annotated[int, msgspec.Meta(ge=0, le=60_000_000)] = 0

    def stage(self, context: Context) -> Stage:
        """Cuts."""
        return _SlicerStage(self, context.rng)


class _SlicerStage(QueueStage):
    __slots__ = ("_fault", "_next", "_rng")

    def __init__(self, fault: Slicer, rng: random.Random) -> None:
        super().__init__()
        self._fault = fault
        self._rng = rng
        self._next = float("-inf")

    def feed(self, data: bytes, now: float) -> list[Item]:
        fault = self._fault
        average, variation, gap = max(fault.average_size, 1), fault.size_variation, fault.delay / 1e6
        position = 0
        while position < len(data):
            size = max(average + self._rng.randint(-variation, variation), 1)
            # Due when the piece before it has had its delay; the first at once, if the line is free.
            self.put(data[position : position + size], max(now, self._next))
            self._next = max(now, self._next) + gap
            position += size
        return self.release(now)

    def finish(self, signal: Signal, now: float) -> list[Item]:
        self.put(signal, max(now, self._next))
        return self.release(now)
