"""Messages of which the end is missing."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from omega_ai.testkit.faults.frame import Frame, FrameFault, FrameStage
from omega_ai.testkit.faults.model import Context, Stage


class WsTruncate(FrameFault, frozen=True, kw_only=True):
    """Chosen frames lose their last ``bytes`` bytes, or all they have.

    Only at message level. With ``what`` = ``payload`` the frame says its new length and the stream goes on: a
    sender whose buffer was too small. With ``frame`` its head promises what does not come, so that the
    receiver takes the beginning of the next frame for it, and the stream is out of step: a sender that was
    cut short while writing.
    """

    kind = "ws_truncate"
    level = "message"
    loses = True
    ends = True

    bytes: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] = 1
    what: Literal["payload", "frame"] = "payload"

    def stage(self, context: Context) -> Stage:
        """Cuts ends off."""
        return _TruncateStage(self, context, self)


class _TruncateStage(FrameStage):
    __slots__ = ("_parameters",)

    whole = False

    def __init__(self, fault: FrameFault, context: Context, parameters: WsTruncate) -> None:
        super().__init__(fault, context)
        self._parameters = parameters

    def hit(self, frame: Frame, now: float) -> None:
        cut = min(self._parameters.bytes, len(frame.body))
        if self._parameters.what == "frame":
            self.put(frame.raw[: len(frame.raw) - cut], now)
        else:
            self.put(frame.rebuilt(frame.payload[: len(frame.body) - cut]), now)
