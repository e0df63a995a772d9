"""What grows, and what does not recover, is caught: servers of the zoo as processes, cases made short."""

from __future__ import annotations

import asyncio

import pytest

from omega_ai.testkit.suites import soak
from omega_ai.testkit.verdict import Verdict
from omega_ai.testkit.zoo.catalogue import ENDURING, Exhibit
from omega_ai.testkit.zoo.enduring import put
from omega_ai.testkit.zoo.prove import caught, find_case

pytestmark = pytest.mark.slow
SOAKED = [exhibit for exhibit in ENDURING if exhibit.case == "soak.memory"]
"""Latency needs the whole minute on a busy machine: ``python -m omega_ai.testkit.zoo.enduring``."""


async def test_what_grows_is_caught_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory and descriptors, side by side."""
    monkeypatch.setattr(soak, "SECONDS", 6.0)

    async def one(exhibit: Exhibit) -> str | None:
        for seed in range(3):  # a machine that holds up the generator leaves a run undecided
            result = await put(exhibit, find_case(exhibit.case), seed)
            if result.verdict is not Verdict.UNKNOWN:
                break
        return None if caught(exhibit, result) else f"{exhibit.name}: {result.verdict}: {result.finding}"

    missed = await asyncio.gather(*map(one, SOAKED))
    assert [text for text in missed if text] == []


def test_every_case_has_a_server_that_fails_it() -> None:
    """But for two, whose faults the others have."""
    cases = {exhibit.case for exhibit in ENDURING}
    assert cases == {"soak.memory", "soak.latency", "stress.messages"}
