"""Two machines, as far as one machine can stand for two: their parts are one run."""

from __future__ import annotations

import asyncio
import time

import msgspec
import pytest

from omega_ai.testkit.load.engine import LoadError, run_load
from omega_ai.testkit.load.plan import Group, LoadPlan, Role
from omega_ai.testkit.load.record import LoadRecord, join, result_parts
from omega_ai.testkit.load.shapes import Constant
from omega_ai.testkit.load.tally import Tally
from omega_ai.testkit.zoo.catalogue import EXHIBITS
from omega_ai.testkit.zoo.prove import running

pytestmark = pytest.mark.slow
LISTENERS, MESSAGES = 6, 120


async def _both(plan: LoadPlan) -> list[Tally]:
    """Both parts, beginning at one moment; later, if this machine is too busy to be ready by then."""
    for wait_s in (3, 10, 40):
        start = time.time_ns() + wait_s * 10**9
        parts = [
            run_load(msgspec.structs.replace(plan, shard=shard, start_at_utc_ns=start)) for shard in (0, 1)
        ]
        found = await asyncio.gather(*parts, return_exceptions=True)
        if not any(isinstance(item, BaseException) for item in found):
            return [item for item in found if isinstance(item, Tally)]
        for item in found:
            if isinstance(item, BaseException) and not isinstance(item, LoadError):
                raise item
    pytest.fail("two workers were not ready within 40 seconds")


async def test_a_loss_between_two_machines_is_counted_when_they_are_joined() -> None:
    """The server loses one message in 50 for everybody: each listener, wherever it is, lacks the same."""
    exhibit = next(item for item in EXHIBITS if item.name == "loses-for-all")
    async with running(exhibit, 1, None) as site:
        plan = LoadPlan(
            urls=(site.url,),
            profile=site.profile,
            groups=(
                Group(role=Role.LISTEN, clients=LISTENERS),
                Group(role=Role.PUBLISH, clients=2, messages=Constant(rate=MESSAGES), messages_start_s=1.0),
            ),
            duration_s=2.0,
            seed=9,
            shards=2,
            lag_limit_s=10.0,
        )
        records = [
            LoadRecord.of(msgspec.structs.replace(plan, shard=shard), tally, thresholds=("lost == 0",))
            for shard, tally in enumerate(await _both(plan))
        ]
    whole = join(records)
    delivery = whole.tally.delivery()
    ours = delivery.due - whole.tally.accounts.feed.due
    assert ours == MESSAGES * LISTENERS
    assert delivery.lost > 0
    assert delivery.lost % LISTENERS == 0
    assert {part.shard for part in whole.tally.parts} == {0, 1}
    (threshold,) = result_parts(whole).thresholds
    assert (threshold.verdict, threshold.observed) == ("fail", str(delivery.lost))
