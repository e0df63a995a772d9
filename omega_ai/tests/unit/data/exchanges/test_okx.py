"""OKX v5: every documented message becomes the right event."""

from __future__ import annotations

from decimal import Decimal

import pytest

from omega_ai.data_feed.exchanges.events import (
    Ack,
    AggregateTrade,
    Heartbeat,
    Ignored,
    ReconnectRequest,
    Refused,
    Unparseable,
)
from omega_ai.data_feed.exchanges.okx import VENUE, parse, parse_rest_trades
from omega_ai.data_feed.market import Quote, Trade, Volume

ROW = (
    '{"instId":"BTC-USDT","tradeId":"%d","px":"61800.10","sz":"0.0050","side":"sell","ts":"1767323045678"%s}'
)
NS = 1_767_323_045_678_000_000
TRADE = Trade("okx", "BTC-USDT", "7", Decimal("61800.10"), Decimal("0.0050"), "sell", NS, 9)


def push(channel: str, data: str) -> bytes:
    return f'{{"arg":{{"channel":"{channel}","instId":"BTC-USDT"}},"data":[{data}]}}'.encode()


def test_a_trade_of_one_match_and_one_of_three():
    """``count`` says how many ids it stands for, so that no gap is seen where there is none."""
    assert parse(push("trades", ROW % (7, ',"count":"1"')), 9) == [TRADE]
    assert parse(push("trades", ROW % (7, ',"count":"3"')), 9) == [AggregateTrade(TRADE, 3)]


def test_the_best_bid_and_ask_come_from_bbo_tbt():
    """With the venue's time; half a book is none."""
    book = '{"asks":[["61800.20","2","0","1"]],"bids":%s,"ts":"1767323045678","seqId":5}'
    assert parse(push("bbo-tbt", book % '[["61800.10","1","0","1"]]'), 9) == [
        Quote("okx", "BTC-USDT", Decimal("61800.10"), Decimal(1), Decimal("61800.20"), Decimal(2), NS, 9)
    ]
    assert parse(push("bbo-tbt", book % "[]"), 9) == (Ignored("half a book"),)


def test_the_24_hour_volume_comes_from_the_ticker():
    """In BTC."""
    raw = push("tickers", '{"instId":"BTC-USDT","last":"1","vol24h":"123.5","ts":"1767323045678"}')
    assert parse(raw, 9) == [Volume("okx", "BTC-USDT", Decimal("123.5"), NS, 9)]


@pytest.mark.parametrize(
    ("raw", "event"),
    [
        (b"pong", Heartbeat()),
        (
            b'{"event":"subscribe","arg":{"channel":"trades","instId":"BTC-USDT"},"connId":"a"}',
            Ack("trades:BTC-USDT"),
        ),
        (
            b'{"event":"error","code":"60012","msg":"Invalid request"}',
            Refused(None, "Invalid request (code 60012)"),
        ),
        (b'{"event":"notice","code":"64008","msg":"soon be closed"}', ReconnectRequest("notice 64008")),
        (b'{"event":"channel-conn-count","channel":"x"}', Ignored("channel-conn-count")),
        (push("books", "{}"), Ignored("books")),
    ],
)
def test_words_about_the_connection(raw, event):
    """The answer to ``ping`` is bare text, and still understood."""
    assert parse(raw, 1) == (event,)


@pytest.mark.parametrize(
    "raw",
    [
        b"ping",
        b"{}",
        push("trades", ROW.replace("61800.10", "1_0") % (7, "")),
        push("trades", ROW.replace("sell", "none") % (7, "")),
        push("trades", (ROW % (7, "")).replace('"7"', '"x"')),
        push("trades", ROW % (7, ',"count":"many"')),
        push("tickers", '{"instId":"BTC-USDT","vol24h":"-1","ts":"1767323045678"}'),
    ],
)
def test_what_is_not_documented_is_refused(raw):
    """One refusal with its reason; no exception."""
    (event,) = parse(raw, 1)
    assert isinstance(event, Unparseable)


def test_rest_trades_are_the_same_trades_in_order():
    """One match a row, newest first there; an error stands in the body."""
    raw = f'{{"code":"0","msg":"","data":[{ROW % (8, "")},{ROW % (7, "")}]}}'.encode()
    assert [trade.trade_id for trade in parse_rest_trades(raw, 9) if isinstance(trade, Trade)] == ["7", "8"]
    assert parse_rest_trades(b'{"code":"50011","msg":"Too Many Requests","data":[]}', 9) == (
        Refused(None, "Too Many Requests (code 50011)"),
    )


def test_the_description_subscribes_to_every_channel():
    """In one request."""
    assert all(f'"{channel.name}"'.encode() in VENUE.subscribe[0] for channel in VENUE.channels)
