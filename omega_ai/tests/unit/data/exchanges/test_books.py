"""The top of a book that comes as changes."""

from __future__ import annotations

from decimal import Decimal

from omega_ai.data_feed.exchanges.books import TopOfBook
from omega_ai.data_feed.exchanges.events import BookChange


def change(bids, asks, *, whole=False, update_id=None, depth=10) -> BookChange:
    def levels(side):
        return tuple((Decimal(price), Decimal(size)) for price, size in side)

    return BookChange("v", "BTC-USD", whole, levels(bids), levels(asks), depth, update_id, 5, 6)


def top(quote):
    assert quote is not None
    return int(quote.bid), int(quote.bid_size), int(quote.ask), int(quote.ask_size)


def test_levels_come_change_and_go():
    """A size of 0 takes a level away; the next one is then the best."""
    book = TopOfBook()
    assert top(book.apply(change([(10, 1), (9, 2)], [(11, 3), (12, 4)], whole=True))) == (10, 1, 11, 3)
    assert top(book.apply(change([(10, 5)], []))) == (10, 5, 11, 3)
    assert top(book.apply(change([(10, 0)], [(11, 0)]))) == (9, 2, 12, 4)


def test_a_change_below_the_top_is_no_quote():
    """Nobody asked for it."""
    book = TopOfBook()
    book.apply(change([(10, 1)], [(11, 3)], whole=True))
    assert book.apply(change([(8, 1)], [(14, 1)])) is None


def test_before_the_whole_book_there_is_none():
    """A change of what is not known means nothing."""
    assert TopOfBook().apply(change([(10, 1)], [(11, 1)])) is None


def test_a_lost_change_drops_the_book_until_the_next_whole_one():
    """A wrong book is worse than none."""
    book = TopOfBook()
    book.apply(change([(10, 1)], [(11, 1)], whole=True, update_id=7))
    assert book.apply(change([(10, 2)], [], update_id=8)) is not None
    assert book.apply(change([(10, 2)], [], update_id=8)) is None  # repeated
    assert book.gaps == 0
    assert book.apply(change([(10, 3)], [], update_id=10)) is None
    assert book.gaps == 1
    assert book.apply(change([(10, 3)], [], update_id=11)) is None
    assert book.apply(change([(20, 3)], [(21, 1)], whole=True, update_id=1)) is not None


def test_levels_beyond_the_depth_are_forgotten():
    """A venue that cuts its book does not say which level fell off."""
    book = TopOfBook()
    book.apply(change([(10, 1), (9, 1)], [(11, 1), (12, 1)], whole=True, depth=2))
    book.apply(change([(8, 1)], [(13, 1)], depth=2))
    assert top(book.apply(change([(10, 0), (9, 0), (7, 1)], [], depth=2)))[0] == 7


def test_an_empty_side_is_no_quote():
    """Half a book has no middle."""
    book = TopOfBook()
    assert book.apply(change([], [(11, 1)], whole=True)) is None
