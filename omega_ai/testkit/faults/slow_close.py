"""Slow close: the end of the stream comes late."""

from __future__ import annotations

from omega_ai.testkit.faults.model import Context, Item, Milliseconds, Signal, Stage, StreamFault
from omega_ai.testkit.faults.queue import QueueStage


class SlowClose(StreamFault, frozen=True, kw_only=True):
    """The end of the stream arrives ``delay`` milliseconds later than the last byte.

    Happens over TCP: a peer that takes long to let go of a connection.
    """

    kind = "slow_close"

    delay: Milliseconds = 0

    def stage(self, context: Context) -> Stage:
        """Lets bytes pass and keeps the end."""
        return _SlowCloseStage(self.delay / 1000)


class _SlowCloseStage(QueueStage):
    __slots__ = ("_delay",)

    def __init__(self, delay: float) -> None:
        super().__init__()
        self._delay = delay

    def feed(self, data: bytes, now: float) -> list[Item]:
        return [data]

    def finish(self, signal: Signal, now: float) -> list[Item]:
        self.put(signal, now + self._delay)
        return self.release(now)
