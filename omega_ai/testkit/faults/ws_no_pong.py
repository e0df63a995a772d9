"""Pings without an answer."""

from __future__ import annotations

from omega_ai.testkit.faults.frame import FrameFault, Frames
from omega_ai.testkit.faults.model import Context, Stage
from omega_ai.testkit.faults.ws_drop import DropStage


class WsNoPong(FrameFault, frozen=True, kw_only=True):
    """Pongs are withheld, so that a peer's pings seem to go unanswered.

    Only at message level: an endpoint that is alive but does not answer (RFC 6455 section 5.5.3 says it
    must), or an intermediary that swallows control frames. Placed ``downstream`` the client misses the
    server's pongs.
    """

    kind = "ws_no_pong"
    level = "message"
    loses = True
    ends = True

    frames: Frames = "pong"

    def stage(self, context: Context) -> Stage:
        """Loses pongs."""
        return DropStage(self, context)
