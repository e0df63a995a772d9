"""Whether to come back after a close, and after how long.

The ranges of the wire contract: 4000-4499 reconnect, 4500-4999 do not. Full jitter after Brooker,
"Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): clients that lost one server together do not
return together.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_RETRY_AFTER = 300.0
"""Seconds up to which Retry-After is honoured: a mistake there must not silence a client for days."""

_RECONNECT = frozenset({1000, 1001, 1005, 1006, 1011, 1012, 1013, 1014})
_RETRY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


def may_reconnect(code: int) -> bool:
    """Whether a connection closed with ``code`` should be opened again.

    Codes that blame this client's bytes (1002, 1003, 1007-1010) say no: it would send the same again.
    """
    return code in _RECONNECT or 3000 <= code < 4500


def may_retry_status(status: int) -> bool:
    """Whether an upgrade refused with this HTTP status may succeed later without a change on this side."""
    return status in _RETRY_STATUS


def parse_retry_after(value: str | None, now_ns: int) -> float | None:
    """``Retry-After`` (RFC 9110 section 10.2.3), seconds or a date -> seconds from now, within bounds."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        seconds = float(value[:12])
    else:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        if moment.tzinfo is None:  # "-0000" is UTC without a statement of place
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - datetime.fromtimestamp(now_ns / 1e9, tz=UTC)).total_seconds()
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


class Backoff:
    """Full jitter: the n-th delay is uniform in [0, min(``longest``, ``first`` * 2**n)] seconds."""

    def __init__(self, rng: random.Random, first: float = 0.5, longest: float = 30.0) -> None:
        if not 0 < first <= longest:
            raise ValueError(f"backoff needs 0 < first <= longest, not {first} and {longest}")
        self._rng = rng
        self._first = first
        self._longest = longest
        self._failures = 0

    def next_delay(self, retry_after: float | None = None) -> float:
        """Seconds until the next attempt: never before ``retry_after``, and spread after it."""
        # 2.0**n overflows at n = 1024; the bound is reached long before.
        ceiling = min(self._longest, self._first * 2.0 ** min(self._failures, 60))
        self._failures += 1
        return self._rng.uniform(0.0, ceiling) + (retry_after or 0.0)

    def reset(self) -> None:
        """Data came: the server is well, so the next delay is short again."""
        self._failures = 0
