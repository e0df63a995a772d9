"""What the client makes of the server's messages, and the server of the client's."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from omega_ai.client import messages as client
from omega_ai.core.timestamps import parse_utc
from omega_ai.data_feed import market
from omega_ai.data_feed.broker.base import Position, message_of
from omega_ai.data_feed.websocket import bodies, errors
from omega_ai.data_feed.websocket import messages as server

MOMENT = datetime(2026, 11, 23, 7, 15, 0, 123456, tzinfo=UTC)
TEXT = "2026-11-23T07:15:00.123456Z"
NS = parse_utc(TEXT)


def _published(channel: str, body: bytes) -> object:
    return client.decode(message_of(channel, "k3zq7m2p", 7, body))


class TestWhatTheServerEncodesTheClientDecodes:
    """Both sides of the contract are written apart; here they meet."""

    def test_price(self) -> None:
        """With all its digits, times and sources."""
        price = market.BtcPrice(
            price=Decimal("61800.010"),
            volume=Decimal("12.50"),
            bid=None,
            ask=Decimal("61800.02"),
            source_timestamp_ns=NS,
            sources={
                "coinbase": market.SourcePrice(used=True, price=Decimal("61800.0"), age_ms=5),
                "kraken": market.SourcePrice(used=False, reason="stale"),
            },
            state="live",
        )
        decoded = _published("btc_price", bodies.encode_price_body(price, NS))
        assert decoded == client.Price(
            epoch="k3zq7m2p",
            seq=7,
            symbol="BTC-USD",
            price=Decimal("61800.010"),
            volume=Decimal("12.50"),
            bid=None,
            ask=Decimal("61800.02"),
            timestamp=MOMENT,
            source_timestamp=MOMENT,
            sources={
                "coinbase": client.Source(used=True, price=Decimal("61800.0"), age_ms=5),
                "kraken": client.Source(used=False, reason="stale"),
            },
            state="live",
        )
        assert isinstance(decoded, client.Price)
        assert str(decoded.price) == "61800.010"

    def test_trade(self) -> None:
        """The venue's id is a text."""
        trade = market.Trade("kraken", "BTC-USD", "17", Decimal("1.10"), Decimal("0.5"), None, NS, NS)
        decoded = _published("trades", bodies.encode_trade_body(trade))
        assert isinstance(decoded, client.Trade)
        assert (decoded.venue, decoded.trade_id, decoded.side, decoded.timestamp) == (
            "kraken",
            "17",
            None,
            MOMENT,
        )

    def test_quote(self) -> None:
        """A venue without times."""
        quote = market.Quote("binance", "BTC-USDT", Decimal(1), None, Decimal(2), Decimal(3), None, NS)
        decoded = _published("quotes", bodies.encode_quote_body(quote))
        assert isinstance(decoded, client.Quote)
        assert (decoded.bid, decoded.bid_size, decoded.timestamp) == (Decimal(1), None, None)

    def test_candle(self) -> None:
        """Its interval in words."""
        one = Decimal(1)
        candle = market.Candle(60, "BTC-USD", NS, one, one, one, one, one, trades=3, final=True)
        decoded = _published("candles", bodies.encode_candle_body(candle))
        assert isinstance(decoded, client.Candle)
        assert (decoded.interval, decoded.trades, decoded.final, decoded.start) == ("1m", 3, True, MOMENT)

    def test_status(self) -> None:
        """With what is wrong, in words."""
        status = market.SourceStatus("coinbase", "stale", 5000, 10, 1, 2, detail="no message for 5 s")
        decoded = _published("status", bodies.encode_status_body(status, NS))
        assert isinstance(decoded, client.Status)
        assert (decoded.state, decoded.age_ms, decoded.gaps, decoded.detail) == (
            "stale",
            5000,
            1,
            "no message for 5 s",
        )

    def test_broadcast(self) -> None:
        """Whatever the sender put in, fractions exact."""
        body = bodies.encode_broadcast_body(
            b'{"type":"broadcast","timestamp":"x","deep":{"a":[1.10]},"id":3}'
        )
        decoded = _published("broadcast", body)
        assert isinstance(decoded, client.Broadcast)
        assert (decoded.epoch, decoded.seq) == ("k3zq7m2p", 7)
        assert str(decoded.fields["deep"]["a"][0]) == "1.10"

    @pytest.mark.parametrize("recovered", [True, False])
    def test_subscribed(self, recovered: bool) -> None:
        """Position and continuity."""
        text = server.encode_subscribed(5, "trades", Position("e", 9), "latest", 250, recovered)
        assert client.decode(text) == client.Subscribed(
            id=5, channel="trades", epoch="e", seq=9, mode="latest", interval_ms=250, recovered=recovered
        )

    def test_subscribed_to_the_heartbeat(self) -> None:
        """Which has no position."""
        decoded = client.decode(server.encode_subscribed(None, "heartbeat", None, "all", 0, False))
        assert decoded == client.Subscribed(channel="heartbeat")

    def test_the_other_answers(self) -> None:
        """unsubscribed, pong, authenticated, heartbeat."""
        assert client.decode(server.encode_unsubscribed("a", ["trades"])) == client.Unsubscribed(
            id="a", channels=["trades"]
        )
        assert client.decode(server.encode_pong(1, TEXT)) == client.Pong(id=1, timestamp=MOMENT)
        assert client.decode(server.encode_authenticated(2, "me", TEXT)) == client.Authenticated(
            id=2, subject="me", timestamp=MOMENT
        )
        assert client.decode(server.encode_heartbeat({"trades": Position("e", 3)}, TEXT)) == client.Heartbeat(
            timestamp=MOMENT, channels={"trades": client.Top("e", 3)}
        )

    def test_history(self) -> None:
        """Whole messages, typed."""
        message = message_of("broadcast", "e", 1, b'{"type":"broadcast","timestamp":"x"}')
        decoded = client.decode(server.encode_history(4, "broadcast", Position("e", 1), [message]))
        assert isinstance(decoded, client.History)
        assert (decoded.id, decoded.seq, decoded.messages[0].seq) == (4, 1, 1)

    def test_error(self) -> None:
        """Every field."""
        error = errors.MessageError(errors.ErrorCode.RATE_LIMITED, "slower", field="price", retry_after_ms=40)
        text = errors.encode_error(error, request_id=9, timestamp=TEXT, correlation="c-abc.1")
        decoded = client.decode(text)
        assert decoded == client.ErrorMessage(
            code="rate_limited",
            message="slower",
            temporary=True,
            timestamp=MOMENT,
            field="price",
            id=9,
            retry_after_ms=40,
            correlation="c-abc.1",
        )

    def test_echo(self) -> None:
        """The sender's fields, and when they were received."""
        decoded = client.decode(server.encode_echo(b'{"type":"test","x":1.10,"id":{"odd":1}}', TEXT))
        assert isinstance(decoded, client.Echo)
        assert (decoded.received_at, str(decoded.fields["x"]), decoded.id) == (MOMENT, "1.10", None)


class TestWhatTheClientEncodesTheServerDecodes:
    """The other way."""

    def test_subscribe(self) -> None:
        """With positions."""
        text = client.encode_subscribe(3, ["trades"], "all", 0, {"trades": ("e", 9)})
        assert server.decode_client_message(text) == server.Subscribe(
            channels=["trades"], id=3, since={"trades": server.Since("e", 9)}
        )

    def test_subscribe_to_the_latest(self) -> None:
        """With an interval."""
        text = client.encode_subscribe("a", ["trades"], "latest", 250, {})
        assert server.decode_client_message(text) == server.Subscribe(
            channels=["trades"], id="a", mode="latest", interval_ms=250
        )

    def test_a_decimal_becomes_a_number_with_all_its_digits(self) -> None:
        """Not a string, not a float."""
        text = client.encode({"type": "test", "price": Decimal("61800.0100000000000000001")})
        assert b'"price":61800.0100000000000000001' in text

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_nan_and_infinity_become_null(self, value: float) -> None:
        """JSON has neither; the server then says what is missing."""
        assert json.loads(client.encode({"x": value})) == {"x": None}


def test_modes_and_channels_are_those_of_the_server() -> None:
    """Kept on both sides."""
    assert client.DEFAULT_CHANNELS == server.DEFAULT_CHANNELS
    assert client.SUBPROTOCOL == server.SUBPROTOCOL
    assert client.Mode == server.Mode
