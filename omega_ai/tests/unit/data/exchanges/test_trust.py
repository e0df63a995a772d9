"""TLS contexts for venues."""

from __future__ import annotations

import asyncio
import ssl
import threading

import pytest

from omega_ai.data_feed.exchanges import trust
from omega_ai.data_feed.exchanges.trust import Trust


async def test_contexts_are_made_once_for_all_venues_and_not_on_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One for the world, one for this machine, whose development authority vouches for nobody else."""
    made: list[tuple[str, bool]] = []

    def make(*, host: str) -> ssl.SSLContext:
        made.append((host, threading.current_thread() is threading.main_thread()))
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    monkeypatch.setattr(trust, "client_context", make)
    shared = Trust()
    hosts = ["ws.kraken.com", "stream.binance.com", "ws.okx.com", "localhost", "127.0.0.1"]
    contexts = await asyncio.gather(*(shared.context(host) for host in hosts))
    assert made == [("ws.kraken.com", False), ("localhost", False)]
    assert contexts[0] is contexts[1] is contexts[2]
    assert contexts[3] is contexts[4]
    assert contexts[0] is not contexts[3]


async def test_a_context_that_was_given_is_used_for_all() -> None:
    """Whatever the host."""
    given = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    shared = Trust(given)
    assert await shared.context("ws.kraken.com") is given
    assert await shared.context("localhost") is given
