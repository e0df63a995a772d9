"""Toxics in a row: order, shares, windows, changes while connections are open."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega_ai.testkit.faults import BadFault, build
from omega_ai.testkit.faults.chain import Faults
from omega_ai.testkit.faults.model import Signal, Window, place
from omega_ai.tests.unit.testkit.faults.driving import chain_of, data_of, drive, toxic


def near(expected):
    return pytest.approx(expected, abs=1e-6)


def test_delays_add_up():
    chain = chain_of(
        toxic("latency", latency=100), msgspec.structs.replace(toxic("latency", latency=50), name="b")
    )
    assert drive(chain, [(0.0, b"x")]) == [(near(0.15), b"x")]


def test_a_toxic_works_on_its_direction_alone():
    assert chain_of(toxic("latency", "upstream", latency=100), stream="downstream").idle


def test_toxicity_is_the_share_of_connections_and_grows_without_changing_its_mind():
    hit = {}
    for share in (0.3, 0.6):
        faults = Faults(seed=7)
        faults.add(place(build("latency", {}), toxicity=share))
        hit[share] = {number for number in range(1000) if not faults.circuit(number, 0.0).downstream.idle}
    assert 250 < len(hit[0.3]) < 350
    assert 550 < len(hit[0.6]) < 650
    assert hit[0.3] < hit[0.6]


def test_faults_of_one_connection_do_not_depend_on_others():
    def out(connections):
        faults = Faults(seed=3)
        faults.add(toxic("latency", latency=50, jitter=50))
        circuits = {number: faults.circuit(number, 0.0).downstream for number in connections}
        return drive(circuits[5], [(0.0, b"x"), (1.0, b"y")])

    assert out([5]) == out([9, 1, 5, 2])


def test_in_a_window_the_fault_works_and_at_its_end_gives_back_what_it_kept():
    faults = Faults(origin=100.0)
    faults.add(place(build("latency", {"latency": 900}), window=Window(start=1, duration=0.5)))
    chain = faults.circuit(0, 100.0).downstream
    sent = [(100.5, b"before"), (101.0, b"in"), (101.4, b"it"), (101.5, b"after")]
    assert drive(chain, sent) == [
        (100.5, b"before"),
        (near(101.5), b"in"),
        (near(101.5), b"it"),
        (101.5, b"after"),
    ]


def test_a_window_that_comes_again_does():
    faults = Faults()
    faults.add(place(build("blackhole", {}), window=Window(start=1, duration=1, every=3)))
    chain = faults.circuit(0, 0.0).downstream
    out = drive(chain, [(at / 2, b"%d." % at) for at in range(20)], until=20)
    assert data_of(out) == b"".join(b"%d." % at for at in range(20))
    assert {at for at, _ in out if at in (1.0, 1.5, 4.0, 4.5, 7.0, 7.5)} == set()


@given(
    start=st.floats(0, 1e4),
    duration=st.floats(1e-3, 1e3),
    extra=st.floats(1e-3, 1e3),
    origin=st.floats(0, 1e6),
)
def test_waking_at_every_edge_turns_the_window_on_and_off_in_turn(start, duration, extra, origin):
    """Whatever the rounding: no edge is missed, and none comes twice."""
    faults = Faults(origin=origin)
    window = Window(start=start, duration=duration, every=duration + extra)
    faults.add(place(build("blackhole", {}), window=window))
    chain = faults.circuit(0, origin).downstream
    states = [chain.idle]
    now = origin
    for _ in range(9):
        wake = chain.next_wake()
        assert wake is not None
        assert wake >= now
        now = wake
        chain.tick(now)
        states.append(chain.idle)
    assert all(a is not b for a, b in itertools.pairwise(states))


def test_a_timeout_whose_window_ends_closes_nothing():
    faults = Faults()
    faults.add(place(build("timeout", {}), window=Window(start=0, duration=1)))
    chain = faults.circuit(0, 0.0).downstream
    assert drive(chain, [(0.5, b"lost"), (1.5, b"kept")]) == [(1.5, b"kept")]


def test_a_toxic_added_while_bytes_are_under_way_stands_behind_the_others():
    faults = Faults()
    faults.add(toxic("latency", latency=100))
    circuit = faults.circuit(0, 0.0)
    circuit.downstream.feed(b"abcdef", 0.0)
    faults.add(toxic("limit_data", bytes=3))
    circuit.refresh(0.05)
    assert drive(circuit.downstream, []) == [(near(0.1), b"abc"), (near(0.1), Signal.CLOSE)]


def test_an_update_begins_anew_with_what_was_kept_on_its_way():
    faults = Faults()
    faults.add(toxic("latency", latency=100))
    circuit = faults.circuit(0, 0.0)
    circuit.downstream.feed(b"a", 0.0)
    faults.update(toxic("latency", latency=10))
    assert circuit.refresh(0.05) == {"upstream": [], "downstream": [b"a"]}
    assert drive(circuit.downstream, [(0.06, b"b")]) == [(near(0.07), b"b")]


def test_names_are_taken_once():
    faults = Faults()
    faults.add(toxic("latency"))
    with pytest.raises(BadFault, match="there is a toxic 'latency_downstream' already"):
        faults.add(toxic("latency"))
    with pytest.raises(BadFault, match="there is no toxic 'other'"):
        faults.remove("other")


def test_a_window_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="shorter than that period"):
        Window(start=0, duration=5, every=5)


@pytest.mark.parametrize(("stream", "toxicity"), [("sideways", 1.0), ("upstream", 1.1), ("upstream", -0.1)])
def test_a_place_that_cannot_be_is_refused(stream, toxicity):
    with pytest.raises(BadFault):
        place(build("latency", {}), stream=stream, toxicity=toxicity)
