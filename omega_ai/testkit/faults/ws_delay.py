"""Messages that are late, alone."""

from __future__ import annotations

from omega_ai.testkit.faults.distributions import Distribution, deviation
from omega_ai.testkit.faults.frame import FrameFault
from omega_ai.testkit.faults.keep_back import KeepBackStage
from omega_ai.testkit.faults.model import Context, Milliseconds, Stage


class WsDelay(FrameFault, frozen=True, kw_only=True):
    """Chosen frames are delayed by ``delay`` ± ``jitter`` milliseconds, and what is behind them is not.

    Only at message level: over TCP what follows waits, too (see ``latency``), but a server that has one
    message computed or fetched elsewhere sends the others meanwhile. Fragments are left alone; a close frame
    lets all go first. ``distribution`` as for ``latency``.
    """

    kind = "ws_delay"
    level = "message"
    loses = True

    delay: Milliseconds = 100
    jitter: Milliseconds = 0
    distribution: Distribution = "uniform"

    def stage(self, context: Context) -> Stage:
        """Keeps frames back for a while."""

        def hold() -> float:
            delay = self.delay + deviation(self.distribution, self.jitter, context.rng)
            return max(delay, 0.0) / 1000

        return KeepBackStage(self, context, distance=None, hold=hold)
