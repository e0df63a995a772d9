"""Frames that are masked as they must not be."""

from __future__ import annotations

from typing import Literal

from omega_ai.core.websocket.frames import build_frame
from omega_ai.testkit.faults.frame import Frame, FrameFault, FrameStage
from omega_ai.testkit.faults.model import Context, Stage


class WsMask(FrameFault, frozen=True, kw_only=True):
    """Chosen frames break the rules of masking (RFC 6455 section 5.1).

    Only at message level: a broken client or server. With ``what`` = ``flip`` a client's frames are not
    masked and a server's are; the receiver must close the connection. With ``wrong_key`` a client's payload
    was masked by another key than the frame says, so that the server reads something else; a server's frames
    are left alone then.
    """

    kind = "ws_mask"
    level = "message"
    loses = True
    ends = True

    what: Literal["flip", "wrong_key"] = "flip"

    def stage(self, context: Context) -> Stage:
        """Masks wrongly."""
        return _MaskStage(self, context, self.what)


class _MaskStage(FrameStage):
    __slots__ = ("_what",)

    whole = False

    def __init__(self, fault: FrameFault, context: Context, what: Literal["flip", "wrong_key"]) -> None:
        super().__init__(fault, context)
        self._what = what

    def hit(self, frame: Frame, now: float) -> None:
        mask = frame.mask
        if self._what == "flip":
            new = self.rng.randbytes(4) if mask is None else None
            raw = build_frame(frame.opcode, frame.payload, fin=frame.fin, rsv1=frame.rsv1, mask=new)
        elif mask is None:
            raw = frame.raw
        else:
            # No byte of the key stays, so that no byte of the payload does.
            wrong = bytes(byte ^ self.rng.randint(1, 255) for byte in mask)
            raw = frame.raw[: frame.head - 4] + wrong + frame.body
        self.put(raw, now)
