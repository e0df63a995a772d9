"""A close frame that the peer did not send."""

from __future__ import annotations

from typing import Annotated

import msgspec

from omega_ai.core.websocket.frames import CLOSE, CONTROL_LIMIT, build_frame
from omega_ai.testkit.faults.frame import Frame, FrameFault, FrameStage
from omega_ai.testkit.faults.model import BadFault, Context, Count, Stage


class WsClose(FrameFault, frozen=True, kw_only=True):
    """In front of a chosen frame comes a close frame with ``code`` and ``reason``; code 0: with neither.

    Only at message level: a gateway that closes in the server's name. Any code can be sent, also those that
    must not stand in a frame (1005, 1006, 1015), and those that no one has defined. Unless ``swallow`` is
    false, nothing that the sender sends arrives any more behind it. By default the first data frame sets it
    off; to have it later, use ``skip``, or a window.
    """

    kind = "ws_close"
    level = "message"
    loses = True
    ends = True

    code: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 1001
    reason: Annotated[str, msgspec.Meta(max_length=123)] = ""
    swallow: bool = True
    limit: Count = 1

    def check(self) -> None:
        """The reason fits a control frame, and there is none without a code."""
        size = len(self.reason.encode())
        if size > CONTROL_LIMIT - 2:
            raise BadFault(f"ws_close: the reason has {size} bytes; a close frame holds {CONTROL_LIMIT - 2}")
        if self.reason and not self.code:
            raise BadFault("ws_close: a reason cannot stand without a code: give a code, such as 1001")

    def stage(self, context: Context) -> Stage:
        """Closes in the sender's name."""
        return _CloseStage(self, context, self)


class _CloseStage(FrameStage):
    __slots__ = ("_closed", "_parameters")

    def __init__(self, fault: FrameFault, context: Context, parameters: WsClose) -> None:
        super().__init__(fault, context)
        self._parameters = parameters
        self._closed = False

    def hit(self, frame: Frame, now: float) -> None:
        if not self._closed:
            parameters = self._parameters
            code = parameters.code
            payload = code.to_bytes(2, "big") + parameters.reason.encode() if code else b""
            mask = self.rng.randbytes(4) if self.stream == "upstream" else None
            self.put(build_frame(CLOSE, payload, mask=mask), now)
            self._closed = parameters.swallow
        self.passed(frame, now)

    def passed(self, frame: Frame, now: float) -> None:
        if not self._closed:
            super().passed(frame, now)
