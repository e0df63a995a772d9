"""What is wrong, and what the contract says to it: messages with their errors, frames with their codes."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from omega_ai.tests.unit.data.websocket.recording import frame


@dataclass(frozen=True)
class WrongMessage:
    """A text message, the code of its error, and the field that the error names (None: none)."""

    text: str
    code: str
    field: str | None = None
    request_id: int | str | None = None
    after_permission: bool = False


_TIME = '"timestamp":"2026-01-01T00:00:00Z"'
_PRICE = f'"type":"btc_price","volume":1,{_TIME}'


def _price(price: str) -> str:
    return f'{{{_PRICE},"id":"p","price":{price}}}'


def _wrong_value(text: str, field: str, request_id: int | str) -> WrongMessage:
    """A price to be published whose ``field`` is of a wrong kind or out of bounds."""
    return WrongMessage(text, "invalid_field", field, request_id, after_permission=True)


MESSAGES = (
    # not JSON
    WrongMessage("", "invalid_json"),
    WrongMessage("not JSON", "invalid_json"),
    WrongMessage('{"type":"test"', "invalid_json"),
    WrongMessage("{'type':'test'}", "invalid_json"),
    WrongMessage('{"type":"test"} {"type":"test"}', "invalid_json"),
    WrongMessage('{"type":"test",}', "invalid_json"),
    WrongMessage('{"type":"test","x":' + "[" * 100_000, "invalid_json"),
    # NaN and infinities, which JSON does not have; and a number that no price can be
    WrongMessage(_price("NaN"), "invalid_json"),
    WrongMessage(_price("Infinity"), "invalid_json"),
    WrongMessage(_price("-Infinity"), "invalid_json"),
    _wrong_value(_price("1e999"), "price", "p"),
    # JSON, but not an object
    WrongMessage("[]", "not_an_object"),
    WrongMessage('["test"]', "not_an_object"),
    WrongMessage('"test"', "not_an_object"),
    WrongMessage("42", "not_an_object"),
    WrongMessage("true", "not_an_object"),
    WrongMessage("null", "not_an_object"),
    # types
    WrongMessage("{}", "missing_field", "type"),
    WrongMessage('{"id":1}', "missing_field", "type", 1),
    WrongMessage('{"type":5,"id":1}', "invalid_field", "type", 1),
    WrongMessage('{"type":null,"id":1}', "invalid_field", "type", 1),
    WrongMessage('{"type":"no_such_type","id":1}', "unknown_type", "type", 1),
    # fields that are missing
    WrongMessage(f'{{"type":"btc_price","volume":1,{_TIME},"id":2}}', "missing_field", "price", 2),
    WrongMessage(f'{{"type":"btc_price","price":1,{_TIME},"id":2}}', "missing_field", "volume", 2),
    WrongMessage('{"type":"btc_price","price":1,"volume":1,"id":2}', "missing_field", "timestamp", 2),
    WrongMessage('{"type":"broadcast","id":2}', "missing_field", "timestamp", 2),
    WrongMessage('{"type":"subscribe","id":2}', "missing_field", "channels", 2),
    WrongMessage('{"type":"history","id":2,"limit":1}', "missing_field", "channel", 2),
    # fields of a wrong type or value
    _wrong_value(_price('"61800.01"'), "price", "p"),
    _wrong_value(_price("true"), "price", "p"),
    _wrong_value(_price("null"), "price", "p"),
    _wrong_value(_price("[1]"), "price", "p"),
    _wrong_value(_price("0"), "price", "p"),
    _wrong_value(_price("-1"), "price", "p"),
    _wrong_value(f'{{"type":"btc_price","price":1,"volume":-0.1,{_TIME},"id":3}}', "volume", 3),
    _wrong_value('{"type":"btc_price","price":1,"volume":1,"timestamp":"yesterday","id":3}', "timestamp", 3),
    _wrong_value(
        '{"type":"btc_price","price":1,"volume":1,"timestamp":"2026-01-01T00:00:00","id":3}', "timestamp", 3
    ),
    WrongMessage(
        '{"type":"btc_price","price":1,"volume":1,"timestamp":5,"id":3}', "invalid_field", "timestamp", 3
    ),
    WrongMessage('{"type":"subscribe","channels":"btc_price","id":4}', "invalid_field", "channels", 4),
    WrongMessage(
        '{"type":"subscribe","channels":["no_such_channel"],"id":4}', "unknown_channel", "channels", 4
    ),
    WrongMessage(
        '{"type":"subscribe","channels":["trades"],"mode":"some","id":4}', "invalid_field", "mode", 4
    ),
    WrongMessage('{"type":"ping","id":{}}', "invalid_field", "id"),
    WrongMessage('{"type":"auth","token":"not.a.token","id":5}', "unauthorized", "token", 5),
)


@dataclass(frozen=True)
class WrongFrames:
    """Bytes after the handshake, and the code with which the server must close (RFC 6455 section 7.4.1)."""

    name: str
    data: tuple[bytes, ...]
    close_code: int


TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9

FRAMES = (
    WrongFrames("frame without a mask", (frame(TEXT, b"{}", masked=False),), 1002),
    WrongFrames("reserved bit", (frame(TEXT, b"{}", rsv=4),), 1002),
    WrongFrames("unknown opcode", (frame(3, b""),), 1002),
    WrongFrames("unknown control opcode", (frame(11, b""),), 1002),
    WrongFrames("fragmented ping", (frame(PING, b"", fin=False),), 1002),
    WrongFrames("ping of more than 125 bytes", (frame(PING, b"x" * 126),), 1002),
    WrongFrames("continuation of nothing", (frame(0, b"x"),), 1002),
    WrongFrames("text within a text", (frame(TEXT, b"a", fin=False), frame(TEXT, b"b")), 1002),
    WrongFrames("close with one byte", (frame(CLOSE, b"x"),), 1002),
    WrongFrames("close with a code that may not be sent", (frame(CLOSE, struct.pack("!H", 1005)),), 1002),
    WrongFrames("bad UTF-8 in a text", (frame(TEXT, b'{"type":"test","x":"\xff"}'),), 1007),
    WrongFrames("bad UTF-8 across fragments", (frame(TEXT, b"\xe2\x82", fin=False), frame(0, b"\x28")), 1007),
    WrongFrames("bad UTF-8 in a close reason", (frame(CLOSE, struct.pack("!H", 1000) + b"\xff"),), 1007),
    WrongFrames("binary message", (frame(BINARY, b"\x00"),), 1003),
)
