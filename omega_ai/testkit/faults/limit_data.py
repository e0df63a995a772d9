"""Limit: so many bytes, and then the connection is closed."""

from __future__ import annotations

from omega_ai.testkit.faults.model import Context, Count, Item, Signal, Stage, StreamFault


class LimitData(StreamFault, frozen=True, kw_only=True):
    """The connection is closed when ``bytes`` bytes have passed; at 0, with the first.

    Happens over TCP: a server or an intermediary that dies in the middle of an answer.
    """

    kind = "limit_data"
    ends = True

    bytes: Count = 0

    def stage(self, context: Context) -> Stage:
        """Counts bytes."""
        return LimitStage(self.bytes)

    def update(self, old: Stage, context: Context) -> Stage | None:
        """What has passed already counts."""
        assert isinstance(old, LimitStage)  # noqa: S101 - made by this kind of fault
        return LimitStage(self.bytes, old.passed)


class LimitStage(Stage):
    """Lets ``limit`` bytes pass; ``passed`` have."""

    __slots__ = ("limit", "passed")

    def __init__(self, limit: int, passed: int = 0) -> None:
        self.limit = limit
        self.passed = passed

    def feed(self, data: bytes, now: float) -> list[Item]:
        """Let pass what may."""
        room = max(self.limit - self.passed, 0)
        piece = data[:room]
        self.passed += len(piece)
        out: list[Item] = [piece] if piece else []
        if self.passed >= self.limit:
            out.append(Signal.CLOSE)
        return out
