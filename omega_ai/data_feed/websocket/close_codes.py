"""Why a connection is closed, and whether the client may come back.

The ranges carry the policy: 4000-4499 reconnect, 4500-4999 do not. Standard codes: RFC 6455 section 7.4.1 and
the IANA WebSocket Close Code registry.
"""

from __future__ import annotations

from enum import IntEnum


class CloseCode(IntEnum):
    """Every close code that this server sends."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    INVALID_TEXT = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    SLOW_CONSUMER = 4008
    NO_PONG = 4012
    BAD_TOKEN = 4500
    FORBIDDEN = 4503


_RECONNECT = frozenset(
    {
        1000,  # normal: whoever closed may open again
        1001,  # going away
        1005,  # no code was given
        1006,  # no close frame came: the network, or the peer died
        1011,  # internal error
        1012,  # restart
        1013,  # overload
        1014,  # bad gateway
    }
)


def may_reconnect(code: int) -> bool:
    """Whether a client that was closed with ``code`` should come back (with back-off).

    Codes that blame the client's own bytes (1002, 1003, 1007, 1008, 1009) say no: the same client would do
    the same again.
    """
    return code in _RECONNECT or 3000 <= code < 4500
