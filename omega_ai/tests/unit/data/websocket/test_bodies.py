"""The bodies of what is published: their shape, and every digit of their numbers."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from omega_ai.data_feed.broker.base import message_of
from omega_ai.data_feed.market import BtcPrice, Candle, Quote, SourcePrice, SourceStatus, Trade
from omega_ai.data_feed.websocket.bodies import (
    encode_broadcast_body,
    encode_candle_body,
    encode_price_body,
    encode_quote_body,
    encode_status_body,
    encode_trade_body,
)

NOW_NS = 1_767_225_600_123_456_789


class TestBodies:
    """Every body begins with its channel's type, so that the broker can splice the position in."""

    TRADE = Trade("kraken", "BTC-USD", "77", Decimal("61800.10"), Decimal("0.0100"), "sell", NOW_NS, NOW_NS)
    QUOTE = Quote("binance", "BTC-USDT", Decimal("1.0"), None, Decimal("1.1"), Decimal(2), None, NOW_NS)
    CANDLE = Candle(
        interval_s=60,
        symbol="BTC-USD",
        start_ns=NOW_NS,
        open=Decimal(1),
        high=Decimal(2),
        low=Decimal(1),
        close=Decimal(2),
        volume=Decimal(5),
        trades=3,
        final=True,
    )
    STATUS = SourceStatus("okx", "stale", 12_050, messages=5, gaps=1, reconnects=2, detail="silent")
    PRICE = BtcPrice(
        Decimal("61800.01"),
        None,
        Decimal("61800.00"),
        Decimal("61800.02"),
        None,
        {"okx": SourcePrice(False)},
        "live",
    )

    @pytest.mark.parametrize(
        ("channel", "body"),
        [
            ("btc_price", encode_price_body(PRICE, NOW_NS)),
            ("trades", encode_trade_body(TRADE)),
            ("quotes", encode_quote_body(QUOTE)),
            ("candles", encode_candle_body(CANDLE)),
            ("status", encode_status_body(STATUS, NOW_NS)),
        ],
    )
    def test_type_comes_first_and_is_the_channel(self, channel: str, body: bytes) -> None:
        """The broker's contract."""
        assert body.startswith(b'{"type":"%b",' % channel.encode())
        assert json.loads(message_of(channel, "e", 3, body))["seq"] == 3

    def test_numbers_are_json_numbers_with_the_venue_s_digits(self) -> None:
        """``0.0100`` is four digits of information."""
        body = encode_trade_body(self.TRADE)
        assert b'"price":61800.10,' in body
        assert b'"size":0.0100,' in body

    def test_a_candle_names_its_interval_as_people_do(self) -> None:
        """Sixty seconds are ``1m``."""
        assert json.loads(encode_candle_body(self.CANDLE))["interval"] == "1m"

    def test_a_broadcast_body_begins_with_its_type_and_holds_no_position_of_the_client_s(self) -> None:
        """``epoch`` and ``seq`` are the broker's to give."""
        text = b'{"note":"hi","seq":9,"epoch":"mine","timestamp":"2026-01-01T00:00:00Z","type":"broadcast"}'
        body = encode_broadcast_body(text)
        assert body.startswith(b'{"type":"broadcast",')
        message = json.loads(message_of("broadcast", "e1", 4, body))
        assert message == {
            "type": "broadcast",
            "epoch": "e1",
            "seq": 4,
            "note": "hi",
            "timestamp": "2026-01-01T00:00:00Z",
        }
