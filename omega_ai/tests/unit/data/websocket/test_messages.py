"""The wire messages: what a client may send, how it is checked, and how the server's look."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from omega_ai.core.timestamps import format_utc
from omega_ai.data_feed.broker.base import Position, message_of
from omega_ai.data_feed.websocket import messages as wire
from omega_ai.data_feed.websocket.bodies import encode_price_body
from omega_ai.data_feed.websocket.errors import ErrorCode, MessageError

NOW_NS = 1_767_225_600_123_456_789
NOW = "2026-01-01T00:00:00.123456Z"


def decoded(**fields: Any) -> wire.ClientMessage:
    """Decode a message made of ``fields``."""
    return wire.decode_client_message(json.dumps(fields).encode())


def refused(text: bytes) -> MessageError:
    """The error with which ``text`` is refused, wherever in the validation."""
    try:
        message = wire.decode_client_message(text)
        if isinstance(message, wire.PublishPrice):
            wire.client_price(message)
    except MessageError as error:
        return error
    pytest.fail(f"accepted: {message}")


class TestDecoding:
    """From a client's text to a message."""

    def test_a_subscription_has_defaults(self) -> None:
        """Mode all, no interval, no position."""
        message = decoded(type="subscribe", channels=["btc_price"])
        assert message == wire.Subscribe(channels=["btc_price"])

    def test_unknown_fields_are_ignored(self) -> None:
        """Newer clients may say more than this server knows."""
        assert decoded(type="ping", id="a", colour="red") == wire.Ping(id="a")

    @pytest.mark.parametrize(
        "text",
        [
            b"",
            b"{",
            b"nope",
            b"{'a':1}",
            b'{"type":"ping"} x',
            b'{"type":"test","x":NaN}',
            b"\xff",
            b"{" * 9999,
        ],
    )
    def test_what_is_not_json_is_refused_as_such(self, text: bytes) -> None:
        """Truncated, single quotes, trailing text, NaN, bytes that are no UTF-8."""
        assert refused(text).code == ErrorCode.INVALID_JSON

    @pytest.mark.parametrize("opening", [b"[", b'{"a":'])
    def test_deep_nesting_is_refused_not_crashed_on(self, opening: bytes) -> None:
        """A megabyte of brackets is an error message, not a recursion error."""
        assert refused(b'{"type":"test","x":' + opening * 100_000).code == ErrorCode.INVALID_JSON

    @pytest.mark.parametrize("text", [b"[]", b'"ping"', b"1", b"null", b"true"])
    def test_json_that_is_no_object_is_refused_as_such(self, text: bytes) -> None:
        """One JSON object a frame."""
        assert refused(text).code == ErrorCode.NOT_AN_OBJECT

    def test_a_message_needs_a_type_that_is_known(self) -> None:
        """Missing, unknown and not text are three different errors."""
        assert (refused(b"{}").code, refused(b"{}").field) == (ErrorCode.MISSING_FIELD, "type")
        assert refused(b'{"type":"buy"}').code == ErrorCode.UNKNOWN_TYPE
        assert refused(b'{"type":5}').code == ErrorCode.INVALID_FIELD

    def test_the_id_of_a_bad_message_is_found(self) -> None:
        """So that the error can carry it; where it cannot be made out, there is none."""
        assert wire.request_id_of(b'{"type":"nope","id":7}') == 7
        assert wire.request_id_of(b'{"type":"nope","id":[7]}') is None
        assert wire.request_id_of(b"{") is None


class TestPublishedPrice:
    """A client's ``btc_price``."""

    GOOD = b'{"type":"btc_price","price":%b,"volume":%b,"timestamp":"2026-01-01T00:00:00Z"}'

    @pytest.mark.parametrize(
        "digits", ["61800.01", "61800.10", "61800", "0.00000001", "1e3", "123456789.123456789"]
    )
    def test_numbers_keep_their_digits(self, digits: str) -> None:
        """What the client wrote is what everybody reads, to the last zero."""
        message = wire.decode_client_message(self.GOOD % (digits.encode(), digits.encode()))
        assert isinstance(message, wire.PublishPrice)
        price = wire.client_price(message)
        assert str(price.price) == str(Decimal(digits))
        body = encode_price_body(price, NOW_NS)
        assert json.loads(body, parse_float=Decimal, parse_int=Decimal)["price"] == Decimal(digits)

    @pytest.mark.parametrize(
        "number",
        [b"0", b"-1", b"-0.0", b'"61800"', b"true", b"null", b"[1]", b"{}", b"1e999999", b"1e13", b"9" * 41],
    )
    def test_a_price_that_is_none_is_refused(self, number: bytes) -> None:
        """Zero, negative, text, booleans, null, containers, infinite by overflow, over-long."""
        error = refused(self.GOOD % (number, b"1"))
        assert (error.code, error.field) == (ErrorCode.INVALID_FIELD, "price")

    @pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"01", b"1.", b".5", b"0x10"])
    def test_numbers_that_json_does_not_have_are_invalid_json(self, number: bytes) -> None:
        """RFC 8259 section 6."""
        assert refused(self.GOOD % (number, b"1")).code == ErrorCode.INVALID_JSON

    def test_volume_may_be_zero_but_not_negative(self) -> None:
        """A quiet day is no error."""
        message = wire.decode_client_message(self.GOOD % (b"1", b"0"))
        assert isinstance(message, wire.PublishPrice)
        assert wire.client_price(message).volume == 0
        assert refused(self.GOOD % (b"1", b"-0.1")).field == "volume"

    @pytest.mark.parametrize(
        "when", ["", "yesterday", "2026-01-01", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z"]
    )
    def test_a_time_that_cannot_be_placed_is_refused(self, when: str) -> None:
        """A zone is part of a time."""
        error = refused(b'{"type":"btc_price","price":1,"volume":1,"timestamp":"%b"}' % when.encode())
        assert (error.code, error.field) == (ErrorCode.INVALID_FIELD, "timestamp")

    @pytest.mark.parametrize("field", ["price", "volume", "timestamp"])
    def test_each_required_field_is_named_when_missing(self, field: str) -> None:
        """The code says missing, the field says which."""
        fields = {"type": "btc_price", "price": 1, "volume": 1, "timestamp": "2026-01-01T00:00:00Z"}
        del fields[field]
        error = refused(json.dumps(fields).encode())
        assert (error.code, error.field) == (ErrorCode.MISSING_FIELD, field)

    def test_a_client_s_price_is_marked_as_one_unproven_source(self) -> None:
        """It is never ``live``, and it is named in ``sources``."""
        message = wire.decode_client_message(self.GOOD % (b"61800.01", b"3"))
        assert isinstance(message, wire.PublishPrice)
        body = json.loads(encode_price_body(wire.client_price(message), NOW_NS))
        assert body["state"] == "degraded"
        assert body["sources"] == {"client": {"used": True, "price": 61800.01}}
        assert body["timestamp"] == NOW
        assert body["source_timestamp"] == "2026-01-01T00:00:00.000000Z"


class TestEcho:
    """Messages whose fields are the client's own."""

    def test_an_echo_returns_every_field_with_its_digits_and_adds_the_time(self) -> None:
        """``1.500`` stays ``1.500``; a ``received_at`` of the sender's is replaced."""
        text = b'{"type":"test","a":1.500,"b":{"c":[1, 2]},"received_at":"x","id":"q"}'
        echo = wire.encode_echo(text, NOW)
        assert b'"a":1.500' in echo
        assert json.loads(echo) == json.loads(text) | {"received_at": NOW}

    @pytest.mark.parametrize(
        "text",
        [
            b'{"type":"test"}',
            b'{ "type" : "test" , "x" : [1, {"y": "}"}] } ',
            b'{"type":"test","x":"a \\" quoted } brace"}',
            b'{"received\\u005fat":"x","type":"test"}',
            '{"type":"test","x":"é"}'.encode(),
        ],
    )
    def test_an_echo_is_right_however_its_text_is_written(self, text: bytes) -> None:
        """Spaces, quotes, and the field itself in another spelling."""
        wire.decode_client_message(text)
        echo = wire.encode_echo(text, NOW)
        assert json.loads(echo) == json.loads(text) | {"received_at": NOW}
        assert echo.count(b'"received_at"') == 1


class TestReplies:
    """What goes to one client."""

    def test_a_subscribed_answer_tells_position_mode_and_recovery(self) -> None:
        """``interval_ms`` only where it means something; ``id`` only if one was sent."""
        text = wire.encode_subscribed(3, "trades", Position("e", 9), "all", 0, recovered=True)
        assert json.loads(text) == {
            "type": "subscribed",
            "id": 3,
            "channel": "trades",
            "epoch": "e",
            "seq": 9,
            "mode": "all",
            "recovered": True,
        }
        latest = json.loads(
            wire.encode_subscribed(None, "trades", Position("e", 9), "latest", 250, recovered=False)
        )
        assert latest["interval_ms"] == 250
        assert "id" not in latest

    def test_history_holds_whole_messages(self) -> None:
        """Each as it was published, oldest first."""
        past = [message_of("trades", "e", n, b'{"type":"trades","n":1.50}') for n in (1, 2)]
        text = wire.encode_history("h", "trades", Position("e", 2), past)
        assert json.loads(text)["messages"] == [json.loads(message) for message in past]
        assert b"1.50" in text

    def test_a_heartbeat_tells_the_top_of_each_channel(self) -> None:
        """So that a lost tail shows."""
        beat = json.loads(wire.encode_heartbeat({"trades": Position("e", 5)}, NOW))
        assert beat == {
            "type": "heartbeat",
            "timestamp": NOW,
            "channels": {"trades": {"epoch": "e", "seq": 5}},
        }

    def test_a_pong_repeats_the_id(self) -> None:
        """And tells the server's time."""
        assert json.loads(wire.encode_pong("x", format_utc(NOW_NS))) == {
            "type": "pong",
            "id": "x",
            "timestamp": NOW,
        }
