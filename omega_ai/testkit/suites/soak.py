"""A steady load for a while, with clients who come and go: does anything grow that should not?"""

from __future__ import annotations

import msgspec

from omega_ai.testkit.case import Need, Outcome, Suite
from omega_ai.testkit.context import Context
from omega_ai.testkit.load.cases import grown
from omega_ai.testkit.load.plan import Group
from omega_ai.testkit.load.record import LoadRecord
from omega_ai.testkit.load.shapes import Constant
from omega_ai.testkit.load.watching import Watch
from omega_ai.testkit.suites.loading import gentle, judged_load, load, plan_of, talkers, watched
from omega_ai.testkit.verdict import Verdict

SUITE = Suite("soak", "A steady load with clients who come and go: does anything grow for ever?", quick=False)

SECONDS = 60.0
"""How long. 2 MB a minute are then beyond doubt; slower leaks take ``omega load --scenario soak``."""
WARM_UP = 0.2
"""Share of it that is left out of the verdict."""
LOOKS = 200
"""How often the server is looked at."""
CLIENTS = 20
VISITORS = 10
CHURN = 8.0
"""Visitors a second who close and come again."""


@SUITE.case(
    "memory",
    "Memory and descriptors do not grow under a steady load",
    expectation="they are at the end what they were after the warm-up, but for chance",
    needs=[Need.PROCESS],
    timeout=SECONDS * 3 + 60,
    alone=True,
    destructive=True,
)
async def memory(context: Context) -> Outcome:
    """With the server's process in view."""
    async with watched(context, SECONDS / LOOKS) as watch:
        return _judged(await _soak(context, watch))


@SUITE.case(
    "latency",
    "Latency does not grow under a steady load",
    expectation="every message comes once, and the latency at the end is that after the warm-up",
    timeout=SECONDS * 3 + 60,
    alone=True,
    destructive=True,
)
async def latency(context: Context) -> Outcome:
    """Whatever the process does that we cannot see."""
    return _judged(await _soak(context, None), memory=False)


async def _soak(context: Context, watch: Watch | None) -> LoadRecord:
    rate = gentle(context, 150, CLIENTS)
    groups = talkers(context, CLIENTS, Constant(rate=rate), start_s=0.5)
    visiting = talkers(context, VISITORS, Constant(rate=gentle(context, 2, VISITORS)), start_s=0.5)[0]
    groups.append(_visitors(visiting))
    plan = msgspec.structs.replace(plan_of(context, groups, SECONDS), window_s=max(0.25, SECONDS / 120))
    return await load(context, plan, watch=watch, warm_up_s=WARM_UP * SECONDS)


def _visitors(group: Group) -> Group:
    """They close on purpose and come again; their own times are those of connecting too."""
    return msgspec.structs.replace(group, name="visitors", churn=CHURN, timed=False)


def _judged(record: LoadRecord, *, memory: bool = True) -> Outcome:
    growth = grown(record, memory=memory)
    what = f"{record.plan.duration_s:g} s of a steady load"
    if growth.verdict is Verdict.PASS:
        what += f": {growth.finding}"
    return judged_load(record, what, extra=[growth])
