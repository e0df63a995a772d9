"""Trades of one market: in order, each once, and holes seen."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from omega_ai.data_feed.exchanges.sequence import Gap, TradeSequence
from omega_ai.data_feed.market import Trade

SECOND = 1_000_000_000


def trade(number: int | str, at_ns: int = SECOND) -> Trade:
    return Trade("v", "BTC-USD", str(number), Decimal(1), Decimal(1), "buy", at_ns, at_ns)


def ids(trades: list[Trade]) -> list[int]:
    return [int(one.trade_id) for one in trades]


def test_a_snapshot_after_a_reconnect_brings_only_what_is_new():
    """The first trade sets the start; what came before is dropped and counted."""
    sequence = TradeSequence(consecutive=True)
    out = [number for offered in (5, 6, 7, 4, 5, 6, 7, 8) for number in ids(sequence.offer(trade(offered)))]
    assert out == [5, 6, 7, 8]
    assert sequence.doubles == 4
    assert sequence.gaps == 0


def test_later_trades_wait_until_the_gap_is_filled():
    """So that nobody downstream sees trades out of order."""
    sequence = TradeSequence(consecutive=True)
    assert ids(sequence.offer(trade(5))) == [5]
    assert sequence.offer(trade(9)) == []
    assert sequence.offer(trade(8)) == []
    assert sequence.gap == Gap(6, 7, SECOND, SECOND)
    assert sequence.gap.missing == 2
    assert ids(sequence.fill([trade(7), trade(5), trade(6), trade(12)])) == [6, 7, 8, 9]
    assert sequence.gap is None
    assert (sequence.gaps, sequence.lost, sequence.doubles) == (1, 0, 0)


def test_a_fill_that_is_not_whole_leaves_the_rest_open():
    """Part of the gap closes; giving up then counts what is truly lost."""
    sequence = TradeSequence(consecutive=True)
    sequence.offer(trade(5))
    sequence.offer(trade(10))
    assert ids(sequence.fill([trade(6), trade(8)])) == [6]
    assert ids(sequence.give_up()) == [8, 10]
    assert sequence.lost == 2


def test_without_hold_nothing_waits():
    """Where a gap cannot be filled, holding back would only make it worse."""
    sequence = TradeSequence(consecutive=True, hold=False)
    sequence.offer(trade(5))
    assert ids(sequence.offer(trade(9))) == [9]
    assert (sequence.gaps, sequence.lost) == (1, 3)


def test_an_aggregate_covers_the_ids_that_it_stands_for():
    """A trade of three matches with id 8 follows one with id 5."""
    sequence = TradeSequence(consecutive=True)
    sequence.offer(trade(5))
    assert ids(sequence.offer(trade(8), count=3)) == [8]
    assert sequence.offer(trade(12), count=2) == []
    assert sequence.gap == Gap(9, 10, SECOND, SECOND)


def test_numbers_that_begin_anew_are_followed():
    """A venue (or one garbled id) must not silence a feed for ever: lower ids that are later count."""
    sequence = TradeSequence(consecutive=True, hold=False)
    sequence.offer(trade(10**15))
    assert sequence.offer(trade(4)) == []
    assert ids(sequence.offer(trade(5, at_ns=3 * SECOND))) == [5]
    assert ids(sequence.offer(trade(6, at_ns=3 * SECOND))) == [6]
    assert sequence.lost == 0


def test_what_waits_is_bounded():
    """A gap that is never filled is given up once 10,000 trades wait."""
    sequence = TradeSequence(consecutive=True)
    sequence.offer(trade(1))
    out = [one for number in range(3, 10_005) for one in sequence.offer(trade(number))]
    assert ids(out) == list(range(3, 10_004 + 1))
    assert sequence.lost == 1


def test_ids_that_only_tell_apart():
    """Without consecutive ids (or with names for ids), doubles are dropped and order is the venue's."""
    for consecutive in (False, True):
        sequence = TradeSequence(consecutive=consecutive)
        out = [one.trade_id for name in ("b", "a", "b", "c") for one in sequence.offer(trade(name))]
        assert out == ["b", "a", "c"]
        assert sequence.doubles == 1


@given(st.lists(st.integers(1, 30), min_size=1), st.booleans())
def test_output_is_ascending_and_without_doubles_whatever_comes(numbers, hold):
    """And everything offered is either out, or a double, or older than the start."""
    sequence = TradeSequence(consecutive=True, hold=hold)
    out = [number for offered in numbers for number in ids(sequence.offer(trade(offered)))]
    out += ids(sequence.give_up())
    assert out == sorted(set(out))
    assert len(out) + sequence.doubles == len(numbers)
    assert sequence.lost == out[-1] - out[0] + 1 - len(out)


@given(
    st.lists(st.sampled_from(["trade", "miss", "interrupt", "fill", "give up"]), max_size=60),
    st.integers(1, 3),
)
def test_without_counting_ids_interruptions_lose_nothing_that_the_list_reaches(steps, step):
    """Trades missed are after an interruption; each fill lists everything so far. Order holds in any case."""
    sequence = TradeSequence(consecutive=False)
    happened: list[Trade] = []
    out: list[Trade] = []
    interrupted = gave_up = False
    for what in [*steps, "fill"]:
        if what in ("trade", "miss"):
            happened.append(trade((len(happened) + 1) * step, at_ns=len(happened) * SECOND))
        if what == "trade" or (what == "miss" and not interrupted):
            out += sequence.offer(happened[-1])
        elif what == "interrupt":
            sequence.interrupted()
            interrupted = sequence.gap is not None  # before the first trade there is nothing to miss
        elif what == "fill" and sequence.gap is not None:
            out += sequence.fill(happened)
            interrupted = False
        elif what == "give up" and sequence.gap is not None:
            out += sequence.give_up()
            gave_up, interrupted = True, False
    assert ids(out) == sorted(set(ids(out)))
    if not gave_up:
        assert ids(out) == ids(happened)


def test_names_for_ids_are_filled_by_time():
    """UUIDs say nothing of order."""
    sequence = TradeSequence(consecutive=False)
    sequence.offer(trade("a", at_ns=1))
    sequence.interrupted()
    assert sequence.offer(trade("d", at_ns=4)) == []
    out = sequence.fill([trade("a", at_ns=1), trade("b", at_ns=2), trade("c", at_ns=3), trade("d", at_ns=4)])
    assert [one.trade_id for one in out] == ["b", "c", "d"]
    assert (sequence.gaps, sequence.doubtful) == (1, 0)


def test_an_interruption_that_is_given_up_leaves_a_doubt():
    """What waited goes out, in the order in which it came."""
    sequence = TradeSequence(consecutive=False)
    sequence.offer(trade(1))
    sequence.interrupted()
    sequence.offer(trade(5))
    assert ids(sequence.give_up()) == [5]
    assert (sequence.gaps, sequence.doubtful) == (1, 1)
    assert sequence.gap is None
