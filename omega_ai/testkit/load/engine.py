"""Runs a plan: workers in processes of their own, so that neither a display nor a checker disturbs them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from omega_ai.testkit.load.plan import LoadPlan
from omega_ai.testkit.load.tally import Tally, Window


class LoadError(Exception):
    """The run could not be carried out, through no fault of the server; ``str(error)`` says what to do."""


async def run_load(
    plan: LoadPlan,
    *,
    on_window: Callable[[Window], None] | None = None,
    stop: asyncio.Event | None = None,
) -> Tally:
    """Carry ``plan`` out and give back what was seen.

    Args:
        plan: What to do. With ``plan.shards`` > 1, this machine's part of it.
        on_window: Called for each window in order, all workers joined, about a second after it has ended.
        stop: When set, the run stops sending at once, waits for what is on its way, and ends as usual.

    Raises:
        PlanError: the plan cannot be carried out.
        LoadError: a worker could not start or was killed.
    """
    raise NotImplementedError
