"""The books: each message in one column, however the run was spread."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega_ai.core.histogram import Histogram
from omega_ai.testkit.load import tally as module
from omega_ai.testkit.load.tally import (
    Accounts,
    Counts,
    Delivery,
    Offender,
    Tally,
    add_window,
    coarsen,
    empty_window,
    merge,
    settle,
    worst,
)


def window(start, *, length=1.0, sent=0, latencies=(), open_=1):
    made = empty_window(start, length)
    made.counts = Counts(sent=sent)
    made.latency = Histogram.of(latencies)
    made.open = open_
    return made


def tally(windows, *, accounts=None, offenders=(), duration=3.0):
    total = empty_window(0.0, 0.0)
    for one in windows:
        add_window(total, one)
    return Tally(
        started_utc_ns=5,
        duration_s=duration,
        total=total,
        windows=list(windows),
        window_s=1.0,
        accounts=accounts or Accounts(),
        offenders=list(offenders),
        parts=[],
    )


@given(st.lists(st.lists(st.integers(0, 10**9), max_size=5), min_size=2, max_size=6))
def test_parts_joined_are_the_whole(rows):
    """Each row is what one worker saw in one second; together they are as if one had seen all."""
    parts = [tally([window(0.0, sent=len(row), latencies=row), window(1.0, sent=1)]) for row in rows]
    joined = merge(parts)
    everything = [value for row in rows for value in row]
    assert joined.total.latency == Histogram.of(everything)
    assert joined.windows[0].latency == joined.total.latency
    assert joined.windows[0].counts.sent == len(everything)
    assert joined.windows[1].counts.sent == len(rows)
    assert joined.windows[1].open == len(rows)


def test_a_long_run_keeps_few_windows_and_every_count(monkeypatch):
    monkeypatch.setattr(module, "MAX_WINDOWS", 10)
    windows = [window(float(second), sent=second, open_=second) for second in range(55)]
    joined, length = coarsen(windows, 1.0)
    assert len(joined) <= 10
    assert length == 8.0
    assert sum(one.counts.sent for one in joined) == sum(range(55))
    assert joined[0].open == 7
    assert [one.start_s for one in joined] == [8.0 * place for place in range(len(joined))]


def test_windows_of_two_lengths_are_joined_at_the_longer(monkeypatch):
    monkeypatch.setattr(module, "MAX_WINDOWS", 2)
    short = tally([window(float(second), sent=1) for second in range(4)])
    long = tally([window(float(second), sent=10) for second in range(4)])
    long.windows, long.window_s = coarsen(long.windows, 1.0)
    assert [one.counts.sent for one in merge([short, long]).windows] == [22, 22]


def test_a_phase_is_the_windows_in_it():
    made = tally([window(float(second), sent=second) for second in range(6)])
    assert made.between(1.0, 4.0).counts.sent == 1 + 2 + 3
    assert made.between(10.0, 12.0).counts.sent == 0


def simulate(rng, senders, listeners):
    """Publishers in one process and listeners in another; returns their accounts and what is true."""
    sent = {sender: rng.randrange(0, 30) for sender in range(senders)}
    there, here = Accounts(sent_by=dict(sent)), Accounts()
    truth = {"due": 0, "lost": 0, "corrupted": 0}
    for _ in range(listeners):
        here.present += 1
        for sender, count in sent.items():
            fate = [rng.choice("dddddlc") for _ in range(count)]
            truth["due"] += count
            truth["lost"] += fate.count("l")
            truth["corrupted"] += fate.count("c")
            here.corrupted += fate.count("c")
            came = [number for number, what in enumerate(fate) if what == "d"]
            if came:
                upto = came[-1] + 1
                here.due[sender] = here.due.get(sender, 0) + upto
                here.missing[sender] = here.missing.get(sender, 0) + upto - len(came)
                row = here.reached.setdefault(sender, {})
                row[upto] = row.get(upto, 0) + 1
                here.present_reached[sender] = here.present_reached.get(sender, 0) + 1
    return there, here, truth


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 5))
def test_what_publishers_sent_and_listeners_saw_is_settled_exactly(seed, senders, listeners):
    """Loss in the middle, at the head, at the tail, and of everything; damage is no loss."""
    there, here, truth = simulate(random.Random(seed), senders, listeners)
    there.add(here)
    delivery = settle(there, Counts())
    assert (delivery.due, delivery.lost, delivery.corrupted) == (
        truth["due"],
        truth["lost"],
        truth["corrupted"],
    )
    assert delivery.delivered == truth["due"] - truth["lost"] - truth["corrupted"]
    assert delivery.unknown == 0


def test_what_a_publisher_sent_as_its_connection_ended_is_not_called_lost():
    accounts = Accounts(
        sent_by={7: 100}, uncertain={7: 3}, due={7: 200}, missing={7: 10}, reached={7: {100: 2}}, present=0
    )
    delivery = settle(accounts, Counts())
    assert (delivery.lost, delivery.unknown) == (10 - 6, 6)


def test_what_was_on_its_way_to_a_listener_is_due_and_unknown():
    delivery = settle(Accounts(in_flight=4, echo=Delivery(due=5, delivered=5)), Counts(duplicated=2))
    assert (delivery.due, delivery.delivered, delivery.unknown, delivery.duplicated) == (9, 5, 4, 2)


def test_the_worst_are_named_of_every_kind():
    offenders = [Offender(client=f"c{n}", kind="lost", count=n) for n in range(30)]
    offenders.append(Offender(client="x", kind="corrupted", count=1))
    kept = worst(offenders)
    assert [item.client for item in kept] == ["x", *(f"c{n}" for n in range(29, 19, -1))]
    one, other = tally([], offenders=offenders[:15]), tally([], offenders=offenders[15:])
    assert merge([one, other]).offenders == kept


def test_nothing_cannot_be_merged():
    with pytest.raises(ValueError, match="nothing"):
        merge([])
