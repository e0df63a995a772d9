"""Coinbase Advanced Trade: every documented message becomes the right event."""

from __future__ import annotations

from decimal import Decimal

import pytest

from omega_ai.data_feed.exchanges.coinbase import VENUE, parse, parse_rest_trades
from omega_ai.data_feed.exchanges.events import (
    Ack,
    Heartbeat,
    Ignored,
    Refused,
    SequenceNumber,
    TradeSnapshot,
    Unparseable,
)
from omega_ai.data_feed.market import Quote, Trade, Volume

ROW = (
    b'{"product_id":"BTC-USD","trade_id":"%d","price":"61800.10","size":"0.0050",'
    b'"time":"2026-01-02T03:04:05.678901Z","side":"%b"}'
)
ROW_NS = 1_767_323_045_678_901_000


def trades(kind: bytes, *rows: bytes) -> bytes:
    return (
        b'{"channel":"market_trades","client_id":"","timestamp":"2026-01-02T03:04:06.123456789Z","sequence_num":8,'
        b'"events":[{"type":"%b","trades":[%b]}]}' % (kind, b",".join(rows))
    )


def ticker(**members: str) -> bytes:
    body = "".join(f',"{name}":"{value}"' for name, value in members.items())
    return (
        '{"channel":"ticker","client_id":"","timestamp":"2026-01-02T03:04:05.678901Z","sequence_num":3,'
        f'"events":[{{"type":"update","tickers":[{{"type":"ticker","product_id":"BTC-USD"{body}}}]}}]}}'
    ).encode()


@pytest.mark.parametrize(
    ("maker", "taker"), [(b"SELL", "buy"), (b"BUY", "sell"), (b"UNKNOWN_ORDER_SIDE", None)]
)
def test_the_makers_side_is_turned_round(maker, taker):
    """The venue documents the maker's side; a trade here has the taker's, or none where none is known."""
    number, trade = parse(trades(b"update", ROW % (7, maker)), 9)
    assert number == SequenceNumber(8)
    assert trade == Trade(
        "coinbase", "BTC-USD", "7", Decimal("61800.10"), Decimal("0.0050"), taker, ROW_NS, 9
    )


def test_newest_first_becomes_oldest_first():
    """The venue lists trades backwards; events are in the order in which things happened."""
    _, *found = parse(trades(b"update", ROW % (9, b"BUY"), ROW % (8, b"BUY")), 1)
    assert [trade.trade_id for trade in found] == ["8", "9"]


def test_a_snapshot_says_that_it_is_one():
    """Upon each subscribe the venue repeats recent trades: they must not be counted again."""
    _, snapshot = parse(trades(b"snapshot", ROW % (9, b"BUY"), ROW % (8, b"BUY")), 1)
    assert isinstance(snapshot, TradeSnapshot)
    assert [trade.trade_id for trade in snapshot.trades] == ["8", "9"]


def test_a_ticker_gives_the_top_of_the_book_and_the_volume():
    """With the time of the message."""
    raw = ticker(
        best_bid="1.10",
        best_bid_quantity="2",
        best_ask="1.20",
        best_ask_quantity="3",
        volume_24_h="4.5",
        price="1",
    )
    assert parse(raw, 5) == [
        SequenceNumber(3),
        Quote("coinbase", "BTC-USD", Decimal("1.10"), Decimal(2), Decimal("1.20"), Decimal(3), ROW_NS, 5),
        Volume("coinbase", "BTC-USD", Decimal("4.5"), ROW_NS, 5),
    ]


@pytest.mark.parametrize("bid", ["", "0"])
def test_an_empty_side_is_no_quote(bid):
    """Half a book has no middle."""
    assert parse(ticker(best_bid=bid, best_ask="2", volume_24_h=""), 5) == [SequenceNumber(3)]


@pytest.mark.parametrize(
    ("raw", "events"),
    [
        (
            b'{"channel":"subscriptions","sequence_num":1,"events":[{"subscriptions":{"ticker":["BTC-USD"]}}]}',
            [SequenceNumber(1), Ack("ticker:BTC-USD"), Ack("ticker")],
        ),
        (
            b'{"channel":"heartbeats","sequence_num":2,"events":[{"heartbeat_counter":3}]}',
            [SequenceNumber(2), Heartbeat()],
        ),
        (b'{"channel":"candles","sequence_num":4,"events":[]}', [SequenceNumber(4), Ignored("candles")]),
        (b'{"type":"error","message":"channel not found"}', [Refused(None, "channel not found")]),
    ],
)
def test_words_about_the_connection(raw, events):
    """Each message with a number says it, so that a lost one shows."""
    assert list(parse(raw, 1)) == events


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"channel":"market_trades"}',
        trades(b"update", ROW.replace(b"61800.10", b"NaN") % (1, b"BUY")),
        trades(b"update", ROW.replace(b"2026-01-02T03:04:05.678901Z", b"yesterday") % (1, b"BUY")),
        trades(b"update", ROW.replace(b"2026", b"1026") % (1, b"BUY")),
        trades(b"sideways", ROW % (1, b"BUY")),
        ticker(best_bid="1_0", best_ask="2"),
    ],
)
def test_what_is_not_documented_is_refused(raw):
    """One refusal with its reason; no exception."""
    (event,) = parse(raw, 1)
    assert isinstance(event, Unparseable)
    assert event.reason


def test_rest_trades_are_the_same_trades_in_order():
    """The product ticker's ``trades`` have the same members, newest first."""
    raw = b'{"trades":[%b,%b],"best_bid":"1"}' % (ROW % (10, b"SELL"), ROW % (9, b"SELL"))
    assert [(trade.trade_id, trade.side) for trade in parse_rest_trades(raw, 1)] == [
        ("9", "buy"),
        ("10", "buy"),
    ]


def test_the_description_subscribes_to_every_channel():
    """One message a channel, as the venue demands; and it stays below its 8 messages a second."""
    for channel in VENUE.channels:
        assert any(f'"{channel.name}"'.encode() in message for message in VENUE.subscribe)
    assert len(VENUE.subscribe) <= VENUE.limits.messages_per_s
