"""A short run of the whole feed under faults, and proof that it can fail."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
import uvloop

from omega_ai.tests.faults.disturb import FAULTS
from omega_ai.tests.faults.plugin import MUTANTS
from omega_ai.tests.faults.run import Result, report, run

pytestmark = pytest.mark.slow


def _run(
    seconds: float, seed: int, mutant: str | None = None, faults: Sequence[str] = tuple(FAULTS)
) -> Result:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(run(seconds=seconds, seed=seed, clients=30, mutant=mutant, faults=faults))
    report(result, print)
    return result


def test_nothing_is_lost_doubled_reordered_or_unexplained() -> None:
    """All kinds of faults for some seconds, 30 clients, four servers, a Redis."""
    result = _run(12, 20261123)
    assert result.passed, "\n".join([*result.truth.examples, result.logs[-20_000:]])
    assert result.trades > 100
    assert sum(result.faults.values()) >= 5


@pytest.mark.parametrize("mutant", ["late-join", "drop-buffer", "reuse-seq"])
def test_a_bug_put_in_on_purpose_is_found(mutant: str) -> None:
    """The join not in one step, the publisher's buffer dropped, a seq given twice: each run fails."""
    result = _run(7, 1, mutant, [MUTANTS[mutant][1]])
    assert not result.passed
    assert any(result.truth.anomalies.values())
