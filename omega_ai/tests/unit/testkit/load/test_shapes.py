"""Times follow from the rate exactly, whoever takes which of them."""

import math
import random
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega_ai.testkit.load.shapes import (
    Constant,
    Points,
    Ramp,
    ShapeError,
    Spike,
    Steps,
    Wave,
    curve,
    peak,
    scaled,
    times,
)

rates = st.floats(0, 300)
lengths = st.floats(0.01, 5)


@st.composite
def waves(draw):
    mean = draw(rates)
    return Wave(mean, mean * draw(st.floats(0, 1)), draw(lengths))


@st.composite
def point_shapes(draw):
    ats = sorted(draw(st.lists(st.floats(0, 5), min_size=1, max_size=8)))
    return Points(tuple((at, draw(rates)) for at in ats))


shapes = st.one_of(
    st.builds(Constant, rates),
    st.builds(Ramp, rates, rates, lengths),
    st.builds(lambda r, each: Steps(tuple(r), each), st.lists(rates, min_size=1, max_size=6), lengths),
    st.builds(Spike, rates, rates, lengths, lengths),
    waves(),
    point_shapes(),
)


def numeric(shape, end):
    """The integral by 4,000 small steps: another way than the one under test."""
    steps = 4_000
    rate = curve(shape).rate
    return math.fsum(rate((step + 0.5) * end / steps) for step in range(steps)) * end / steps


@settings(max_examples=40)
@given(shapes, st.floats(0.01, 6))
def test_as_many_events_are_due_as_the_integral_says(shape, end):
    due = list(times(shape, end))
    assert abs(len(due) - curve(shape).integral(end)) <= 0.5 + 1e-6
    assert due == sorted(due)
    assert all(0 <= at < end * 1e9 for at in due)


@settings(max_examples=40)
@given(shapes)
def test_the_integral_is_that_of_the_rate(shape):
    assert curve(shape).integral(3.0) == pytest.approx(numeric(shape, 3.0), abs=1.5, rel=5e-3)


@settings(max_examples=40)
@given(shapes, st.floats(0.01, 5000))
def test_the_inverse_of_the_integral_is_its_inverse(shape, events):
    worked = curve(shape)
    at = worked.inverse(events)
    if math.isfinite(at):
        assert worked.integral(at) == pytest.approx(events, rel=1e-6, abs=1e-5)


@settings(max_examples=40)
@given(shapes, st.floats(0.01, 4), st.integers(1, 7), st.integers(1, 4))
def test_workers_together_have_exactly_all_events(shape, end, clients, workers):
    """Each worker takes those of its clients, who have their turns among all clients."""
    parts = [
        list(times(shape, end, take=range(worker, clients, workers), stride=clients))
        for worker in range(workers)
    ]
    assert sorted(at for part in parts for at in part) == list(times(shape, end))


def test_a_steady_rate_does_not_drift_in_an_hour():
    *_, last = islice(times(Constant(77.0), 3600.0), 0, None, 1000)
    assert last == pytest.approx((277_000 + 0.5) / 77 * 1e9, abs=2)


@pytest.mark.parametrize("shape", [Constant(60.0), Ramp(0, 120, 10), Wave(60, 60, 3)])
def test_poisson_arrivals_have_the_rate_and_its_scatter(shape):
    expected = curve(shape).integral(10.0)
    counts = [len(list(times(shape, 10.0, rng=random.Random(seed)))) for seed in range(20)]
    mean = sum(counts) / len(counts)
    assert mean == pytest.approx(expected, rel=0.06)
    scatter = sum((count - mean) ** 2 for count in counts) / (len(counts) - 1)
    assert 0.4 < scatter / expected < 2.0  # a Poisson number's variance is its mean; a regular one's is 0


def test_poisson_arrivals_are_the_same_for_the_same_seed_and_halved_for_two_workers():
    def some(seed, stride):
        return list(times(Constant(500.0), 20.0, stride=stride, rng=random.Random(seed)))

    assert some(1, 1) == some(1, 1) != some(2, 1)
    assert len(some(1, 2)) == pytest.approx(5000, rel=0.06)


@pytest.mark.parametrize(
    ("shape", "end", "expected"),
    [
        (Constant(10.0), 2.0, 20),
        (Ramp(0.0, 100.0, 2.0), 3.0, 200),
        (Steps((10.0, 20.0, 0.0), 1.0), 9.0, 30),
        (Spike(10.0, 1000.0, 1.0, 0.5), 3.0, 525),
        (Wave(100.0, 100.0, 1.0), 4.0, 400),
        (Points(((1.0, 0.0), (1.0, 50.0), (3.0, 50.0), (3.0, 0.0))), 10.0, 100),
        (Constant(0.0), 5.0, 0),
    ],
)
def test_worked_examples(shape, end, expected):
    assert len(list(times(shape, end))) == expected


def test_a_shape_can_be_turned_up_and_tells_its_peak():
    for shape in (Constant(2.0), Ramp(1, 3, 1), Steps((1.0, 5.0), 1), Spike(1, 9, 1, 1), Wave(4, 2, 1)):
        assert peak(scaled(shape, 10.0), 5.0) == pytest.approx(10 * peak(shape, 5.0))
        assert curve(scaled(shape, 10.0)).integral(2.5) == pytest.approx(10 * curve(shape).integral(2.5))
    assert peak(Steps((1.0, 5.0), 1), 0.5) == 1.0


@pytest.mark.parametrize("rate", [5e-324, 2.3e-308, 1e-200, 1e-9])
def test_what_hardly_ever_happens_does_not_happen(rate):
    """Rates so small that their inverse is beyond all numbers."""
    for shape in (Constant(rate), Wave(rate, 0.0, 1.0), Wave(rate, rate, 0.125), Ramp(0.0, rate, 1.0)):
        assert list(times(shape, 10.0)) == []
        assert list(times(shape, 10.0, rng=random.Random(1))) == []


@pytest.mark.parametrize(
    "shape",
    [
        Constant(-1.0),
        Constant(float("nan")),
        Constant(1e9),
        Steps((), 1.0),
        Points(()),
        Points(((2.0, 1.0), (1.0, 1.0))),
        Wave(10.0, 11.0, 1.0),
        Wave(10.0, 5.0, 0.0),
        Ramp(1.0, 2.0, -1.0),
    ],
)
def test_what_cannot_be_is_refused(shape):
    with pytest.raises(ShapeError):
        curve(shape)
