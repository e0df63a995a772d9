"""Messages that arrive more than once."""

from __future__ import annotations

from typing import Annotated

import msgspec

from omega_ai.testkit.faults.frame import Frame, FrameFault, FrameStage
from omega_ai.testkit.faults.model import Context, Stage


class WsDuplicate(FrameFault, frozen=True, kw_only=True):
    """Chosen frames arrive ``copies`` more times, one behind the other.

    Only at message level: TCP delivers each byte once, but a server that sends again what it had sent before
    a reconnection does, and so does a broker that delivers at least once. Fragments are left alone.
    """

    kind = "ws_duplicate"
    level = "message"
    loses = True

    copies: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1

    def stage(self, context: Context) -> Stage:
        """Repeats frames."""
        return _DuplicateStage(self, context, self.copies)


class _DuplicateStage(FrameStage):
    __slots__ = ("_copies",)

    def __init__(self, fault: FrameFault, context: Context, copies: int) -> None:
        super().__init__(fault, context)
        self._copies = copies

    def hit(self, frame: Frame, now: float) -> None:
        for _ in range(1 + self._copies):
            self.put(frame.raw, now)
