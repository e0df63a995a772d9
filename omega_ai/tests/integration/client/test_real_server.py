"""The client and the server together: over sockets, TLS, restarts and cuts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest

from omega_ai.client import (
    Broadcast,
    Connected,
    Feed,
    HandshakeRejected,
    Heartbeat,
    Price,
    Recovered,
    RequestFailed,
    connect,
)
from omega_ai.tests.certificates import Authority
from omega_ai.tests.feed_server import FeedThread, quiet_settings
from omega_ai.tests.unit.data.websocket.faulty_peers import CuttingProxy
from omega_ai.tests.unit.data.websocket.leaks import nothing_leaks

QUICK: dict[str, Any] = {"first_delay": 0.01, "longest_delay": 0.05, "close_timeout": 1.0}
SECRET = "a secret of this test, and of nobody else, long enough"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with FeedThread(quiet_settings()) as feed:
        yield feed.at.ws


@pytest.fixture(autouse=True)
async def leaks(url: str) -> AsyncIterator[None]:
    """Every test here leaves no task, socket or file descriptor behind."""
    async with nothing_leaks():
        yield


def quick(url: str, **options: Any) -> Feed:
    return connect(url, **(QUICK | options))


async def test_a_published_price_comes_back_exactly(url: str) -> None:
    """Decimal in, Decimal out."""
    async with quick(url, channels=["btc_price"]) as feed:
        await feed.publish_price(Decimal("61800.010"), "12.50")
        price = await feed.receive(2)
    assert isinstance(price, Price)
    assert (str(price.price), str(price.volume), price.state) == ("61800.010", "12.50", "degraded")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
async def test_a_price_that_is_no_number_is_not_sent(url: str, number: str) -> None:
    """It could not even be written as JSON."""
    async with quick(url) as feed:
        with pytest.raises(ValueError, match="price must be a finite number"):
            await feed.publish_price(number, 1)


async def test_a_refused_publication_raises(url: str) -> None:
    """With the server's code and field."""
    async with quick(url) as feed:
        with pytest.raises(RequestFailed) as raised:
            await feed.publish_price(-1, 1)
    assert (raised.value.code, raised.value.field, raised.value.temporary) == (
        "invalid_field",
        "price",
        False,
    )


async def test_requests_of_many_tasks_find_their_answers(url: str) -> None:
    """Whatever the order."""
    async with quick(url, channels=[]) as feed:
        answers = await asyncio.gather(*(feed.request({"type": "test", "n": n}) for n in range(200)))
    assert [answer.fields["n"] for answer in answers] == list(range(200))


async def test_a_host_with_several_addresses_is_tried_at_each(url: str) -> None:
    """localhost may mean ::1 first, where this server does not listen."""
    async with quick(url.replace("127.0.0.1", "localhost"), channels=[]) as feed:
        assert await feed.ping() > 0


async def test_an_id_can_be_the_programs_own(url: str) -> None:
    """But not twice at a time."""
    async with quick(url, channels=[]) as feed:
        first = asyncio.create_task(feed.request({"type": "test", "id": "mine"}))
        await asyncio.sleep(0)
        with pytest.raises(ValueError, match="'mine' is under way"):
            await feed.request({"type": "test", "id": "mine"})
        assert (await first).id == "mine"


async def test_history_since_a_position(url: str) -> None:
    """Typed, oldest first."""
    async with quick(url, channels=["broadcast"]) as feed:
        start = feed.position("broadcast")
        assert start is not None
        for number in range(3):
            await feed.broadcast({"number": number})
        history = await feed.history("broadcast", since=start)
        past = [message for message in history.messages if isinstance(message, Broadcast)]
        assert [message.fields["number"] for message in past] == [0, 1, 2]
        assert history.messages[-1].seq == history.seq == start.seq + 3
        with pytest.raises(RequestFailed, match="unrecoverable_position"):
            await feed.history("broadcast", since=("another", 1))


async def test_channels_can_be_added_and_given_up(url: str) -> None:
    """While the feed runs; nothing of theirs comes after that."""
    async with quick(url, channels=[]) as feed:
        await feed.subscribe("heartbeat")
        await feed.subscribe("broadcast")
        assert set(feed.channels) == {"broadcast", "heartbeat"}
        await feed.broadcast({"number": 1})
        assert isinstance(await feed.receive(2), Broadcast)
        assert isinstance(await feed.receive(2), Heartbeat)
        await feed.unsubscribe("broadcast", "heartbeat")
        await feed.broadcast({"number": 2})
        with pytest.raises(TimeoutError):
            await feed.receive(1.2)
        with pytest.raises(RequestFailed, match="unknown_channel"):
            await feed.subscribe("nonsense")
        assert feed.channels == ()


async def test_a_cut_connection_is_resumed_as_often_as_it_is_cut(url: str) -> None:
    """Every message once, in order."""
    proxy = CuttingProxy(url)
    total = 60
    async with (
        proxy.running() as through,
        quick(through, channels=["broadcast"]) as feed,
        quick(url, channels=[]) as publisher,
    ):

        async def publish() -> None:
            for number in range(total):
                await publisher.broadcast({"number": number})
                if number % 10 == 9:
                    proxy.cut()
                    await asyncio.sleep(0.02)

        publishing = asyncio.create_task(publish())
        numbers = [(await feed.receive(5)).fields["number"] for _ in range(total)]
        await publishing
    assert numbers == list(range(total))
    assert proxy.connections > 3


async def test_a_later_run_resumes_where_an_earlier_one_stopped(url: str) -> None:
    """With the position that it kept."""
    async with quick(url, channels=["broadcast"]) as feed:
        await feed.broadcast({"number": 1})
        first = await feed.receive(2)
    async with quick(url, channels=[]) as publisher:
        await publisher.broadcast({"number": 2})
    since = {"broadcast": (first.epoch, first.seq)}
    async with quick(url, channels=["broadcast"], since=since, events=True) as feed:
        items = [await feed.receive(2) for _ in range(3)]
    assert [type(item) for item in items] == [Connected, Recovered, Broadcast]
    assert items[2].fields["number"] == 2


async def test_the_latest_state_comes_on_subscribing(url: str) -> None:
    """``mode: latest``."""
    async with quick(url, channels=["btc_price"]) as feed:
        await feed.publish_price(5, 1)
        await feed.receive(2)
    async with quick(url, channels=["btc_price"], mode="latest", interval_ms=10) as feed:
        assert (await feed.receive(2)).price == 5


async def test_compression_changes_nothing_that_is_seen(url: str) -> None:
    """permessage-deflate, on a message that is long enough for it."""
    text = "the same again " * 100
    async with (
        quick(url, channels=["broadcast"], compression=True) as compressed,
        quick(url, channels=["broadcast"]) as plain,
    ):
        await plain.broadcast({"text": text})
        assert (await compressed.receive(2)).fields == (await plain.receive(2)).fields
        await compressed.broadcast({"text": text})
        assert (await compressed.receive(2)).fields == (await plain.receive(2)).fields


async def test_over_tls_with_a_token(tmp_path: Path) -> None:
    """In the ``Authorization`` header, made anew for every connection."""
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    authority = Authority()
    certificate, _ = authority.issue().write(tmp_path)
    made = []

    def token() -> str:
        made.append(1)
        return _token()

    settings = quiet_settings(tls_port=0, cert=certificate, require_token=True, token_secret=secret)
    with FeedThread(settings) as server:
        assert server.at.wss is not None
        async with quick(
            server.at.wss, tls=authority.write(tmp_path), token=token, channels=["broadcast"]
        ) as feed:
            await feed.broadcast({"number": 1})
            assert (await feed.receive(2)).fields["number"] == 1
            assert (await feed.authenticate(_token())).subject == "tester"
            with pytest.raises(RequestFailed, match="unauthorized"):
                await feed.authenticate("nonsense")
        with pytest.raises(HandshakeRejected) as raised:
            await quick(server.at.ws).start()
    assert raised.value.status == 401
    assert len(made) == 1


async def test_a_restarted_server_is_found_again_and_nothing_is_lost(tmp_path: Path) -> None:
    """The broker outlives it; clients are told 1001 and come back."""
    settings = quiet_settings(broker=f"embedded:{tmp_path / 'valkey'}")
    with FeedThread(settings) as server:
        port = urlsplit(server.at.ws).port
        feed = quick(server.at.ws, channels=["broadcast"])
        await feed.start()
        await feed.broadcast({"number": 1})
        assert (await feed.receive(2)).fields["number"] == 1
    again = quiet_settings(broker=settings.broker, port=port)
    with FeedThread(again) as server:
        async with feed_of(feed), quick(server.at.ws, channels=[]) as publisher:
            await publisher.broadcast({"number": 2})
            assert (await feed.receive(5)).fields["number"] == 2


class feed_of:  # noqa: N801 - used as a context manager only
    """Closes a feed that was started by hand."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    async def __aenter__(self) -> Feed:
        return self._feed

    async def __aexit__(self, *_: object) -> None:
        await self._feed.aclose()


def _token() -> str:
    claims = {"sub": "tester", "exp": int(time.time()) + 60, "publish": ["broadcast"]}
    return jwt.encode(claims, SECRET, algorithm="HS256")
