"""Does it hold a moderate load: a burst in the midst of traffic, many listeners, many who come at once?"""

from __future__ import annotations

import msgspec

from omega_ai.testkit.case import Need, Outcome, Suite
from omega_ai.testkit.context import Context
from omega_ai.testkit.load.plan import Group, Phase, Role
from omega_ai.testkit.load.shapes import Constant, Spike
from omega_ai.testkit.load.thresholds import parse_threshold
from omega_ai.testkit.suites.loading import gentle, judged_load, load, plan_of, talkers, usual

SUITE = Suite("load", "Load on schedule: every message accounted for, latency from when it was due")

CLIENTS = 50
START_S = 0.4
"""Messages begin so long after the clients."""
BURST_S = (0.4, 0.4)
"""How long after the first message the burst begins, and how long it is."""
LISTENERS = 40
ARRIVALS = 120


@SUITE.case(
    "burst",
    f"{CLIENTS} clients, and a burst in the midst of their traffic",
    expectation="every message comes once, whole, in order and in time, in the burst and after it",
    timeout=40.0,
    alone=True,
    destructive=True,
)
async def burst(context: Context) -> Outcome:
    """Five times the usual rate for a moment; then as before."""
    at, length = BURST_S
    base = gentle(context, 300, CLIENTS)
    peak = gentle(context, 1500, CLIENTS)
    spike = Spike(base=base, peak=peak, at_s=at, for_s=length)
    groups = talkers(context, CLIENTS, spike, start_s=START_S, ramp_s=0.2)
    over = START_S + at + length
    phases = [Phase(name="after", start_s=over, duration_s=0.75)]
    record = await load(context, plan_of(context, groups, over + 0.75, phases))
    bounds = [usual(context), f"phase after: {usual(context)}"]
    return judged_load(
        record,
        f"{CLIENTS} clients, {base:.0f} messages/s, {peak:.0f} in a burst of {length:g} s",
        [parse_threshold(text) for text in bounds],
    )


@SUITE.case(
    "fan-out",
    f"Two publishers and {LISTENERS} listeners",
    expectation="every listener gets every message once, whole, in order and in time",
    needs=[Need.PUBLISH],
    timeout=40.0,
    alone=True,
    destructive=True,
)
async def fan_out(context: Context) -> Outcome:
    """As many deliveries a second as a small channel has."""
    rate = gentle(context, 50, 2)
    groups = [
        Group(role=Role.LISTEN, clients=LISTENERS),
        Group(role=Role.PUBLISH, clients=2, messages=Constant(rate=rate), messages_start_s=START_S),
    ]
    record = await load(context, plan_of(context, groups, 1.4), keep=False)
    what = f"{rate:.0f} messages/s to {LISTENERS} listeners"
    return judged_load(record, what, [parse_threshold(usual(context))])


@SUITE.case(
    "arrivals",
    f"{ARRIVALS} clients come within a second, at random",
    expectation="everybody gets in, in time, and stays",
    timeout=40.0,
    alone=True,
    destructive=True,
)
async def arrivals(context: Context) -> Outcome:
    """A Poisson process of connections, each of which then speaks."""
    rate = gentle(context, 120, ARRIVALS)
    groups = talkers(context, ARRIVALS, Constant(rate=rate), start_s=START_S)
    coming = {"arrivals": Constant(rate=ARRIVALS * 1.5), "random_arrivals": True, "reconnect_s": None}
    groups[0] = msgspec.structs.replace(groups[0], **coming)
    record = await load(context, plan_of(context, groups, 1.2), keep=False)
    bound = f"connect.p99 < {context.profile.limits.max_latency_s:g}s"
    came = record.tally.total.counts.connected
    return judged_load(record, f"{came} clients came within a second", [parse_threshold(bound)])
