"""Whose requests are answered, and how failures look."""

from __future__ import annotations

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega_ai.data_feed.http.guard import AllowedHosts, host_of
from omega_ai.tests.unit.data.http.fake_view import FakeView

Http = aiohttp.ClientSession


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("localhost", "localhost"),
        ("LocalHost:8767", "localhost"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]:8767", "::1"),
        ("[::1]", "::1"),
        ("feed.example.", "feed.example"),
        ("", None),
        (":80", None),
        ("[::1", None),
        ("[::1]x", None),
        ("a b", None),
        ("evil.example/localhost", None),
        ("localhost:80:80", None),
        ("localhost@evil.example", None),
    ],
)
def test_the_host_is_read_as_the_rfc_says(header: str, host: str | None) -> None:
    """Name or address without port and brackets; anything odd is nobody."""
    assert host_of(header) == host


@given(st.text())
def test_any_host_header_gives_a_name_or_none(header: str) -> None:
    """Never an exception, and never a name with a character that no name has."""
    host = host_of(header)
    assert host is None or " " not in host


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "127.9.9.9", "::1", "a.localhost", "feed.lan"])
def test_a_loopback_server_answers_to_itself_and_to_what_was_configured(name: str) -> None:
    """This machine's own names, and the configured one."""
    assert AllowedHosts("127.0.0.1", ["Feed.LAN"]).accepts(name)


@pytest.mark.parametrize("name", ["evil.example", "10.0.0.1", "localhost.evil.example", "127.0.0.1.evil"])
def test_a_loopback_server_does_not_answer_to_strangers_names(name: str) -> None:
    """A rebound name is refused."""
    assert not AllowedHosts("127.0.0.1", ["feed.lan"]).accepts(name)


def test_a_wider_server_answers_to_any_name_until_names_are_configured() -> None:
    """With names: those and plain addresses."""
    assert AllowedHosts("0.0.0.0").accepts("feed.example")
    named = AllowedHosts("0.0.0.0", ["feed.example"])
    assert named.accepts("feed.example")
    assert named.accepts("10.0.0.7")
    assert not named.accepts("evil.example")


async def test_a_rebound_name_gets_421_and_no_price(http: Http) -> None:
    """The refusal says which name and what to do; it is the same on every path."""
    for path in ("/", "/api/price", "/metrics", "/nope"):
        async with http.get(path, headers={"Host": "evil.example"}) as response:
            body = await response.json()
        assert response.status == 421
        assert body["code"] == "unknown_host"
        assert "evil.example" in body["message"]


async def test_every_answer_carries_the_headers_that_restrain_browsers(http: Http) -> None:
    """Also errors do."""
    for path in ("/", "/api/price", "/metrics", "/nope"):
        async with http.get(path) as response:
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Referrer-Policy"] == "no-referrer"
            assert response.headers["Server"] == "omega"


async def test_an_unknown_path_is_a_json_404(http: Http) -> None:
    """In the shape of the contract's errors."""
    async with http.get("/nope") as response:
        body = await response.json()
    assert response.status == 404
    assert (body["type"], body["code"]) == ("error", "not_found")


async def test_a_wrong_method_is_a_json_405_that_names_the_right_ones(http: Http) -> None:
    """``Allow`` as RFC 9110 asks."""
    async with http.post("/api/price") as response:
        body = await response.json()
    assert response.status == 405
    assert response.headers["Allow"] == "GET, HEAD"
    assert body["code"] == "method_not_allowed"


async def test_head_gives_the_headers_alone(http: Http) -> None:
    """On every path that answers GET."""
    for path in ("/", "/healthz", "/metrics", "/api/status"):
        async with http.get(path) as full, http.head(path) as head:
            assert head.status == full.status
            assert head.headers["Content-Type"] == full.headers["Content-Type"]
            assert await head.read() == b""


async def test_a_failure_inside_is_a_500_without_its_text(
    http: Http, view: FakeView, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The asker gets a number to look for in the log, not the exception."""

    def broken() -> None:
        raise RuntimeError("the secret is swordfish")

    monkeypatch.setattr(view, "readiness", broken)
    async with http.get("/readyz") as response:
        text = await response.text()
    assert response.status == 500
    assert "swordfish" not in text
    assert '"incident' not in text
    assert "c-" in text
