"""New settings for a feed that runs: what is taken at once, what is only named, and what changes nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import structs
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from omega_ai.core.clock import SystemClock
from omega_ai.data_feed.feed import Feed
from omega_ai.data_feed.settings import RELOADABLE, FeedSettings, SettingsError, changed, option_of
from omega_ai.tests.feed_server import quiet_settings

ORIGIN = Origin("https://desk.example")


async def ask(client: ClientConnection) -> str:
    """The type of the answer to a ping."""
    await client.send('{"type":"ping"}')
    answer: dict[str, Any] = json.loads(await client.recv())
    return str(answer["type"])


async def refusal(url: str, **options: Any) -> int:
    """The status with which a client is refused."""
    with pytest.raises(InvalidStatus) as caught:
        await connect(url, **options)
    return caught.value.response.status_code


def address(feed: Feed) -> str:
    """Where clients connect."""
    assert feed.endpoints is not None
    assert feed.endpoints.ws is not None
    return feed.endpoints.ws


def test_the_reloadable_settings_are_settings() -> None:
    """Each by the name that the feed knows."""
    assert set(FeedSettings.__struct_fields__) >= RELOADABLE


def test_settings_are_named_as_in_the_file() -> None:
    """Also those that are given once per value."""
    one, other = FeedSettings(), FeedSettings(origins=(ORIGIN,), tls_port=None)
    assert [option_of(name) for name in changed(one, other)] == ["tls-port", "origin"]


async def test_what_is_reloadable_holds_at_once_and_the_rest_is_named() -> None:
    """For new connections and for those that stand, and nobody is dropped."""
    async with Feed(quiet_settings(), clock=SystemClock()) as feed:
        url = address(feed)
        assert await refusal(url, origin=ORIGIN) == 403
        async with connect(url) as there:
            assert await ask(there) == "pong"
            wanted = structs.replace(
                feed.settings,
                origins=(ORIGIN,),
                max_connections=2,
                rate_limit=0.01,
                history_burst=65_536,
                port=9,
                workers=3,
                broker="embedded",
            )
            result = feed.reconfigure(wanted)
            assert result.applied == {
                "origins": (ORIGIN,),
                "max_connections": 2,
                "rate_limit": 0.01,
                "history_burst": 65_536,
            }
            assert result.restart == ["port", "broker", "workers"]
            assert (feed.settings.port, feed.settings.workers, feed.settings.broker) == (0, 1, "memory")
            assert feed.snapshot().max_connections == 2
            async with connect(url, origin=ORIGIN):
                assert await refusal(url) == 503
            assert [await ask(there), await ask(there)] == ["pong", "error"]
            assert feed.reconfigure(feed.settings) == ({}, [])


async def test_a_lower_cap_drops_nobody_and_lets_nobody_in() -> None:
    """Those who are in are counted on."""
    async with Feed(quiet_settings(), clock=SystemClock()) as feed:
        url = address(feed)
        async with connect(url) as one, connect(url) as two:
            feed.reconfigure(structs.replace(feed.settings, max_connections=1))
            assert [await ask(one), await ask(two)] == ["pong", "pong"]
            assert await refusal(url) == 503


async def test_a_trusted_proxy_closes_publishing_as_at_the_start() -> None:
    """Behind a proxy everybody seems to be this machine, which alone may publish without a token."""
    async with Feed(quiet_settings(), clock=SystemClock()) as feed, connect(address(feed)) as client:
        feed.reconfigure(structs.replace(feed.settings, trusted_proxies=("127.0.0.1",)))
        await client.send(
            '{"type":"btc_price","price":1,"volume":1,"timestamp":"2026-01-01T00:00:00Z","request_id":"a"}'
        )
        assert json.loads(await client.recv())["code"] == "unauthorized"


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ({"origins": ("nonsense",)}, "nonsense"),
        ({"trusted_proxies": ("nowhere",)}, "nowhere"),
        ({"rate_limit": -1.0}, "--rate-limit"),
        ({"max_message_size": 1}, "--max-message-size"),
    ],
)
async def test_a_bad_value_changes_nothing(bad: dict[str, Any], text: str) -> None:
    """Not even what stands beside it and is good."""
    async with Feed(quiet_settings(), clock=SystemClock()) as feed:
        before = feed.settings
        with pytest.raises(SettingsError, match=text):
            feed.reconfigure(structs.replace(before, max_connections=1, **bad))
        assert feed.settings == before
        async with connect(address(feed)) as one, connect(address(feed)) as two:
            assert [await ask(one), await ask(two)] == ["pong", "pong"]
