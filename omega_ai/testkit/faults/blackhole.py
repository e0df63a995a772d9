"""Black hole: the path is dead, and nobody says so."""

from __future__ import annotations

from typing import Final

from omega_ai.testkit.faults.model import Context, Item, Milliseconds, Signal, Stage, StreamFault
from omega_ai.testkit.faults.queue import QueueStage

NEVER: Final = float("inf")


class Blackhole(StreamFault, frozen=True, kw_only=True):
    """From ``after`` milliseconds on nothing arrives, neither bytes nor ends nor resets, and no error tells.

    Happens over TCP: a pulled cable, a route that is gone, a radio hole, a firewall that drops. A sender's
    bytes stay unacknowledged: the first 64 KiB wait here, the rest in its own buffers. When the toxic goes,
    all of it arrives, as TCP repeats what was not acknowledged. It works in both directions, or with
    ``one_way`` in that of the toxic alone.
    """

    kind = "blackhole"
    both = True
    ends = True

    after: Milliseconds = 0
    one_way: bool = False

    def stage(self, context: Context) -> Stage:
        """Keeps everything."""
        if self.one_way and context.stream != context.placed:
            return Stage()
        return _BlackholeStage(context.now + self.after / 1000)


class _BlackholeStage(QueueStage):
    __slots__ = ("_begin",)

    def __init__(self, begin: float) -> None:
        super().__init__()
        self._begin = begin

    def feed(self, data: bytes, now: float) -> list[Item]:
        if now < self._begin:
            return [data]
        self.put(data, NEVER)
        return []

    def finish(self, signal: Signal, now: float) -> list[Item]:
        if now < self._begin:
            return [signal]
        self.put(signal, NEVER)
        return []

    def next_wake(self) -> float | None:
        return None
