"""Messages that arrive in fragments."""

from __future__ import annotations

from typing import Annotated

import msgspec

from omega_ai.core.websocket.frames import CONTINUATION
from omega_ai.testkit.faults.frame import Frame, FrameFault, FrameStage
from omega_ai.testkit.faults.model import Context, Milliseconds, Stage


class WsFragment(FrameFault, frozen=True, kw_only=True):
    """Chosen messages are cut into fragments of ``size`` bytes, ``delay`` milliseconds apart.

    Only at message level, and legal there: intermediaries may do so (RFC 6455 section 5.4), and a receiver
    must put the message together. What follows waits for the last fragment. Messages that fit one fragment
    are left alone.
    """

    kind = "ws_fragment"
    level = "message"

    size: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] = 16
    delay: Milliseconds = 0

    def stage(self, context: Context) -> Stage:
        """Cuts messages."""
        return _FragmentStage(self, context, self.size, self.delay / 1000)


class _FragmentStage(FrameStage):
    __slots__ = ("_delay", "_size")

    def __init__(self, fault: FrameFault, context: Context, size: int, delay: float) -> None:
        super().__init__(fault, context)
        self._size = size
        self._delay = delay

    def hit(self, frame: Frame, now: float) -> None:
        payload = frame.payload
        if frame.opcode > 7 or len(payload) <= self._size:
            self.put(frame.raw, now)
            return
        # Later messages may wait already: the first fragment goes behind them, the others follow that.
        begin = max(now, self.last)
        for count, position in enumerate(range(0, len(payload), self._size)):
            raw = frame.rebuilt(
                payload[position : position + self._size],
                opcode=CONTINUATION if position else frame.opcode,
                fin=position + self._size >= len(payload),
                first=not position,
            )
            self.put(raw, begin + count * self._delay)
