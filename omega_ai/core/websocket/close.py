"""Close codes: which may stand in a close frame, what they are called, and how a close frame is read.

Sources: RFC 6455 section 7.4 and the IANA "WebSocket Close Code Number Registry".
"""

from __future__ import annotations

from typing import Final

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
UNSUPPORTED_DATA: Final = 1003
NO_STATUS: Final = 1005  # never on the wire: "the close frame had no code"
ABNORMAL: Final = 1006  # never on the wire: "there was no close frame"
INVALID_PAYLOAD: Final = 1007
POLICY_VIOLATION: Final = 1008
MESSAGE_TOO_BIG: Final = 1009
MANDATORY_EXTENSION: Final = 1010
INTERNAL_ERROR: Final = 1011
SERVICE_RESTART: Final = 1012
TRY_AGAIN_LATER: Final = 1013
BAD_GATEWAY: Final = 1014
TLS_HANDSHAKE: Final = 1015  # never on the wire: "the TLS handshake failed"

NAMES: Final[dict[int, str]] = {
    NORMAL: "normal closure",
    GOING_AWAY: "going away",
    PROTOCOL_ERROR: "protocol error",
    UNSUPPORTED_DATA: "unsupported data",
    NO_STATUS: "no status received",
    ABNORMAL: "abnormal closure",
    INVALID_PAYLOAD: "invalid frame payload data",
    POLICY_VIOLATION: "policy violation",
    MESSAGE_TOO_BIG: "message too big",
    MANDATORY_EXTENSION: "mandatory extension",
    INTERNAL_ERROR: "internal error",
    SERVICE_RESTART: "service restart",
    TRY_AGAIN_LATER: "try again later",
    BAD_GATEWAY: "bad gateway",
    TLS_HANDSHAKE: "TLS handshake failure",
}

_REGISTERED_ON_THE_WIRE: Final = frozenset(NAMES) - {NO_STATUS, ABNORMAL, TLS_HANDSHAKE}


class ProtocolError(Exception):
    """The peer broke the protocol, or a limit: the connection has to be failed (RFC 6455 section 7.1.7).

    ``code`` is the close code to send, ``reason`` says in words what was wrong.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} ({close_name(code)}): {reason}")
        self.code = code
        self.reason = reason


def may_be_sent(code: int) -> bool:
    """Whether ``code`` may stand in a close frame.

    Registered codes except 1005, 1006 and 1015, which name a state and not a message, and 3000-4999, which
    belong to libraries and applications (RFC 6455 sections 7.4.1 and 7.4.2). 1004 is reserved.
    """
    return code in _REGISTERED_ON_THE_WIRE or 3000 <= code <= 4999


def close_name(code: int) -> str:
    """What ``code`` is called, for logs and errors; never fails."""
    name = NAMES.get(code)
    if name is not None:
        return name
    if 3000 <= code <= 3999:
        return "registered by a library or framework"
    if 4000 <= code <= 4999:
        return "private to the application"
    return "not a valid close code"


def parse_close_payload(payload: bytes) -> tuple[int, str]:
    """Read the payload of a close frame: code and reason; ``(1005, "")`` if it is empty.

    Raises ``ProtocolError``: 1002 for one byte or a code that must not be sent (section 7.4), 1007 for a
    reason that is not UTF-8 (section 5.5.1).
    """
    if not payload:
        return NO_STATUS, ""
    if len(payload) == 1:
        raise ProtocolError(PROTOCOL_ERROR, "close frame with a payload of one byte")
    code = int.from_bytes(payload[:2], "big")
    if not may_be_sent(code):
        raise ProtocolError(PROTOCOL_ERROR, f"close frame with code {code}: {close_name(code)}")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise ProtocolError(INVALID_PAYLOAD, "close frame whose reason is not UTF-8") from None
