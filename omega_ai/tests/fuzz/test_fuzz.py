"""Fuzzing for seconds: the same inputs each time. ``make fuzz`` goes on for minutes, with others."""

from __future__ import annotations

import random
from itertools import islice

import pytest

from omega_ai.tests.fuzz import __main__ as fuzz
from omega_ai.tests.fuzz.mutation import inputs
from omega_ai.tests.fuzz.targets import TARGETS, Target


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_understood(name: str) -> None:
    """Mutations begin with inputs that get somewhere, and no target fails on one of them."""
    for seed in TARGETS[name].seeds:
        TARGETS[name].run(seed)


@pytest.mark.parametrize("name", TARGETS)
def test_mutations_make_no_target_fail(name: str) -> None:
    """A few hundred for each, of a fixed seed."""
    outcome = fuzz.mutate(name, seconds=30.0, seed=1, executions=300)
    assert outcome.failure is None, outcome.failure
    assert outcome.executions == 300


def test_the_same_seed_makes_the_same_inputs() -> None:
    """So that a failure can be repeated; another seed makes others."""

    def made(seed: int) -> list[bytes]:
        return list(islice(inputs([b"abcdef", b"123"], [b"word"], random.Random(seed)), 200))

    assert made(1) == made(1)
    assert made(1) != made(2)
    assert len(set(made(1))) > 100


def test_a_failure_is_found_and_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the input, the seed, and exit code 1."""

    def touchy(data: bytes) -> None:
        assert b"word" not in data or b"x" not in data, "both at once"

    monkeypatch.setitem(TARGETS, "touchy", Target(touchy, [b"x" * 20], [b"word"]))
    monkeypatch.setattr(fuzz, "SLICE_SECONDS", 1.0)
    code = fuzz.main(["--minutes", "0.5", "--seed", "3", "--target", "touchy", "--engine", "mutation"])
    said = capsys.readouterr().out
    assert code == 1
    assert "both at once" in said
    assert "--seed 3" in said
    assert "input: " in said
