"""Latency: everything arrives later."""

from __future__ import annotations

import random

from omega_ai.testkit.faults.distributions import Distribution, deviation
from omega_ai.testkit.faults.model import Context, Item, Milliseconds, Stage, StreamFault
from omega_ai.testkit.faults.queue import QueueStage

WINDOW = 8 * 1_048_576
"""Bytes that may be under way in one direction: what a sender has in flight over a long, fat path."""


class Latency(StreamFault, frozen=True, kw_only=True):
    """Everything arrives ``latency`` ± ``jitter`` milliseconds later.

    Happens over TCP: distance, queues in routers, a radio link that wakes up. Nothing overtakes: a chunk that
    drew a short delay waits for the one before it, as TCP delivers in order. With jitter alone the delay is
    never below 0.

    ``distribution`` says how the jitter is spread: ``uniform`` (Toxiproxy's: anywhere within ± jitter),
    ``normal`` (jitter is one standard deviation), ``pareto`` and ``lognormal`` (never earlier than
    ``latency``; the mean delay beyond it is ``jitter``, with a long tail). A sender is not read from while 8
    MiB are under way.
    """

    kind = "latency"

    latency: Milliseconds = 0
    jitter: Milliseconds = 0
    distribution: Distribution = "uniform"

    def stage(self, context: Context) -> Stage:
        """Keeps what comes for as long as its delay."""
        return _LatencyStage(self, context.rng)


class _LatencyStage(QueueStage):
    __slots__ = ("_fault", "_rng")

    hold_limit = WINDOW

    def __init__(self, fault: Latency, rng: random.Random) -> None:
        super().__init__()
        self._fault = fault
        self._rng = rng

    def feed(self, data: bytes, now: float) -> list[Item]:
        fault = self._fault
        delay = fault.latency + deviation(fault.distribution, fault.jitter, self._rng)
        self.put(data, now + max(delay, 0.0) / 1000)
        return self.release(now)
