"""The check itself: each kind of anomaly is found, and what is right is let pass."""

from __future__ import annotations

import pytest

from omega_ai.tests.faults.record import Place, Truth, Witness

TRADES = b"trades"


def trade(seq: int, number: int, epoch: bytes = b"e") -> bytes:
    """A message as it comes."""
    return b'{"type":"trades","epoch":"%b","seq":%d,"trade_id":"%d"}' % (epoch, seq, number)


class Feed:
    """A witness of one channel, already subscribed at ``e``, 0."""

    def __init__(self) -> None:
        self.truth = Truth()
        self.witness = Witness("w", (TRADES,), self.truth)
        self.witness.asked(TRADES, 1)
        self.witness.subscribed(TRADES, 1, Place(b"e", 0), recovered=False)

    def see(self, seq: int, number: int, epoch: bytes = b"e") -> None:
        self.witness.message(TRADES, Place(epoch, seq), trade(seq, number, epoch))

    def resume(self, top: Place, *, recovered: bool) -> None:
        self.witness.asked(TRADES, 2)
        self.witness.subscribed(TRADES, 2, top, recovered=recovered)

    def found(self) -> dict[str, int]:
        return {kind: count for kind, count in self.truth.anomalies.items() if count}


@pytest.fixture
def feed() -> Feed:
    return Feed()


def test_an_unbroken_sequence_passes(feed: Feed) -> None:
    """Over a reconnect as well, when what was missed follows."""
    feed.see(1, 10)
    feed.see(2, 11)
    feed.witness.disconnected()
    feed.resume(Place(b"e", 4), recovered=True)
    feed.see(3, 12)
    feed.see(4, 13)
    feed.witness.finish({TRADES: Place(b"e", 4)}, 13)
    assert feed.truth.passed


def test_a_run_that_saw_nothing_is_no_pass(feed: Feed) -> None:
    """No message, no proof."""
    assert not feed.truth.passed


def test_a_gap_is_lost(feed: Feed) -> None:
    """As many as are missing."""
    feed.see(1, 1)
    feed.see(4, 4)
    assert feed.found() == {"lost": 4}, "two by seq, two by number"


def test_a_tail_that_never_comes_is_lost(feed: Feed) -> None:
    """Nothing after it shows the gap; the end of the run does."""
    feed.see(1, 1)
    feed.witness.finish({TRADES: Place(b"e", 2)}, 1)
    assert feed.found() == {"lost": 1}


def test_a_trade_that_was_never_published_is_lost(feed: Feed) -> None:
    """By seq all is well; the exchange's own numbers tell."""
    feed.see(1, 1)
    feed.see(2, 3)
    assert feed.found() == {"lost": 1}


def test_the_same_place_again_is_doubled(feed: Feed) -> None:
    """Also when it is older."""
    feed.see(1, 1)
    feed.see(2, 2)
    feed.see(2, 2)
    feed.see(1, 1)
    assert feed.found() == {"doubled": 2}


def test_the_same_trade_at_two_places_is_doubled(feed: Feed) -> None:
    """A publication taken twice gets two seqs."""
    feed.see(1, 1)
    feed.see(2, 2)
    feed.see(3, 2)
    assert feed.found() == {"doubled": 1}


def test_a_late_one_is_reordered_and_not_lost(feed: Feed) -> None:
    """It came after its successor."""
    feed.truth.anomalies.clear()
    feed.witness.message(TRADES, Place(b"e", 2), trade(2, 1))
    feed.witness.message(TRADES, Place(b"e", 1), trade(1, 1))
    assert feed.found() == {"reordered": 1}


def test_two_texts_at_one_place_are_unexplained(feed: Feed) -> None:
    """A seq used twice, seen by two clients."""
    other = Witness("o", (TRADES,), feed.truth)
    other.asked(TRADES, 1)
    other.subscribed(TRADES, 1, Place(b"e", 0), recovered=False)
    feed.see(1, 1)
    other.message(TRADES, Place(b"e", 1), trade(1, 2))
    assert feed.found() == {"unexplained": 1}


def test_a_broadcast_at_two_places_is_doubled(feed: Feed) -> None:
    """Its publisher numbered it once."""
    for seq in (1, 2):
        feed.truth.text(b"broadcast", Place(b"e", seq), b'{"type":"broadcast","n":7}')
    assert feed.found() == {"doubled": 1}


@pytest.mark.parametrize("how", ["told", "unasked", "epoch"])
def test_a_break_is_unexplained_unless_the_history_was_lost(how: str) -> None:
    """Told plainly or not: without a reason it is an anomaly, with one it is counted as explained."""
    for lost in (False, True):
        feed = Feed()
        feed.see(1, 1)
        if lost:
            feed.truth.lose(TRADES, b"e")
        if how == "told":
            feed.resume(Place(b"f", 0), recovered=False)
        elif how == "unasked":
            feed.witness.subscribed(TRADES, None, Place(b"f", 0), recovered=False)
        feed.see(1, 9, b"f")
        feed.see(2, 10, b"f")
        assert feed.found() == ({} if lost else {"unexplained": 1, "lost": 7})
        assert bool(feed.truth.explained) == lost


def test_the_latest_state_after_a_break_is_not_doubled(feed: Feed) -> None:
    """``recovered: false`` is followed by the newest message, at the position just told."""
    feed.truth.lose(TRADES, b"e")
    feed.resume(Place(b"f", 5), recovered=False)
    feed.see(5, 50, b"f")
    feed.see(6, 51, b"f")
    assert feed.found() == {}


def test_what_comes_before_the_answer_is_not_looked_at(feed: Feed) -> None:
    """It comes once more after ``subscribed``."""
    feed.see(1, 1)
    feed.witness.asked(TRADES, 2)
    feed.see(2, 2)
    feed.witness.subscribed(TRADES, 2, Place(b"e", 2), recovered=True)
    feed.see(2, 2)
    assert feed.found() == {}
