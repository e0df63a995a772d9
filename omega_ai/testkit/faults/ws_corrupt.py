"""Messages that arrive changed."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from omega_ai.testkit.faults.frame import Frame, FrameFault, FrameStage
from omega_ai.testkit.faults.model import Context, Stage

_DIGITS = frozenset(b"0123456789")


class WsCorrupt(FrameFault, frozen=True, kw_only=True):
    """In chosen frames, ``bytes`` bytes of the payload are changed; the frame itself is right.

    Only at message level: a fault in memory, a race between two that write one buffer. With ``what`` =
    ``digits``, only decimal digits are changed, to other ones: the message stays valid, and its numbers are
    wrong. With ``bytes``, any byte may become any other, so that text may be no UTF-8 any more. Empty frames
    cannot be changed.
    """

    kind = "ws_corrupt"
    level = "message"
    loses = True
    ends = True

    bytes: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 1
    what: Literal["bytes", "digits"] = "bytes"

    def stage(self, context: Context) -> Stage:
        """Changes payloads."""
        return _CorruptStage(self, context, self)


class _CorruptStage(FrameStage):
    __slots__ = ("_parameters",)

    whole = False

    def __init__(self, fault: FrameFault, context: Context, parameters: WsCorrupt) -> None:
        super().__init__(fault, context)
        self._parameters = parameters

    def hit(self, frame: Frame, now: float) -> None:
        payload = bytearray(frame.payload)
        digits = self._parameters.what == "digits"
        places = [i for i, byte in enumerate(payload) if byte in _DIGITS] if digits else range(len(payload))
        for place in self.rng.sample(places, min(self._parameters.bytes, len(places))):
            if digits:
                payload[place] = 0x30 + (payload[place] - 0x30 + self.rng.randint(1, 9)) % 10
            else:
                payload[place] ^= self.rng.randint(1, 255)
        self.put(frame.rebuilt(bytes(payload)) if places else frame.raw, now)
