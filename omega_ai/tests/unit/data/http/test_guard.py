"""Whose requests are answered, and how failures look."""

from __future__ import annotations

import aiohttp
import pytest

from omega_ai.data_feed.http.app import make_app, start_http
from omega_ai.tests.unit.data.http.fake_view import FakeView

Http = aiohttp.ClientSession


@pytest.mark.parametrize(
    "host",
    ["localhost", "LocalHost:8767", "127.0.0.1:80", "127.9.9.9", "[::1]:8767", "feed.lan", "Feed.LAN.:80"],
)
async def test_a_loopback_server_answers_to_itself_and_to_what_was_configured(
    view: FakeView, host: str
) -> None:
    """This machine's own names, and the configured one."""
    assert await status_for(view, host, bound="127.0.0.1", hostnames=["feed.lan"]) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "10.0.0.1",
        "localhost.evil.example",
        "127.0.0.1.evil",
        "[::1",
        "a b",
        "localhost@evil.example",
        "0x7f.1",
    ],
)
async def test_a_loopback_server_does_not_answer_to_strangers_names(view: FakeView, host: str) -> None:
    """A rebound name, or a form that could mean another, is refused."""
    assert await status_for(view, host, bound="127.0.0.1", hostnames=["feed.lan"]) == 421


async def test_a_wider_server_answers_to_any_name_until_names_are_configured(view: FakeView) -> None:
    """With names: to those."""
    assert await status_for(view, "feed.example", bound="0.0.0.0", hostnames=[]) == 200
    assert await status_for(view, "feed.example", bound="0.0.0.0", hostnames=["feed.example"]) == 200
    assert await status_for(view, "evil.example", bound="0.0.0.0", hostnames=["feed.example"]) == 421


async def status_for(view: FakeView, host: str, *, bound: str, hostnames: list[str]) -> int:
    """What a server that believes to be bound to ``bound`` answers to this ``Host``."""
    runner = await start_http(make_app(view, host=bound, hostnames=hostnames), "127.0.0.1", 0)
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(runner.url + "/healthz", headers={"Host": host}) as response,
        ):
            return response.status
    finally:
        await runner.close()


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
