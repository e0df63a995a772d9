"""Corrupt: bytes arrive changed."""

from __future__ import annotations

import math
import random

from omega_ai.testkit.faults.model import Context, Count, Item, Probability, Stage, StreamFault


class Corrupt(StreamFault, frozen=True, kw_only=True):
    """Each byte is changed with the given ``probability``, to any other.

    Happens over TCP, although rarely: its checksum of 16 bits lets one in some ten thousand damaged segments
    pass, and what is damaged in a router's or a proxy's memory has a right checksum. TLS notices, and ends
    the connection. The first ``skip`` bytes are left alone (a handshake, say), and no more than ``limit`` are
    changed, if it is not 0.
    """

    kind = "corrupt"
    loses = True
    ends = True

    probability: Probability = 0.0001
    skip: Count = 0
    limit: Count = 0

    def stage(self, context: Context) -> Stage:
        """Changes bytes."""
        return _CorruptStage(self, context.rng)


class _CorruptStage(Stage):
    """Draws how many bytes are left alone before the next, so that it does not matter how the stream is
    cut."""

    __slots__ = ("_fault", "_left", "_next", "_rng")

    def __init__(self, fault: Corrupt, rng: random.Random) -> None:
        self._fault = fault
        self._rng = rng
        self._left = fault.limit or math.inf
        self._next = fault.skip + self._gap()

    def feed(self, data: bytes, now: float) -> list[Item]:
        if self._next >= len(data):
            self._next -= len(data)
            return [data]
        changed = bytearray(data)
        while self._next < len(data):
            changed[int(self._next)] ^= self._rng.randint(1, 255)
            self._left -= 1
            self._next += 1 + self._gap()
        self._next -= len(data)
        return [bytes(changed)]

    def _gap(self) -> float:
        probability = self._fault.probability
        if not probability or self._left <= 0:
            return math.inf
        if probability == 1.0:
            return 0
        # The number of failures before the first success, by inversion.
        return int(math.log(1.0 - self._rng.random()) / math.log1p(-probability))
