"""The feed and its clients in virtual time: whatever breaks, nobody loses a message without being told."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omega_ai.tests.simnet.mutants import MUTANTS
from omega_ai.tests.simnet.scenario import KINDS, Step, live_through, steps_of

STEPS_A_SEED = 30
STEPS = st.builds(
    Step,
    kind=st.sampled_from(KINDS),
    who=st.integers(0, 9),
    amount=st.integers(1, 100),
    wait_s=st.floats(0.0, 2.0, allow_nan=False),
)


@settings(max_examples=10, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(STEPS, min_size=5, max_size=25), seed=st.integers(0, 2**31))
def test_nothing_is_lost_without_a_word(steps: list[Step], seed: int) -> None:
    """Every ``mode: all`` client sees every message once and in order, or was told ``recovered: false``.

    ... and that only where the broker's history was really lost.
    """
    report = live_through(steps, seed)
    assert report.passed, f"seed {seed}: {report}"


@pytest.mark.parametrize("seed", [4, 36, 178])
def test_seeds_that_once_failed(seed: int) -> None:
    """Kept: they have found defects, of the feed or of the simulation."""
    report = live_through(steps_of(seed, STEPS_A_SEED), seed)
    assert report.passed, f"python -m omega_ai.tests.simnet --seed {seed} --steps {STEPS_A_SEED}: {report}"


def test_a_seed_replays_exactly() -> None:
    """Every message at every client at the same nanosecond, in another process with another hash seed too."""
    here = {live_through(steps_of(5, 30), 5).digest[:16] for _ in range(2)}
    assert len(here) == 1
    command = [sys.executable, "-m", "omega_ai.tests.simnet", "--seed", "5", "--steps", "30"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
    assert here.pop() in said


FOUND_BY = {
    "resume-short": 0,
    "resume-long": 0,
    "late-join": 0,
    "drops-tail": 0,
    "silent-overflow": 29,
    "client-trusts-silence": 1,
}
"""Mutant -> a seed that finds it. Another change of the feed may move that: the next ones count too."""
NEXT = 6


@pytest.mark.parametrize("mutant", sorted(MUTANTS))
def test_a_bug_that_is_put_in_is_found(mutant: str) -> None:
    """Otherwise the tests above prove nothing. The seed fails with the bug, and passes without it."""
    first = FOUND_BY[mutant]
    with MUTANTS[mutant]():
        reports = (live_through(steps_of(seed, STEPS_A_SEED), seed) for seed in range(first, first + NEXT))
        assert not all(report.truth.passed for report in reports), f"{mutant} was not found"
