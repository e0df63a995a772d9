"""Messages that do not arrive."""

from __future__ import annotations

from omega_ai.testkit.faults.frame import Frame, FrameFault, FrameStage
from omega_ai.testkit.faults.model import Context, Stage


class WsDrop(FrameFault, frozen=True, kw_only=True):
    """Chosen frames are lost.

    Only at message level: TCP loses nothing in the middle of a stream, but a server that drops for slow
    clients does, and so does a broker or a gateway on the way. Fragments are left alone. Where
    permessage-deflate keeps its context from message to message, what follows a lost one cannot be
    decompressed.
    """

    kind = "ws_drop"
    level = "message"
    loses = True

    def stage(self, context: Context) -> Stage:
        """Loses frames."""
        return DropStage(self, context)


class DropStage(FrameStage):
    """Lets go on what was not chosen."""

    __slots__ = ()

    def hit(self, frame: Frame, now: float) -> None:
        """Let it go."""
