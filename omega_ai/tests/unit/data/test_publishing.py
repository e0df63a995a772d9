"""What is handed to the broker is counted."""

from __future__ import annotations

import pytest

from omega_ai.data_feed.broker.base import PublishBufferFull
from omega_ai.data_feed.publishing import Publishing


def test_each_channel_has_its_count_and_what_is_refused_its_own() -> None:
    """Loss is never silent: the refusal is counted, and goes on to whoever published."""
    taken: list[tuple[str, bytes]] = []
    full = False

    def publish(channel: str, body: bytes) -> None:
        if full:
            raise PublishBufferFull("no room")
        taken.append((channel, body))

    publishing = Publishing(publish)
    publishing("trades", b"1")
    publishing("btc_price", b"2")
    publishing("btc_price", b"3")
    full = True
    with pytest.raises(PublishBufferFull):
        publishing("btc_price", b"4")
    assert taken == [("trades", b"1"), ("btc_price", b"2"), ("btc_price", b"3")]
    assert publishing.published == {"trades": 1, "btc_price": 2}
    assert publishing.refused == 1
