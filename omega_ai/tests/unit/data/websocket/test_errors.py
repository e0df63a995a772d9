"""Errors name their code, their field and what would be right."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from omega_ai.data_feed.websocket.errors import (
    ErrorCode,
    MessageError,
    encode_error,
    from_validation,
    not_an_object,
)


class _Inner(msgspec.Struct):
    epoch: str


class _Sample(msgspec.Struct, tag="sample", tag_field="type"):
    count: int
    since: dict[str, _Inner] = {}


def refusal(text: bytes) -> MessageError:
    """The error that decoding ``text`` as a sample becomes."""
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(text, type=_Sample)
    return from_validation(caught.value)


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        (b"[]", ErrorCode.NOT_AN_OBJECT, None),
        (b'"x"', ErrorCode.NOT_AN_OBJECT, None),
        (b'{"type":"sample"}', ErrorCode.MISSING_FIELD, "count"),
        (b'{"type":"other","count":1}', ErrorCode.UNKNOWN_TYPE, "type"),
        (b'{"type":7,"count":1}', ErrorCode.INVALID_FIELD, "type"),
        (b'{"type":"sample","count":"1"}', ErrorCode.INVALID_FIELD, "count"),
        (b'{"type":"sample","count":1,"since":{"a":{}}}', ErrorCode.MISSING_FIELD, "since.epoch"),
        (b'{"type":"sample","count":1,"since":{"a":{"epoch":1}}}', ErrorCode.INVALID_FIELD, "since.epoch"),
    ],
)
def test_a_validation_failure_names_code_and_field(text: bytes, code: ErrorCode, field: str | None) -> None:
    """Whatever is wrong, the client learns where."""
    error = refusal(text)
    assert (error.code, error.field) == (code, field)
    assert field is None or field.split(".")[-1] in error.message


def test_an_error_message_has_the_contract_s_fields_in_the_contract_s_form() -> None:
    """``field``, ``id`` and ``retry_after_ms`` stand only where they apply."""
    error = MessageError(ErrorCode.RATE_LIMITED, "more than 5 messages a second", retry_after_ms=200)
    message: dict[str, Any] = json.loads(
        encode_error(error, request_id=7, timestamp="T", correlation="c-abc.1")
    )
    assert message == {
        "type": "error",
        "code": "rate_limited",
        "message": "more than 5 messages a second",
        "temporary": True,
        "timestamp": "T",
        "id": 7,
        "retry_after_ms": 200,
        "correlation": "c-abc.1",
    }
    plain = json.loads(encode_error(not_an_object(), request_id=None, timestamp="T"))
    assert plain.keys() == {"type", "code", "message", "temporary", "timestamp"}
    assert plain["temporary"] is False
