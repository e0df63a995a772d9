"""Slow accept: connections are made late."""

from __future__ import annotations

from omega_ai.testkit.faults.distributions import Distribution, deviation
from omega_ai.testkit.faults.model import Context, Milliseconds, Opening, OpeningFault


class SlowAccept(OpeningFault, frozen=True, kw_only=True):
    """New connections are made only after ``delay`` ± ``jitter`` milliseconds.

    Happens over TCP: a server that is busy, or whose accept queue is full. The kernel accepts for a proxy, so
    that its client is connected, but not answered, for so long. ``distribution`` as for ``latency``.
    """

    kind = "slow_accept"

    delay: Milliseconds = 0
    jitter: Milliseconds = 0
    distribution: Distribution = "uniform"

    def decide(self, context: Context) -> Opening:
        """Wait."""
        delay = self.delay + deviation(self.distribution, self.jitter, context.rng)
        return Opening(delay=max(delay, 0.0) / 1000)
