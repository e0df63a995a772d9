"""Bybit v5 spot: every documented message becomes the right event."""

from __future__ import annotations

from decimal import Decimal

import pytest

from omega_ai.data_feed.exchanges.bybit import VENUE, parse, parse_rest_trades
from omega_ai.data_feed.exchanges.events import Ack, BookChange, Heartbeat, Ignored, Refused, Unparseable
from omega_ai.data_feed.market import Trade, Volume

TRADE = (
    b'{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1767323045680,"data":[{"T":1767323045678,"s":"BTCUSDT",'
    b'"S":"%b","v":"0.0050","p":"61800.10","L":"PlusTick","i":"%b","BT":false,"seq":1}]}'
)
BOOK = (
    b'{"topic":"orderbook.1.BTCUSDT","type":"%b","ts":1767323045678,"data":{"s":"BTCUSDT","b":%b,'
    b'"a":[["61800.20","2"]],"u":5,"seq":6},"cts":1}'
)
NS = 1_767_323_045_678_000_000


@pytest.mark.parametrize(("word", "side"), [(b"Buy", "buy"), (b"Sell", "sell")])
@pytest.mark.parametrize("number", [b"2290000000061666327", b"20f43950-d8dd-5b31-9112-a178eb6023af"])
def test_a_trade_is_news_although_it_says_snapshot(word, side, number):
    """The type is of the message's form; ids are numbers or UUIDs."""
    assert parse(TRADE % (word, number), 9) == [
        Trade("bybit", "BTC-USDT", number.decode(), Decimal("61800.10"), Decimal("0.0050"), side, NS, 9)
    ]


@pytest.mark.parametrize(("word", "whole"), [(b"snapshot", True), (b"delta", False)])
def test_the_book_of_one_level_comes_whole_and_as_changes(word, whole):
    """A change may have one side only; 0 takes a level away."""
    (change,) = parse(BOOK % (word, b'[["61800.10","0"]]'), 9)
    levels = ((Decimal("61800.10"), Decimal(0)),), ((Decimal("61800.20"), Decimal(2)),)
    assert change == BookChange("bybit", "BTC-USDT", whole, *levels, 1, 5, NS, 9)
    (change,) = parse(BOOK % (word, b"[]"), 9)
    assert isinstance(change, BookChange)
    assert change.bids == ()


def test_the_24_hour_volume_comes_from_the_ticker():
    """In BTC."""
    raw = (
        b'{"topic":"tickers.BTCUSDT","ts":1767323045678,"type":"snapshot",'
        b'"data":{"symbol":"BTCUSDT","volume24h":"6.5"}}'
    )
    assert parse(raw, 9) == (Volume("bybit", "BTC-USDT", Decimal("6.5"), NS, 9),)


@pytest.mark.parametrize(
    ("raw", "event"),
    [
        (b'{"success":true,"ret_msg":"pong","conn_id":"c","req_id":"","op":"ping"}', Heartbeat()),
        (b'{"op":"pong","args":["1"]}', Heartbeat()),
        (b'{"success":true,"ret_msg":"subscribe","conn_id":"c","req_id":"1","op":"subscribe"}', Ack("id:1")),
        (
            b'{"success":false,"ret_msg":"error:handler not found","req_id":"1","op":"subscribe"}',
            Refused("id:1", "error:handler not found"),
        ),
        (b'{"topic":"kline.1.BTCUSDT","data":[]}', Ignored("kline.1.BTCUSDT")),
    ],
)
def test_words_about_the_connection(raw, event):
    """One answer stands for all topics of a request."""
    assert parse(raw, 1) == (event,)


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        TRADE % (b"buy", b"1"),
        TRADE % (b"Buy", b"1{2"),
        (TRADE % (b"Buy", b"1")).replace(b'"61800.10"', b'"NaN"'),
        BOOK % (b"snapshot", b'[["-1","1"]]'),
        BOOK % (b"sideways", b"[]"),
    ],
)
def test_what_is_not_documented_is_refused(raw):
    """One refusal with its reason; no exception."""
    (event,) = parse(raw, 1)
    assert isinstance(event, Unparseable)


def test_rest_trades_are_the_same_trades_in_order():
    """Newest first there; an error stands in the body."""
    row = (
        '{"execId":"%d","symbol":"BTCUSDT","price":"61800.1","size":"0.005",'
        '"side":"Sell","time":"1767323045678"}'
    )
    raw = (
        f'{{"retCode":0,"retMsg":"OK","result":{{"category":"spot","list":[{row % 8},{row % 7}]}}}}'.encode()
    )
    first, second = parse_rest_trades(raw, 9)
    assert first == Trade("bybit", "BTC-USDT", "7", Decimal("61800.1"), Decimal("0.005"), "sell", NS, 9)
    assert isinstance(second, Trade)
    assert second.trade_id == "8"
    assert parse_rest_trades(b'{"retCode":10006,"retMsg":"Too many visits!","result":{}}', 9) == (
        Refused(None, "Too many visits! (code 10006)"),
    )


def test_the_description_subscribes_to_every_channel():
    """In one request."""
    assert all(f'"{channel.name}"'.encode() in VENUE.subscribe[0] for channel in VENUE.channels)
