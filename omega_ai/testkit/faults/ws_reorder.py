"""Messages that others overtake."""

from __future__ import annotations

from typing import Annotated

import msgspec

from omega_ai.testkit.faults.frame import FrameFault
from omega_ai.testkit.faults.keep_back import KeepBackStage
from omega_ai.testkit.faults.model import Context, Milliseconds, Stage


class WsReorder(FrameFault, frozen=True, kw_only=True):
    """Chosen frames are overtaken by the next ``distance`` frames, or wait ``hold`` milliseconds if none
    come.

    Only at message level: TCP keeps the order, but a server with several workers or queues may not. Fragments
    and control frames are neither chosen nor counted, but a close frame lets everything go first.
    """

    kind = "ws_reorder"
    level = "message"
    loses = True

    distance: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    hold: Milliseconds = 1000

    def stage(self, context: Context) -> Stage:
        """Keeps frames back until others have overtaken them."""
        return KeepBackStage(self, context, distance=self.distance, hold=lambda: self.hold / 1000)
