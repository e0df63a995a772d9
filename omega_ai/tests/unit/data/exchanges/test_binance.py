"""Binance spot: every documented message becomes the right event."""

from __future__ import annotations

from decimal import Decimal

import pytest

from omega_ai.data_feed.exchanges.binance import VENUE, parse, parse_rest_trades
from omega_ai.data_feed.exchanges.events import Ack, Ignored, ReconnectRequest, Refused, Unparseable
from omega_ai.data_feed.market import Quote, Trade, Volume

TRADE = (
    b'{"e":"trade","E":1700000000124,"s":"BTCUSDT","t":42,"p":"61800.10","q":"0.00500",'
    b'"T":1700000000123,"m":%s,"M":true}'
)
QUOTE = b'{"u":7,"s":"BTCUSDT","b":"61800.00","B":"1.5","a":"61800.10","A":"0.25"}'


def combined(stream: bytes, data: bytes) -> bytes:
    return b'{"stream":"%b","data":%b}' % (stream, data)


@pytest.mark.parametrize(("buyer_is_maker", "taker"), [(b"true", "sell"), (b"false", "buy")])
def test_a_trade_has_the_takers_side_and_the_venues_digits(buyer_is_maker, taker):
    """``m`` true: the buyer was the maker, so the taker sold. Trailing zeros stay."""
    (trade,) = parse(combined(b"btcusdt@trade", TRADE % buyer_is_maker), 99)
    assert trade == Trade(
        "binance",
        "BTC-USDT",
        "42",
        Decimal("61800.10"),
        Decimal("0.00500"),
        taker,
        1_700_000_000_123_000_000,
        99,
    )
    assert (str(trade.price), str(trade.size)) == ("61800.10", "0.00500")


def test_a_quote_has_no_time_of_the_venue():
    """bookTicker carries none, and none is invented."""
    assert parse(combined(b"btcusdt@bookTicker", QUOTE), 5) == (
        Quote(
            "binance",
            "BTC-USDT",
            Decimal("61800.00"),
            Decimal("1.5"),
            Decimal("61800.10"),
            Decimal("0.25"),
            None,
            5,
        ),
    )


@pytest.mark.parametrize("data", [TRADE % b"true", QUOTE])
def test_single_streams_and_other_member_orders_read_the_same(data):
    """The quick way relies on the stream's name coming first; the general way must agree with it."""
    stream = b"btcusdt@trade" if b"trade" in data else b"btcusdt@bookTicker"
    usual = parse(combined(stream, data), 1)
    assert parse(data, 1) == usual
    assert parse(b'{"data":%b,"stream":"%b"}' % (data, stream), 1) == usual


def test_the_24_hour_volume_comes_from_the_ticker():
    """In BTC, the base currency."""
    raw = combined(
        b"btcusdt@miniTicker", b'{"e":"24hrMiniTicker","E":1700000000000,"s":"BTCUSDT","v":"12345.678"}'
    )
    assert parse(raw, 3) == (
        Volume("binance", "BTC-USDT", Decimal("12345.678"), 1_700_000_000_000_000_000, 3),
    )


@pytest.mark.parametrize(
    ("raw", "event"),
    [
        (b'{"result":null,"id":1}', Ack("id:1")),
        (b'{"error":{"code":2,"msg":"Invalid request"},"id":1}', Refused("id:1", "Invalid request (code 2)")),
        (b'{"code":0,"msg":"Unknown property","id":1}', Refused("id:1", "Unknown property (code 0)")),
        (b'{"e":"serverShutdown","E":1700000000000}', ReconnectRequest("serverShutdown")),
        (b'{"stream":"x","data":{"e":"serverShutdown","E":1}}', ReconnectRequest("serverShutdown")),
        (b'{"lastUpdateId":1,"bids":[],"asks":[]}', Ignored("depth snapshot")),
        (
            b'{"stream":"btcusdt@depth","data":{"e":"depthUpdate","U":1,"u":2,"a":[],"b":[]}}',
            Ignored("depthUpdate"),
        ),
    ],
)
def test_words_about_the_connection(raw, event):
    """Answers, refusals, shutdown and what is of no use are told apart."""
    assert parse(raw, 1) == (event,)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"61800.10"', b'"NaN"'),
        (b'"61800.10"', b'"Infinity"'),
        (b'"61800.10"', b'"-1"'),
        (b'"61800.10"', b'"0"'),
        (b'"61800.10"', b'"1e999999"'),
        (b'"61800.10"', b'"' + b"1" * 500 + b'"'),
        (b'"61800.10"', b"null"),
        (b"1700000000123", b"-5"),
        (b"1700000000123", b"99999999999999999"),
        (b'"t":42', b'"t":-1'),
        (b'"t":42', b'"t":1e400'),
        (b'"m":true', b'"m":"true"'),
    ],
)
def test_a_trade_that_cannot_be_is_refused_with_an_excerpt(old, new):
    """Numbers that are none, not positive, absurd or of a million digits never become a price."""
    raw = combined(b"btcusdt@trade", (TRADE % b"true").replace(old, new))
    (event,) = parse(raw, 1)
    assert isinstance(event, Unparseable)
    assert event.reason
    assert event.excerpt.startswith('{"stream":"btcusdt@trade"')
    assert len(event.excerpt) <= 160


def test_rest_trades_fill_a_gap_with_the_same_trades():
    """``historicalTrades`` speaks of the same trade in other words."""
    raw = b'[{"id":42,"price":"61800.10","qty":"0.00500","time":1700000000123,"isBuyerMaker":true}]'
    assert list(parse_rest_trades(raw, 99)) == list(parse(TRADE % b"true", 99))


def test_the_description_subscribes_to_every_channel():
    """What is awaited is what was asked for."""
    asked = b"".join(VENUE.subscribe).decode()
    assert all(channel.name in asked for channel in VENUE.channels)
    assert VENUE.symbol == "BTC-USDT"
