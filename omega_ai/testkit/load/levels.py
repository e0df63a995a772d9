"""One plan at many levels: the same clients at another rate, or more of the same clients. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from omega_ai.testkit.load.plan import Group, LoadPlan, PlanError
from omega_ai.testkit.load.shapes import Constant, curve
from omega_ai.testkit.load.thresholds import Threshold

Vary = Literal["rate", "clients"]

SETTLE_S: Final = 1.0
"""At the beginning of a level, what is left out of its times: clients come, caches fill."""
GRACE_S: Final = 10.0
"""How long is waited for what is on its way: what comes late is late, and not lost."""
LONGEST_S: Final = 60.0
"""A level does not last longer, even if it then has too few messages for a percentile."""


def level_of(plan: LoadPlan, vary: Vary) -> float:
    """At which level ``plan`` is as it stands.

    Raises:
        PlanError: there is nothing in it to vary.
    """
    if vary == "clients":
        return float(plan.clients)
    rate = sum(_rate(group, plan.duration_s) for group in plan.groups)
    if not rate:
        raise PlanError("no group sends messages by the second, so there is no rate to vary; vary clients")
    return rate


def at_level(plan: LoadPlan, vary: Vary, level: float, seconds: float) -> LoadPlan:
    """``plan`` at another level, steady for ``seconds``: shapes, phases, faults and waits are left out.

    Varying ``rate``, every group keeps its clients and its share of the messages. Varying ``clients``, each
    group keeps its share of the clients, and what one client sends.
    """
    by = level / level_of(plan, vary)
    groups = []
    for group in plan.groups:
        count = max(1, round(group.clients * by)) if vary == "clients" else group.clients
        more = count / group.clients if vary == "clients" else by
        groups.append(_steady(group, count, _rate(group, plan.duration_s) * more))
    return msgspec.structs.replace(
        plan,
        groups=tuple(groups),
        duration_s=SETTLE_S + seconds,
        phases=(),
        faults=(),
        grace_s=max(plan.grace_s, GRACE_S),
    )


def _rate(group: Group, duration_s: float) -> float:
    """Messages by the second, on average while they are sent."""
    end = duration_s if group.messages_end_s is None else group.messages_end_s
    seconds = end - group.messages_start_s
    if group.messages is None or seconds <= 0:
        return 0.0
    return curve(group.messages).integral(seconds) / seconds


def _steady(group: Group, clients: int, rate: float) -> Group:
    return msgspec.structs.replace(
        group,
        clients=clients,
        start_s=0.0,
        ramp_s=min(group.ramp_s, SETTLE_S / 2) if group.ramp_s else SETTLE_S / 2,
        arrivals=None,
        leave_s=None,
        messages=None if group.messages is None else Constant(rate=rate),
        messages_start_s=SETTLE_S / 2,
        messages_end_s=None,
    )


def seconds_for(thresholds: Iterable[Threshold], rate: float, step_s: float) -> float:
    """How long a level must last for its percentiles to be told: at least ``step_s``, at most a minute."""
    percents = [50.0, *(item.percentile for item in thresholds if item.percentile is not None)]
    needed = max(1 if percent >= 100 else math.ceil(round(100 / (100 - percent), 6)) for percent in percents)
    return min(max(step_s, 1.2 * needed / rate if rate else step_s), max(LONGEST_S, step_s))
