"""What can be set, and what is said about what cannot."""

from __future__ import annotations

import dataclasses

import pytest

from omega_ai.client import connect, sync
from omega_ai.client.connection import Url
from omega_ai.client.settings import ClientSettings, Options


def test_every_setting_is_a_keyword_of_connect() -> None:
    """The two lists are one."""
    assert set(Options.__annotations__) == {field.name for field in dataclasses.fields(ClientSettings)}


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"mode": "some"}, "mode"),
        ({"channels": "btc_price"}, "channels"),
        ({"interval_ms": -1}, "interval_ms"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"open_timeout": 0}, "open_timeout"),
        ({"open_timeout": float("nan")}, "open_timeout"),
        ({"close_timeout": float("inf")}, "close_timeout"),
        ({"queue_size": 0}, "queue_size"),
        ({"max_message_size": 5}, "max_message_size"),
        ({"first_delay": 9.0, "longest_delay": 3.0}, "first_delay"),
    ],
)
def test_a_wrong_setting_is_named(options: Options, name: str) -> None:
    """At once, in both clients."""
    for make in (connect, sync.connect):
        with pytest.raises(ValueError, match=f"^{name} "):
            make("ws://localhost:1", **options)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://localhost", "must begin with ws:// or wss://"),
        ("localhost:8765", "must begin with ws:// or wss://"),
        ("ws://", "names no host"),
        ("ws://localhost:99999", "is not a URL"),
        ("ws://[::1", "is not a URL"),
        ("ws://localhost/#here", "has a fragment"),
        ("ws://me:secret@localhost", "holds a user name"),
    ],
)
def test_a_wrong_url_is_explained(url: str, why: str) -> None:
    """And a password in it is not repeated."""
    for make in (Url, connect, sync.connect):
        with pytest.raises(ValueError, match=why) as raised:
            make(url)
        assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "target"),
    [
        ("ws://localhost:8765", "localhost", 8765, "localhost:8765", "/?channels="),
        ("ws://localhost:80/", "localhost", 80, "localhost", "/?channels="),
        ("wss://example.org", "example.org", 443, "example.org", "/?channels="),
        ("ws://[::1]:5/p?x=1&channels=trades", "::1", 5, "[::1]:5", "/p?x=1&channels="),
    ],
)
def test_channels_are_taken_out_of_the_url(
    url: str, host: str, port: int, authority: str, target: str
) -> None:
    """They are asked for by message, where a position can be given."""
    parsed = Url(url)
    assert (parsed.host, parsed.port, parsed.authority, parsed.target) == (host, port, authority, target)


@pytest.mark.parametrize(
    ("url", "channels"),
    [
        ("ws://h", ("btc_price", "broadcast")),
        ("ws://h?channels=", ()),
        ("ws://h?channels=trades,quotes", ("trades", "quotes")),
    ],
)
async def test_channels_of_the_url_are_used_unless_others_are_named(
    url: str, channels: tuple[str, ...]
) -> None:
    """And the server's own default otherwise."""
    assert connect(url).channels == channels
    assert connect(url, channels=["status"]).channels == ("status",)
