"""Bitstamp: every documented message becomes the right event."""

from __future__ import annotations

from decimal import Decimal

import pytest

from omega_ai.data_feed.exchanges.bitstamp import VENUE, parse, parse_rest_trades
from omega_ai.data_feed.exchanges.events import (
    Ack,
    Heartbeat,
    Ignored,
    ReconnectRequest,
    Refused,
    Unparseable,
)
from omega_ai.data_feed.market import Quote, Trade

TRADE = (
    b'{"data":{"id":7,"timestamp":"1767323045","amount":0.005,"amount_str":"0.00500000","price":61800.1,'
    b'"price_str":"61800.10","type":%d,"microtimestamp":"1767323045678901","buy_order_id":1,"sell_order_id":2},'
    b'"channel":"live_trades_btcusd","event":"trade"}'
)
BOOK = (
    b'{"data":{"timestamp":"1767323045","microtimestamp":"1767323045678901","bids":%b,'
    b'"asks":[["61800.10","3"],["61800.20","4"]]},"channel":"order_book_btcusd","event":"data"}'
)
NS = 1_767_323_045_678_901_000


@pytest.mark.parametrize(("kind", "side"), [(0, "buy"), (1, "sell")])
def test_a_trade_has_the_takers_side_and_the_venues_digits(kind, side):
    """From the strings: the numbers beside them have lost their zeros."""
    (trade,) = parse(TRADE % kind, 9)
    assert trade == Trade("bitstamp", "BTC-USD", "7", Decimal("61800.1"), Decimal("0.005"), side, NS, 9)
    assert (str(trade.price), str(trade.size)) == ("61800.10", "0.00500000")


def test_the_first_levels_of_the_book_are_the_quote():
    """There is no ticker."""
    assert parse(BOOK % b'[["61800.00","1"],["61799.00","2"]]', 9) == (
        Quote("bitstamp", "BTC-USD", Decimal("61800.00"), Decimal(1), Decimal("61800.10"), Decimal(3), NS, 9),
    )
    assert parse(BOOK % b"[]", 9) == (Ignored("half a book"),)


@pytest.mark.parametrize(
    ("raw", "event"),
    [
        (
            b'{"event":"bts:subscription_succeeded","channel":"live_trades_btcusd","data":{}}',
            Ack("live_trades_btcusd"),
        ),
        (b'{"event":"bts:heartbeat","channel":"","data":{"status":"success"}}', Heartbeat()),
        (
            b'{"event":"bts:request_reconnect","channel":"","data":""}',
            ReconnectRequest("bts:request_reconnect"),
        ),
        (b'{"event":"bts:error","channel":"","data":{"code":4004,"message":"Bad"}}', Refused(None, "Bad")),
        (b'{"event":"order_created","channel":"live_orders_btcusd","data":{}}', Ignored("order_created")),
    ],
)
def test_words_about_the_connection(raw, event):
    """Answers, refusals and the request to reconnect are told apart."""
    assert parse(raw, 1) == (event,)


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        TRADE % 2,
        (TRADE % 0).replace(b'"61800.10"', b'"NaN"'),
        (TRADE % 0).replace(b'"1767323045678901"', b'"soon"'),
        BOOK % b'[["0","1"]]',
    ],
)
def test_what_is_not_documented_is_refused(raw):
    """One refusal with its reason; no exception."""
    (event,) = parse(raw, 1)
    assert isinstance(event, Unparseable)


def test_rest_trades_are_the_same_trades_in_order():
    """By id, with times of whole seconds."""
    row = '{"date":"1767323045","tid":"%d","amount":"0.005","type":"1","price":"61800.1"}'
    raw = f"[{row % 8},{row % 7}]".encode()
    first, second = parse_rest_trades(raw, 9)
    assert first == Trade(
        "bitstamp", "BTC-USD", "7", Decimal("61800.1"), Decimal("0.005"), "sell", NS // 10**9 * 10**9, 9
    )
    assert isinstance(second, Trade)
    assert second.trade_id == "8"


def test_the_description_subscribes_to_every_channel():
    """One message each."""
    assert len(VENUE.subscribe) == len(VENUE.channels)
