"""Frames kept back while others pass: the common part of what breaks the order of messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from omega_ai.core.websocket.frames import CLOSE
from omega_ai.testkit.faults.frame import Frame, FrameFault, FrameStage
from omega_ai.testkit.faults.model import Context, Item, Signal

KEPT: Final = 256
"""Frames that are kept back at once; when there are more, the first goes."""


class _Kept:
    __slots__ = ("due", "left", "raw")

    def __init__(self, raw: bytes, due: float, left: int | None) -> None:
        self.raw = raw
        self.due = due
        self.left = left


class KeepBackStage(FrameStage):
    """Frames kept back go when their time has come, or when enough others have passed."""

    __slots__ = ("_distance", "_hold", "_kept", "_kept_bytes", "_open")

    def __init__(
        self, fault: FrameFault, context: Context, *, distance: int | None, hold: Callable[[], float]
    ) -> None:
        super().__init__(fault, context)
        self._distance = distance
        self._hold = hold
        self._kept: list[_Kept] = []
        self._kept_bytes = 0
        self._open = False

    def hit(self, frame: Frame, now: float) -> None:
        """Keep it back."""
        if self._open:  # it came between two fragments, and cannot be put anywhere else
            self.put(frame.raw, now)
            return
        if self._kept and self._distance is not None:
            # It is one of those that overtake: were it kept back too, the order would stay as it was.
            self.passed(frame, now)
            return
        self._kept.append(_Kept(frame.raw, now + self._hold(), self._distance))
        self._kept_bytes += len(frame.raw)
        if len(self._kept) > KEPT:
            self._let_go(self._kept[0], now)

    def passed(self, frame: Frame, now: float) -> None:
        """Let it overtake."""
        if frame.opcode == CLOSE:
            self._let_all_go(now)
        self.put(frame.raw, now)
        if frame.opcode > 7:
            return
        self._open = not frame.fin
        if frame.whole:
            for kept in self._kept:
                if kept.left is not None:
                    kept.left -= 1
        self._let_due_go(now)

    def finish(self, signal: Signal, now: float) -> list[Item]:
        """Nothing overtakes an end."""
        self._let_all_go(now)
        return super().finish(signal, now)

    def tick(self, now: float) -> list[Item]:
        """Let go of what has waited long enough."""
        self._let_due_go(now)
        return super().tick(now)

    def next_wake(self) -> float | None:
        """When the next has waited long enough."""
        wakes = [super().next_wake(), *(kept.due for kept in self._kept if not self._open)]
        return min((wake for wake in wakes if wake is not None), default=None)

    def stop(self, now: float) -> list[Item]:
        """Give all that is kept."""
        self._let_all_go(now)
        return super().stop(now)

    @property
    def held(self) -> int:
        """Bytes kept."""
        return super().held + self._kept_bytes

    def _let_due_go(self, now: float) -> None:
        if self._open:  # only control frames may come between fragments (RFC 6455 section 5.4)
            return
        for kept in [each for each in self._kept if each.due <= now or each.left == 0]:
            self._let_go(kept, now)

    def _let_all_go(self, now: float) -> None:
        while self._kept:
            self._let_go(self._kept[0], now)

    def _let_go(self, kept: _Kept, now: float) -> None:
        self._kept.remove(kept)
        self._kept_bytes -= len(kept.raw)
        self.put(kept.raw, now)
