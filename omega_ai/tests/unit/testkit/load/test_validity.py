"""A generator that fell behind proves nothing, and says so; one that did not is believed."""

import pytest

from omega_ai.core.histogram import Histogram
from omega_ai.testkit.load.plan import Group, LoadPlan, Role
from omega_ai.testkit.load.shapes import Constant
from omega_ai.testkit.load.tally import Counts, empty_window
from omega_ai.testkit.load.validity import problems_of
from omega_ai.testkit.profile import load_profile

MS = 1_000_000
PLAN = LoadPlan(
    urls=("ws://127.0.0.1:1/",),
    profile=load_profile("echo"),
    groups=(Group(role=Role.ECHO, clients=1, messages=Constant(10.0)),),
    duration_s=1.0,
)


def seen(*, intended=1000, sent=1000, skipped=0, unsent=0, received=1000, lag=0.1, loop=0.1, latency=1.0):
    window = empty_window(0.0, 1.0)
    window.counts = Counts(intended=intended, sent=sent, skipped=skipped, unsent=unsent, received=received)
    window.send_lag = Histogram.of([round(lag * MS)] * 100)
    window.loop_lag = Histogram.of([round(loop * MS)] * 100)
    window.latency = Histogram.of([round(latency * MS)] * 100)
    return window


@pytest.mark.parametrize(
    "window",
    [
        seen(),
        seen(skipped=10, sent=990),
        seen(lag=9.9),
        seen(lag=40, latency=900),  # a twentieth of what was measured does no harm
        seen(unsent=900, sent=100, received=100),  # the server's doing
        seen(intended=0, sent=0, received=0),
    ],
)
def test_a_generator_that_kept_up_is_believed(window):
    assert problems_of(PLAN, window) == []


@pytest.mark.parametrize(
    ("window", "word"),
    [
        (seen(skipped=11, sent=989), "did not get to 11"),
        (seen(lag=10.1), "sent up to 10.1 ms late"),
        (seen(lag=50, latency=900), "sent up to 50"),
        (seen(loop=30), "read up to 30"),
        (seen(sent=0, received=0), "nothing was sent"),
    ],
)
def test_one_that_did_not_is_not(window, word):
    found = problems_of(PLAN, window)
    assert len(found) == 1
    assert word in found[0]
