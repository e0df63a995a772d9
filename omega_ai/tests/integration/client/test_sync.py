"""The client in plain code."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from omega_ai.client import FeedClosed, MessagesLost, RequestFailed, ServerUnavailable
from omega_ai.client.sync import SyncFeed, connect
from omega_ai.tests.feed_server import FeedThread, quiet_settings

QUICK: dict[str, Any] = {"first_delay": 0.01, "longest_delay": 0.05, "close_timeout": 1.0}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with FeedThread(quiet_settings()) as feed:
        yield feed.at.ws


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Every test here ends its thread."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def quick(url: str, **options: Any) -> SyncFeed:
    return connect(url, **(QUICK | options))


def test_iterating_gives_every_message_in_order(url: str) -> None:
    """More of them than are handed over at once."""
    with quick(url, channels=["broadcast"]) as feed, quick(url, channels=[]) as publisher:
        for number in range(600):
            publisher.send({"type": "broadcast", "timestamp": "2026-01-01T00:00:00Z", "number": number})
        numbers = []
        for message in feed:
            numbers.append(message.fields["number"])
            if len(numbers) == 600:
                break
    assert numbers == list(range(600))


def test_a_program_that_is_slow_loses_nothing(url: str) -> None:
    """The queue is small, the pauses are long, the server waits."""
    with quick(url, channels=["broadcast"], queue_size=10) as feed, quick(url, channels=[]) as publisher:
        for number in range(300):
            publisher.send({"type": "broadcast", "timestamp": "2026-01-01T00:00:00Z", "number": number})
        time.sleep(0.2)
        numbers = [feed.receive(5).fields["number"] for _ in range(300)]
    assert numbers == list(range(300))


def test_every_call_has_its_twin(url: str) -> None:
    """Requests, publications, history, subscriptions."""
    with quick(url, channels=[]) as feed:
        assert feed.connected
        assert feed.ping() > 0
        feed.subscribe("btc_price", "broadcast")
        feed.publish_price("61800.010", 1)
        assert str(feed.receive(2).price) == "61800.010"
        feed.broadcast({"number": 1})
        message = feed.receive(2)
        assert feed.position("broadcast") == (message.epoch, message.seq)
        assert feed.history("broadcast", limit=1).messages[0].seq == message.seq
        assert feed.request({"type": "test", "x": 1}).fields["x"] == 1
        feed.unsubscribe("broadcast")
        feed.broadcast({"number": 2})
        with pytest.raises(TimeoutError):
            feed.receive(0.05)
        with pytest.raises(RequestFailed, match="unauthorized"):
            feed.authenticate("nonsense")


def test_nobody_there(url: str) -> None:
    """The same error as of the other client, and no thread stays."""
    with pytest.raises(ServerUnavailable), connect("ws://127.0.0.1:1", **QUICK):
        pass


def test_closing_ends_an_iteration_in_another_thread(url: str) -> None:
    """Without an error, since it was wanted."""
    feed = quick(url, channels=["broadcast"])
    feed.start()
    seen: list[object] = []
    reader = threading.Thread(target=lambda: seen.extend(feed))
    reader.start()
    feed.broadcast({"number": 1})
    while not seen:
        time.sleep(0.001)
    feed.close()
    reader.join(5)
    assert not reader.is_alive()
    assert len(seen) == 1


def test_a_closed_feed_says_so(url: str) -> None:
    """And can be closed again; one that was never started too."""
    feed = quick(url)
    with pytest.raises(FeedClosed, match="was not started"):
        feed.ping()
    feed.close()
    feed.start()
    feed.close()
    feed.close()
    with pytest.raises(FeedClosed):
        feed.ping()
    with pytest.raises(FeedClosed):
        feed.receive(1)
    with pytest.raises(FeedClosed, match="started once"):
        feed.start()


def test_a_hole_is_raised_here_as_well(url: str) -> None:
    """As of the other client."""
    since = {"broadcast": ("another", 7)}
    with quick(url, channels=["broadcast"], since=since) as feed, pytest.raises(MessagesLost):
        feed.receive(2)
