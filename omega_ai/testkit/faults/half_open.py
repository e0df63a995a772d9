"""Half-open: one peer is gone, and the other does not know."""

from __future__ import annotations

from typing import Literal

from omega_ai.testkit.faults.model import Context, Item, Milliseconds, Signal, Stage, StreamFault


class _Fate:
    """What both directions know of one connection."""

    def __init__(self) -> None:
        self.gone = False


class HalfOpen(StreamFault, frozen=True, kw_only=True):
    """After ``after`` milliseconds the sender of the toxic's direction is cut off, and the other peer not
    told.

    Placed ``downstream``, the server's end is reset and the client is left hanging; ``upstream``, the other
    way round. Happens over TCP: a host that lost power, a NAT that forgot an idle connection. What the peer
    that was left hanging still sends is met with ``silence``, or, with ``answer`` = ``reset``, with a reset,
    as by a host that is up again or a NAT that rejects what it does not know.
    """

    kind = "half_open"
    both = True
    ends = True

    after: Milliseconds = 0
    answer: Literal["silence", "reset"] = "silence"

    def stage(self, context: Context) -> Stage:
        """Cuts off the sender, or answers the peer that hangs."""
        fate = context.of_connection("fate", _Fate)
        if context.stream == context.placed:
            return _CutStage(fate, context.now + self.after / 1000)
        return _HangingStage(fate, self.answer)


class _CutStage(Stage):
    __slots__ = ("_due", "_fate")

    def __init__(self, fate: _Fate, due: float) -> None:
        self._fate = fate
        self._due = due

    def feed(self, data: bytes, now: float) -> list[Item]:
        return [data] if now < self._due else self.tick(now)

    def tick(self, now: float) -> list[Item]:
        if now < self._due or self._fate.gone:
            return []
        self._fate.gone = True
        return [Signal.VANISH]

    def next_wake(self) -> float | None:
        return None if self._fate.gone else self._due


class _HangingStage(Stage):
    __slots__ = ("_answer", "_fate")

    def __init__(self, fate: _Fate, answer: Literal["silence", "reset"]) -> None:
        self._fate = fate
        self._answer = answer

    def feed(self, data: bytes, now: float) -> list[Item]:
        if self._fate.gone:
            return [Signal.RESET] if self._answer == "reset" else []
        return [data]
