"""What can be wrong with a client's message, and the error message that tells it.

An error never closes the connection by itself; the codes are part of the wire contract ``omega.v2``.
"""

from __future__ import annotations

import re
from enum import StrEnum

import msgspec


class ErrorCode(StrEnum):
    """The codes of the contract."""

    INVALID_JSON = "invalid_json"
    NOT_AN_OBJECT = "not_an_object"
    MISSING_FIELD = "missing_field"
    INVALID_FIELD = "invalid_field"
    UNKNOWN_TYPE = "unknown_type"
    UNKNOWN_CHANNEL = "unknown_channel"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    RATE_LIMITED = "rate_limited"
    LIMIT_EXCEEDED = "limit_exceeded"
    UNRECOVERABLE_POSITION = "unrecoverable_position"
    INTERNAL = "internal"


TEMPORARY = frozenset({ErrorCode.RATE_LIMITED, ErrorCode.LIMIT_EXCEEDED, ErrorCode.INTERNAL})
"""Errors after which the same message may succeed later."""

NOT_THE_CLIENTS_FAULT = frozenset({ErrorCode.INTERNAL, ErrorCode.UNRECOVERABLE_POSITION})
"""Errors that do not count as violations."""


class MessageError(Exception):
    """A client's message cannot be served. Becomes an ``error`` message; the connection stays open."""

    def __init__(
        self, code: ErrorCode, message: str, *, field: str | None = None, retry_after_ms: int | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.retry_after_ms = retry_after_ms


class ErrorMessage(msgspec.Struct, tag="error", tag_field="type", omit_defaults=True):
    """What could not be served, and why; the connection stays open."""

    code: ErrorCode
    message: str
    temporary: bool
    timestamp: str
    field: str | None = None
    id: int | str | None = None
    retry_after_ms: int | None = None
    correlation: str | None = None


_encode = msgspec.json.Encoder().encode


def encode_error(
    error: MessageError, *, request_id: int | str | None, timestamp: str, correlation: str | None = None
) -> bytes:
    """The ``error`` message's JSON text; ``field``, ``id`` and ``retry_after_ms`` only where they apply.

    ``correlation`` is what the server's log has about it: the connection's id and the error's number there.
    """
    return _encode(
        ErrorMessage(
            code=error.code,
            message=error.message,
            temporary=error.code in TEMPORARY,
            timestamp=timestamp,
            field=error.field,
            id=request_id,
            retry_after_ms=error.retry_after_ms,
            correlation=correlation,
        )
    )


_MISSING = re.compile(r"^Object missing required field `(?P<field>[^`]*)`(?: - at `\$(?P<path>[^`]*)`)?")
_AT_PATH = re.compile(r"^(?P<what>.*?)(?: - at (?:`(?P<key>key) in )?`\$(?P<path>[^`]*)`)?$", re.DOTALL)
_VALUE = re.compile(r"^Invalid value (?P<value>.*)$", re.DOTALL)


def from_validation(error: msgspec.ValidationError) -> MessageError:
    """Turn msgspec's words into the contract's: which field, and what is wrong with it."""
    text = str(error)
    if missing := _MISSING.match(text):
        field = _field(missing["path"], missing["field"])
        return MessageError(ErrorCode.MISSING_FIELD, f"field '{field}' is required", field=field)
    parts = _AT_PATH.match(text)
    what, path = (parts["what"], parts["path"]) if parts else (text, None)
    if path == ".type":
        if value := _VALUE.match(what):
            return MessageError(ErrorCode.UNKNOWN_TYPE, f"unknown type {value['value'][:80]}", field="type")
        return MessageError(ErrorCode.INVALID_FIELD, "field 'type' must be a string", field="type")
    if not path:
        if what.startswith("Expected `object`"):
            return not_an_object()
        return MessageError(ErrorCode.INVALID_FIELD, what[:200])
    field = _field(path, "")
    return MessageError(
        ErrorCode.INVALID_FIELD,
        f"field '{field}': {what[:1].lower()}{what[1:200]}".replace("`", ""),
        field=field,
    )


def not_an_object() -> MessageError:
    """The frame holds JSON, but an array, a string, a number or the like."""
    return MessageError(ErrorCode.NOT_AN_OBJECT, "a message must be a JSON object")


def _field(path: str | None, leaf: str) -> str:
    """msgspec's path ``.since[...].epoch`` and a leaf -> ``since.epoch``."""
    parts = [part for part in re.split(r"\.|\[[^\]]*\]", path or "") if part]
    if leaf:
        parts.append(leaf)
    return ".".join(parts)
