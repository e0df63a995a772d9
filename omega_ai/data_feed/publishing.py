"""What this process hands to the broker, counted by channel: the figures of its publications."""

from __future__ import annotations

from collections.abc import Callable

from omega_ai.data_feed.broker.base import PublishBufferFull


class Publishing:
    """A broker's ``publish``, counted: sources, clients and simulation alike go through one of these."""

    def __init__(self, publish: Callable[[str, bytes], None]) -> None:
        self._publish = publish
        self.published: dict[str, int] = {}
        """Accepted by the broker, by channel."""
        self.refused = 0
        """Not accepted, because the broker has been away for too long."""

    def __call__(self, channel: str, body: bytes) -> None:
        """See ``Broker.publish``."""
        try:
            self._publish(channel, body)
        except PublishBufferFull:
            self.refused += 1
            raise
        self.published[channel] = self.published.get(channel, 0) + 1
