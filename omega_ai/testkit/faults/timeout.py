"""Timeout: nothing gets through, and after a while the connection is closed."""

from __future__ import annotations

from omega_ai.testkit.faults.model import Context, Item, Milliseconds, Signal, Stage, StreamFault


class Timeout(StreamFault, frozen=True, kw_only=True):
    """All bytes are swallowed; the connection is closed once none has come for ``timeout`` milliseconds.

    At 0 it is not closed until the toxic is removed, or the sender ends. Happens over TCP only with something
    in between that acknowledges what it then loses: a proxy or a firewall that has forgotten the connection.
    (For a path that is dead, see ``blackhole``.)
    """

    kind = "timeout"
    loses = True
    ends = True

    timeout: Milliseconds = 0

    def stage(self, context: Context) -> Stage:
        """Swallows bytes."""
        return _TimeoutStage(self.timeout / 1000, context.now)

    def removed(self) -> Signal | None:
        """What was lost cannot be mended, so the connection is closed."""
        return Signal.CLOSE


class _TimeoutStage(Stage):
    __slots__ = ("_due", "_timeout")

    def __init__(self, timeout: float, now: float) -> None:
        self._timeout = timeout
        self._due = now + timeout

    def feed(self, data: bytes, now: float) -> list[Item]:
        if self._timeout and now >= self._due:
            return [Signal.CLOSE]
        self._due = now + self._timeout
        return []

    def tick(self, now: float) -> list[Item]:
        return [Signal.CLOSE] if self._timeout and now >= self._due else []

    def next_wake(self) -> float | None:
        return self._due if self._timeout else None
