"""How one client behaves: the rate of its messages, and its errors."""

from __future__ import annotations

from collections import deque

from omega_ai.data_feed.websocket.errors import ErrorCode, MessageError

VIOLATIONS = 20
VIOLATION_WINDOW = 10.0
"""This many errors of the client's own making within this many seconds close the connection (1008)."""


class Conduct:
    """See the module's text. Times are monotonic, in seconds."""

    __slots__ = ("_at", "_tokens", "_violations", "errors")

    def __init__(self) -> None:
        self._tokens = 0.0
        self._at = 0.0
        self._violations: deque[float] | None = None
        self.errors = 0
        """How many it was sent."""

    def take_token(self, rate: float, now: float) -> None:
        """Token bucket: ``rate`` messages a second, and as many at once after a pause.

        Raises:
            MessageError: ``rate_limited``, with the time to wait.
        """
        burst = max(rate, 1.0)
        if self._at == 0.0:
            self._tokens = burst
        self._tokens = min(burst, self._tokens + (now - self._at) * rate)
        self._at = now
        if self._tokens < 1.0:
            wait_ms = max(1, int((1.0 - self._tokens) / rate * 1000) + 1)
            raise MessageError(
                ErrorCode.RATE_LIMITED, f"more than {rate:g} messages a second", retry_after_ms=wait_ms
            )
        self._tokens -= 1.0

    def violated(self, now: float) -> bool:
        """An error of its own making; True if that was one too many."""
        if self._violations is None:
            self._violations = deque(maxlen=VIOLATIONS)
        self._violations.append(now)
        return len(self._violations) == VIOLATIONS and now - self._violations[0] <= VIOLATION_WINDOW
