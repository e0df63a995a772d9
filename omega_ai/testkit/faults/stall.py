"""Stall: the loss of packets, as it looks over TCP."""

from __future__ import annotations

import random
from typing import Annotated, Final

import msgspec

from omega_ai.testkit.faults.model import Context, Item, Milliseconds, Probability, Stage, StreamFault
from omega_ai.testkit.faults.queue import QueueStage

SEGMENT: Final = 1460
"""Bytes of a segment: what fits an Ethernet frame with IPv4."""
FOLLOWERS: Final = 3
"""Segments behind a lost one whose acknowledgements tell the sender of it (RFC 5681 section 3.2)."""
LONGEST: Final = 60.0
"""Seconds that a retransmission timeout doubles to at most (RFC 6298 section 2.5 allows such a bound)."""


class Stall(StreamFault, frozen=True, kw_only=True):
    """Segments of 1,460 bytes are lost with the probability ``loss``, and TCP sends them again.

    Happens over TCP, and is all of packet loss that an application can see of it: no byte is missing, but
    everything behind a lost segment waits for it, and then comes in one burst. If three more segments were
    under way behind it, the sender learns of the loss after one ``rtt``; otherwise only its timer tells,
    after ``rto``, and twice as long each time that the repetition is lost, too. ``correlation`` is the
    probability that a segment is lost because the one before it was: losses come in rows. All times are
    milliseconds. A sender is not read from while 1 MiB waits.
    """

    kind = "stall"

    loss: Probability = 0.01
    rtt: Milliseconds = 50
    rto: Annotated[int, msgspec.Meta(ge=1, le=60_000)] = 200
    correlation: Probability = 0.0

    def stage(self, context: Context) -> Stage:
        """Loses segments and sends them again."""
        return _StallStage(self, context.rng)


class _StallStage(QueueStage):
    __slots__ = ("_fault", "_lost", "_rng")

    hold_limit = 1 << 20

    def __init__(self, fault: Stall, rng: random.Random) -> None:
        super().__init__()
        self._fault = fault
        self._rng = rng
        self._lost = False

    def feed(self, data: bytes, now: float) -> list[Item]:
        for position in range(0, len(data), SEGMENT):
            followers = (len(data) - position - 1) // SEGMENT
            self.put(data[position : position + SEGMENT], now + self._recovery(followers))
        return self.release(now)

    def _recovery(self, followers: int) -> float:
        """Seconds until the next segment has arrived after all; 0 if it is not lost."""
        fault = self._fault
        if not self._draw():
            return 0.0
        timer = fault.rto / 1000
        if followers >= FOLLOWERS:
            waited = fault.rtt / 1000
        else:
            waited, timer = timer, timer * 2
        while self._draw() and waited < LONGEST:
            waited += timer
            timer = min(timer * 2, LONGEST)
        self._lost = True
        return min(waited, LONGEST)

    def _draw(self) -> bool:
        fault = self._fault
        chance = fault.loss
        if self._lost:
            chance = fault.correlation + (1 - fault.correlation) * fault.loss
        self._lost = self._rng.random() < chance
        return self._lost
