"""How soon to try again, and how often at all. Pure.

Full jitter: each delay is drawn from zero to the present bound, which doubles with every failure. Without it,
all that lost a venue at one moment would return to it at one moment. See
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
"""

from __future__ import annotations

import random
from collections import deque


class Backoff:
    """Delays of at most ``first_s``, twice that, and so on up to ``most_s`` (seconds)."""

    def __init__(self, rng: random.Random, *, first_s: float = 0.5, most_s: float = 30.0) -> None:
        self._rng = rng
        self._first_s = first_s
        self._most_s = most_s
        self.failures = 0
        """Since the last success."""

    def next(self) -> float:
        """Seconds until the next attempt; counts one failure."""
        bound = min(self._most_s, self._first_s * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return self._rng.uniform(0, bound)

    def reset(self) -> None:
        """Data flows: the next failure is a first one. A connection alone proves nothing."""
        self.failures = 0


class ConnectLimit:
    """At most ``connects`` attempts within any ``window_s`` seconds."""

    def __init__(self, connects: int, window_s: float) -> None:
        self._window_s = window_s
        self._attempts: deque[float] = deque(maxlen=connects)

    def delay(self, now: float) -> float:
        """Seconds from ``now`` (monotonic) until one more attempt is allowed."""
        if len(self._attempts) < (self._attempts.maxlen or 1):
            return 0.0
        return max(self._attempts[0] + self._window_s - now, 0.0)

    def attempt(self, now: float) -> None:
        """One is made."""
        self._attempts.append(now)
