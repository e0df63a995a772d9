"""The search for the highest load: on servers whose limit is known."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega_ai.testkit.load.search import CONFIRMATIONS, Bounds, Found, Kind, Search, Step, find
from omega_ai.testkit.verdict import Verdict

Judge = Callable[[float, Kind], tuple[Verdict, bool]]


def _search(bounds: Bounds, judge: Judge, *, whole: bool = False, seconds: float = 5.0) -> Found:
    async def trial(level: float, kind: Kind) -> Step:
        verdict, generator = judge(level, kind)
        took = seconds * (2 if kind == "confirm" else 1)
        return Step(
            level=level,
            kind=kind,
            verdict=verdict,
            observed=f"p99 at {level:g}",
            seconds=took,
            generator=generator,
        )

    shown: list[Step] = []
    found = asyncio.run(find(Search(bounds, whole), trial, shown.append))
    assert tuple(shown) == found.steps
    return found


def _limit(at: float) -> Judge:
    return lambda level, _: (Verdict.PASS if level <= at else Verdict.FAIL, False)


@given(st.floats(1, 1e6), st.floats(1, 1e6), st.sampled_from([0.02, 0.05, 0.2]))
def test_the_limit_is_found_within_the_tolerance(limit: float, start: float, tolerance: float) -> None:
    """Wherever it starts; in no more steps than halving needs."""
    found = _search(Bounds(start=start, tolerance=tolerance, budget_s=1e9), _limit(limit))
    assert found.verdict is Verdict.PASS
    assert found.level is not None
    assert limit / (1 + tolerance) / 1.001 <= found.level <= limit
    assert len(found.steps) <= 22 + 8
    assert [step.kind for step in found.steps].count("confirm") == 1


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_clients_are_whole(limit: int, start: int) -> None:
    """Nobody starts half a client."""
    found = _search(Bounds(start=start, budget_s=1e9), _limit(limit), whole=True)
    assert found.level is not None
    assert all(step.level == int(step.level) for step in found.steps)
    assert limit / 1.05 - 1 <= found.level <= limit


def test_a_level_that_holds_by_luck_is_not_believed() -> None:
    """It is tried again, and then a lower one."""

    def judge(level: float, kind: Kind) -> tuple[Verdict, bool]:
        return (Verdict.PASS if level <= (100 if kind == "confirm" else 110) else Verdict.FAIL), False

    found = _search(Bounds(start=64, tolerance=0.02), judge)
    kinds = [step.verdict for step in found.steps if step.kind == "confirm"]
    assert kinds == [Verdict.FAIL, Verdict.PASS]
    assert found.level is not None
    assert 90 <= found.level <= 100


def test_a_server_whose_pace_varies_has_no_limit() -> None:
    """Never is a level told that was not seen to hold twice."""

    def judge(level: float, kind: Kind) -> tuple[Verdict, bool]:
        return (Verdict.PASS if kind != "confirm" and level < 90 else Verdict.FAIL), False

    found = _search(Bounds(start=64), judge)
    assert (found.level, found.verdict) == (None, Verdict.UNKNOWN)
    assert sum(step.kind == "confirm" for step in found.steps) == CONFIRMATIONS
    assert "varies" in found.why


def test_a_server_that_never_holds_fails() -> None:
    """Not even at the lowest level."""
    found = _search(Bounds(start=100, lowest=10), _limit(5))
    assert (found.level, found.verdict) == (None, Verdict.FAIL)
    assert found.steps[-1].level == 10
    assert "even at the lowest level, 10: p99 at 10" in found.why


def test_a_server_that_always_holds_holds_at_the_highest() -> None:
    """And no more is tried than may be."""
    found = _search(Bounds(start=100, highest=1000), _limit(1e9))
    assert found.level == 1000
    assert max(step.level for step in found.steps) == 1000
    assert "highest level that may be tried" in found.why


def test_the_generator_as_the_limit_is_said() -> None:
    """Its limit is not the server's."""

    def judge(level: float, kind: Kind) -> tuple[Verdict, bool]:
        return (Verdict.PASS, False) if level <= 500 else (Verdict.UNKNOWN, True)

    found = _search(Bounds(start=100), judge)
    assert found.level is not None
    assert 470 < found.level <= 500
    assert "the generator, not the server" in found.why


def test_a_search_ends_in_time() -> None:
    """With what it has; an unconfirmed level is no result."""
    found = _search(Bounds(start=1, tolerance=0.001, budget_s=60), _limit(777), seconds=10)
    assert sum(step.seconds for step in found.steps) <= 70
    assert (found.level, found.verdict) == (None, Verdict.UNKNOWN)
    assert "was over" in found.why


def test_noise_near_the_limit_does_not_lead_far_astray() -> None:
    """Levels near the limit hold now and then; what is found lies within a quarter of it, or nothing is."""
    for seed in range(200):
        rng = random.Random(seed)

        def judge(level: float, _: Kind, rng: random.Random = rng) -> tuple[Verdict, bool]:
            return (Verdict.PASS if level * rng.uniform(0.9, 1.1) <= 1000 else Verdict.FAIL), False

        found = _search(Bounds(start=100), judge)
        assert found.level is None or 750 <= found.level <= 1111, seed


@pytest.mark.parametrize(
    "bounds",
    [Bounds(start=0), Bounds(start=5, lowest=6), Bounds(start=5, highest=4), Bounds(start=1, tolerance=0)],
)
def test_bounds_that_cannot_be_are_refused(bounds: Bounds) -> None:
    """Before the first step."""
    with pytest.raises(ValueError, match="must lie between"):
        Search(bounds)


def test_only_what_was_asked_for_is_taken() -> None:
    """A step of another level would spoil the search."""
    search = Search(Bounds(start=10))
    step = Step(level=11, kind="bracket", verdict=Verdict.PASS, observed="", seconds=1)
    with pytest.raises(ValueError, match="asked for"):
        search.add(step)
