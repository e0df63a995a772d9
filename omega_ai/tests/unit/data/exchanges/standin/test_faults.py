"""Misbehaviour as it is typed, and as it is planned."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from omega_ai.data_feed.exchanges.standin.faults import KINDS, BadFault, Fault, parse_fault, plan


def test_a_fault_is_written_kind_at_start_plus_duration():
    """In seconds."""
    assert parse_fault("stall@10+5") == Fault("stall", 10.0, 5.0)
    assert parse_fault("double@0+0.5") == Fault("double", 0.0, 0.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nap@1+1", "unknown misbehaviour 'nap'; there are refuse"),
        ("stall", "KIND@START"),
        ("stall@1", "KIND@START"),
        ("stall@1+", "KIND@START"),
        ("stall@-1+1", "KIND@START"),
        ("stall@1+0", "KIND@START"),
        ("stall@nan+1", "KIND@START"),
        ("stall@1+inf", "KIND@START"),
    ],
)
def test_a_mistake_is_named(text, words):
    """With how it is written."""
    with pytest.raises(BadFault, match=words):
        parse_fault(text)


def test_a_plan_has_every_kind_and_one_at_a_time():
    """The same seed gives the same plan; it ends in time."""
    faults = plan(random.Random(3), 600.0)
    assert faults == plan(random.Random(3), 600.0)
    assert {fault.kind for fault in faults} == set(KINDS)
    for before, after in pairwise(faults):
        assert after.start_s >= before.start_s + before.duration_s
    assert faults[-1].start_s + faults[-1].duration_s <= 600.0
    counts = [sum(fault.kind == kind for fault in faults) for kind in KINDS]
    assert max(counts) - min(counts) <= 1
