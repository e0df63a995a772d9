"""Whether the generator itself kept up: if it did not, the run proves nothing about the server.

A run is invalid if any of these holds:

- **rate**: more than one in a hundred of the messages (or connections) that were due were never sent
  because the generator did not get to them (``Counts.skipped``). What could not be sent because the server
  had refused or closed the connection, or did not read, is the server's doing, and counts against it instead.
- **send lag**: its 99th percentile exceeds ``LoadPlan.lag_limit_s`` (10 ms by default), and a twentieth of
  the 99th percentile of the latency, in which it is contained. Small against what was measured, it does no
  harm.
- **loop lag**: the same of ``loop_lag``, by which the arrival of messages may have been noted late.
- **detour**: the same of the fault proxy, if connections went through one.
- **nothing**: no message was sent and none came, though some were due.
"""

from __future__ import annotations

from typing import Final

from omega_ai.testkit.load.plan import LoadPlan
from omega_ai.testkit.load.tally import Tally, Window

SHARE_SKIPPED: Final = 0.01
SHARE_OF_LATENCY: Final = 0.05
SATURATED: Final = 0.95
"""CPU of a worker (of a core) from which a run is on the edge: a warning, as the lags say whether it fell
off."""


def problems(plan: LoadPlan, tally: Tally) -> list[str]:
    """Why the run as a whole is invalid, one sentence each (without a full stop); empty if it is valid."""
    found = problems_of(plan, tally.total)
    limit = max(plan.lag_limit_s * 1e9, SHARE_OF_LATENCY * (tally.total.latency.percentile(99) or 0))
    found += [
        f"the fault proxy was up to {cost.late_p99_ns / 1e6:.1f} ms late itself (99th percentile; "
        f"{limit / 1e6:.1f} ms are allowed); ask for less, or use more machines (--shard)"
        for cost in tally.detours
        if cost.late_p99_ns > limit
    ]
    return found


def problems_of(plan: LoadPlan, window: Window) -> list[str]:
    """The same of a part of the run: a phase, a step of a search."""
    counts = window.counts
    found = []
    due = counts.intended
    if counts.skipped > due * SHARE_SKIPPED:
        found.append(
            f"the generator sent {counts.sent} of {due} messages that were due: it did not get to "
            f"{counts.skipped} of them; ask for less, or give it more --workers or more machines"
        )
    latency = window.latency.percentile(99)
    for name, histogram in (("sent", window.send_lag), ("read", window.loop_lag)):
        lag = histogram.percentile(99)
        limit = max(plan.lag_limit_s * 1e9, SHARE_OF_LATENCY * (latency or 0))
        if lag is not None and lag > limit:
            found.append(
                f"the generator {name} up to {lag / 1e6:.1f} ms late itself (99th percentile; "
                f"{limit / 1e6:.1f} ms are allowed); ask for less, or give it a machine or cores of its own"
            )
    if due and not counts.sent and not counts.received:
        found.append("nothing was sent, and nothing came")
    return found
