"""``Silence``: whether a connection on which nothing comes is dead. TCP alone may take hours to tell.

Times are monotonic seconds.
"""

from __future__ import annotations


class Silence:
    """Watches over one connection at a time. It is told of whatever comes (``heard``).

    Args:
        heartbeat_timeout: a connection that is silent for so long is dead; None: it need not say anything.
        ping_interval: so long a silence is asked about with a ping; None: it is not.
        pong_timeout: how long after that something has to come.
    """

    def __init__(
        self, heartbeat_timeout: float | None, ping_interval: float | None, pong_timeout: float
    ) -> None:
        self.heartbeat_timeout = heartbeat_timeout
        self._ping_interval = ping_interval
        self._pong_timeout = pong_timeout
        self._heard_at = 0.0
        self._pinged_at: float | None = None

    def heard(self, now: float) -> None:
        """Something came, if only a pong: the server is there."""
        self._heard_at = now
        self._pinged_at = None

    def deadlines(self) -> list[float]:
        """When one of the others has to be asked again."""
        times = []
        if self.heartbeat_timeout is not None:
            times.append(self._heard_at + self.heartbeat_timeout)
        if self._pinged_at is not None:
            times.append(self._pinged_at + self._pong_timeout)
        elif self._ping_interval is not None:
            times.append(self._heard_at + self._ping_interval)
        return times

    def verdict(self, now: float) -> str | None:
        """Why the connection is dead; None while it is not."""
        if self.heartbeat_timeout is not None and now - self._heard_at >= self.heartbeat_timeout:
            return f"nothing came for {self.heartbeat_timeout:g} s, not even a heartbeat"
        if self._pinged_at is not None and now - self._pinged_at >= self._pong_timeout:
            return f"no pong within {self._pong_timeout:g} s"
        return None

    def ping_is_due(self, now: float) -> bool:
        """Whether a ping is to be sent; True counts as its having been sent."""
        if self._pinged_at is not None or self._ping_interval is None:
            return False
        if now - self._heard_at < self._ping_interval:
            return False
        self._pinged_at = now
        return True
