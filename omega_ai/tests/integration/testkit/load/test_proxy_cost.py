"""What a proxy adds is measured by messages through it, and the same past it."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from omega_ai.testkit.load.proxy_cost import added_by_proxy
from omega_ai.testkit.load.round_trips import echo, medians
from omega_ai.testkit.proxy import FaultProxy


async def test_it_is_measured():
    """Nobody knows how much it is here; but it is no second."""
    added = await added_by_proxy()
    assert added is not None
    assert 0 <= added < 1_000_000_000


async def test_what_a_proxy_holds_back_shows():
    """Twenty milliseconds on the way back; and nothing of it on the way past the proxy."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=echo, args=(listener,), daemon=True)
        thread.start()
        port = listener.getsockname()[1]
        async with FaultProxy(f"127.0.0.1:{port}") as proxy:
            proxy.add("latency", latency=20)
            direct, via = await asyncio.to_thread(medians, port, proxy.port)
        await asyncio.to_thread(thread.join)
    assert via >= 20_000_000
    assert via - direct >= 10_000_000


def test_who_does_not_answer_is_told():
    """As when the proxy is gone."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        gone = listener.getsockname()[1]
        listener.close()
        with pytest.raises(OSError, match="refused"):
            medians(gone, port)
