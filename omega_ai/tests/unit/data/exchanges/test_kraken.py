"""Kraken v2: every documented message becomes the right event."""

from __future__ import annotations

from decimal import Decimal

import pytest

from omega_ai.data_feed.exchanges.events import (
    Ack,
    BookChange,
    Heartbeat,
    Ignored,
    Refused,
    TradeSnapshot,
    Unparseable,
)
from omega_ai.data_feed.exchanges.kraken import VENUE, parse, parse_rest_trades
from omega_ai.data_feed.market import Quote, Trade, Volume

ROW = (
    b'{"symbol":"BTC/USD","side":"sell","price":61800.10,"qty":0.00500000,'
    b'"ord_type":"limit","trade_id":7,"timestamp":"2026-01-02T03:04:05.678901Z"}'
)
ROW_NS = 1_767_323_045_678_901_000


def trades(kind: bytes, *rows: bytes) -> bytes:
    return b'{"channel":"trade","type":"%b","data":[%b]}' % (kind, b",".join(rows))


def test_json_numbers_keep_their_digits():
    """61800.10 stays 61800.10: the book's checksum and every reader's eye depend on the text."""
    (trade,) = parse(trades(b"update", ROW), 9)
    assert trade == Trade("kraken", "BTC-USD", "7", Decimal("61800.10"), Decimal("0.005"), "sell", ROW_NS, 9)
    assert (str(trade.price), str(trade.size)) == ("61800.10", "0.00500000")


def test_a_snapshot_says_that_it_is_one():
    """Upon each subscribe the venue repeats the last 50 trades: they must not be counted again."""
    (snapshot,) = parse(trades(b"snapshot", ROW, ROW), 9)
    assert isinstance(snapshot, TradeSnapshot)
    assert len(snapshot.trades) == 2


@pytest.mark.parametrize(
    ("stamp", "timestamp_ns"), [(b"", None), (b',"timestamp":"2026-01-02T03:04:05.678901Z"', ROW_NS)]
)
def test_a_ticker_gives_the_top_of_the_book_and_the_volume(stamp, timestamp_ns):
    """Older connections send no time; then there is none."""
    raw = (
        b'{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":1.10,"bid_qty":2,"ask":1.20,'
        b'"ask_qty":3,"last":1.1,"volume":4.5,"vwap":1,"low":1,"high":1,"change":0,"change_pct":0%b}]}'
        % stamp
    )
    assert parse(raw, 5) == [
        Quote("kraken", "BTC-USD", Decimal("1.10"), Decimal(2), Decimal("1.20"), Decimal(3), timestamp_ns, 5),
        Volume("kraken", "BTC-USD", Decimal("4.5"), timestamp_ns, 5),
    ]


@pytest.mark.parametrize(
    ("raw", "event"),
    [
        (b'{"channel":"heartbeat"}', Heartbeat()),
        (b'{"method":"pong","time_in":"x","time_out":"y"}', Heartbeat()),
        (b'{"channel":"status","type":"update","data":[{"system":"online"}]}', Ignored("status")),
        (
            b'{"method":"subscribe","success":true,"result":{"channel":"trade","symbol":"BTC/USD","snapshot":true}}',
            Ack("trade:BTC/USD"),
        ),
        (
            b'{"method":"subscribe","success":false,"error":"Not supported","symbol":"BTC/USX"}',
            Refused(None, "Not supported (BTC/USX)"),
        ),
        (b'{"error":"Malformed request"}', Refused(None, "Malformed request")),
    ],
)
def test_words_about_the_connection(raw, event):
    """Answers, refusals and heartbeats are told apart."""
    assert parse(raw, 1) == (event,)


@pytest.mark.parametrize(
    "raw",
    [
        b"null",
        b'{"channel":"trade"}',
        trades(b"update", ROW.replace(b"61800.10", b"1e999999")),
        trades(b"update", ROW.replace(b"61800.10", b"-1")),
        trades(b"update", ROW.replace(b'"sell"', b'"none"')),
        trades(b"update", ROW.replace(b"2026-01-02T", b"0001-01-01T")),
        b'{"channel":' + b"[" * 100_000,
    ],
)
def test_what_is_not_documented_is_refused(raw):
    """One refusal with its reason; no exception, whatever the depth."""
    (event,) = parse(raw, 1)
    assert isinstance(event, Unparseable)
    assert event.reason


def test_rest_trades_are_the_same_trades():
    """``/0/public/Trades`` names the pair in the old way and gives seconds with nanoseconds."""
    raw = (
        b'{"error":[],"result":{"XXBTZUSD":[["61800.10000","0.00500000",1767323045.678901,"s","l","",7]],'
        b'"last":"1767323045678901000"}}'
    )
    (trade,) = parse_rest_trades(raw, 9)
    assert trade == Trade("kraken", "BTC-USD", "7", Decimal("61800.1"), Decimal("0.005"), "sell", ROW_NS, 9)


def test_a_rest_error_is_a_refusal():
    """Kraken answers 200 with an error in the body."""
    assert parse_rest_trades(b'{"error":["EGeneral:Too many requests"]}', 1) == (
        Refused(None, "EGeneral:Too many requests"),
    )


def test_the_description_subscribes_to_every_channel():
    """Heartbeats come by themselves."""
    asked = b"".join(VENUE.subscribe).decode()
    for channel in VENUE.channels:
        assert channel.name == "heartbeat" or f'"{channel.name}"' in asked


@pytest.mark.parametrize(("kind", "whole"), [(b"snapshot", True), (b"update", False)])
def test_a_book_comes_whole_and_as_changes(kind, whole):
    """Not subscribed to, but found in recordings."""
    raw = (
        b'{"channel":"book","type":"%b","data":[{"symbol":"BTC/USD","bids":[{"price":61800.0,"qty":0.00000000}],'
        b'"asks":[{"price":61800.10,"qty":0.5}],"checksum":1,"timestamp":"2026-01-02T03:04:05.678901Z"}]}'
        % kind
    )
    bids, asks = ((Decimal("61800.0"), Decimal(0)),), ((Decimal("61800.10"), Decimal("0.5")),)
    assert parse(raw, 9) == [BookChange("kraken", "BTC-USD", whole, bids, asks, 10, None, ROW_NS, 9)]
