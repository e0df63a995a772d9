"""The JSON end points, asked over a real socket."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega_ai.data_feed.broker.base import BrokerUnreachable, Position
from omega_ai.data_feed.http.api import STALE_AFTER, aged, history_query, public_urls
from omega_ai.data_feed.http.app import make_app, start_http
from omega_ai.data_feed.http.view import Check, LatestPrice
from omega_ai.data_feed.market import SourceStatus
from omega_ai.data_feed.observability.histogram import LatencyHistogram
from omega_ai.data_feed.observability.snapshot import Snapshot
from omega_ai.data_feed.websocket.errors import MessageError
from omega_ai.data_feed.websocket.messages import HISTORY_LIMIT
from omega_ai.tests.unit.data.http.fake_view import FakeView

Http = aiohttp.ClientSession

PRICE = b'{"type":"btc_price","symbol":"BTC-USD","price":61800.010,"volume":null,"state":"live"}'


async def ask(http: Http, path: str, **more: Any) -> tuple[aiohttp.ClientResponse, Any]:
    async with http.get(path, **more) as response:
        return response, await response.json()


async def test_healthz_says_ok_while_the_loop_turns(http: Http) -> None:
    """200, whatever the feed's state."""
    response, body = await ask(http, "/healthz")
    assert response.status == 200
    assert body["status"] == "ok"
    assert body["uptime_seconds"] == 12.5


async def test_what_is_asked_often_does_not_take_a_whole_reading(http: Http, view: FakeView) -> None:
    """Health checks, the price and errors need to know the time, and nothing of what is counted."""

    def snapshot() -> Snapshot:
        raise AssertionError("a reading was taken")

    view.snapshot = snapshot  # type: ignore[method-assign]
    view.latest = LatestPrice(view.publish("btc_price", PRICE).message, 0.25)
    asked = [await ask(http, path) for path in ("/healthz", "/readyz", "/api/price", "/api/history?limit=x")]
    assert [response.status for response, _ in asked] == [200, 200, 200, 400]


async def test_readyz_is_200_when_every_check_is_ok(http: Http) -> None:
    """Ready: 200 and the list of checks."""
    response, body = await ask(http, "/readyz")
    assert response.status == 200
    assert body == {
        "ready": True,
        "checks": [{"name": "broker", "ok": True, "detail": "the broker answers"}],
    }


async def test_readyz_is_503_and_says_why_when_one_check_fails(http: Http, view: FakeView) -> None:
    """One failing check is enough; its sentence is in the answer."""
    view.checks.append(Check("sources", False, "no venue was reached; is the network up?"))
    response, body = await ask(http, "/readyz")
    assert response.status == 503
    assert response.headers["Retry-After"] == "1"
    assert body["ready"] is False
    assert body["checks"][1]["detail"] == "no venue was reached; is the network up?"


async def test_price_is_the_latest_message_digit_for_digit(http: Http, view: FakeView) -> None:
    """The message's own text, its position included, with its age; no cache may keep it."""
    message = view.publish("btc_price", PRICE).message
    view.latest = LatestPrice(message, 0.25)
    async with http.get("/api/price") as response:
        text = await response.read()
        assert response.status == 200
        assert response.headers["Cache-Control"] == "no-store"
    assert text == message[:-1] + b',"age_ms":250,"stale":false}'


async def test_price_before_the_first_is_503_with_the_reason(http: Http, view: FakeView) -> None:
    """No price is an error that says what is missing, never an empty answer."""
    view.checks = [Check("sources", False, "no venue was reached")]
    response, body = await ask(http, "/api/price")
    assert response.status == 503
    assert body["type"] == "error"
    assert body["code"] == "no_price"
    assert "no venue was reached" in body["message"]
    assert body["temporary"] is True


async def test_an_old_price_is_never_called_live(http: Http, view: FakeView) -> None:
    """A message published as live is stale once it is older than the feed's own pace allows."""
    view.latest = LatestPrice(view.publish("btc_price", PRICE).message, STALE_AFTER + 0.1)
    _, body = await ask(http, "/api/price")
    assert body["state"] == "stale"
    assert body["stale"] is True
    assert body["price"] == 61800.01


def test_an_old_simulated_price_says_both() -> None:
    """A simulated price always says so; that it is old stands beside it."""
    fields = aged(b'{"type":"btc_price","state":"simulated"}', 60.0, 0)
    assert bytes(fields["state"]) == b'"simulated"'
    assert bytes(fields["stale"]) == b"true"


def test_a_price_published_as_stale_stays_so_however_young_the_message() -> None:
    """The feed repeats a stale price each second; repeating does not make it fresh."""
    assert bytes(aged(b'{"type":"btc_price","state":"stale"}', 0.1, 0)["stale"]) == b"true"


async def test_a_price_from_before_the_start_is_as_old_as_its_time_stamp(http: Http, view: FakeView) -> None:
    """The history outlives the process; nobody saw it come, and it is stale whatever it says."""
    body = b'{"type":"btc_price","price":1,"timestamp":"2025-12-31T23:00:00.000000Z","state":"live"}'
    view.latest = LatestPrice(view.publish("btc_price", body).message, math.inf)
    _, answer = await ask(http, "/api/price")
    assert (answer["state"], answer["stale"], answer["age_ms"]) == ("stale", True, 3_600_000)


def test_an_age_that_nobody_knows_is_null() -> None:
    """No time stamp, or none that can be read."""
    for message in (b'{"type":"btc_price"}', b'{"type":"btc_price","timestamp":7}', b'{"timestamp":"x"}'):
        fields = aged(message, math.inf, 0)
        assert (bytes(fields["age_ms"]), bytes(fields["stale"])) == (b"null", b"true")


async def test_history_gives_the_newest_limit_oldest_first(http: Http, view: FakeView) -> None:
    """``limit`` counts from the end; the order is that of publication."""
    for price in range(1, 6):
        view.publish("btc_price", b'{"type":"btc_price","price":%d}' % price)
    response, body = await ask(http, "/api/history", params={"channel": "btc_price", "limit": "2"})
    assert response.status == 200
    assert [message["seq"] for message in body["messages"]] == [4, 5]
    assert (body["channel"], body["epoch"], body["seq"]) == ("btc_price", "k3zq7m2p", 5)
    assert body["more"] is False


async def test_history_since_a_position_pages_forward(http: Http, view: FakeView) -> None:
    """After ``since`` come the next ``limit``; ``more`` says that there are others; nothing is skipped."""
    for price in range(1, 8):
        view.publish("btc_price", b'{"type":"btc_price","price":%d}' % price)
    seen: list[int] = []
    position, more = "k3zq7m2p:2", True
    while more:
        _, body = await ask(
            http, "/api/history", params={"channel": "btc_price", "since": position, "limit": "2"}
        )
        seen += [message["seq"] for message in body["messages"]]
        position, more = f"{body['epoch']}:{seen[-1]}", body["more"]
    assert seen == [3, 4, 5, 6, 7]


async def test_history_that_cannot_be_whole_says_so(http: Http, view: FakeView) -> None:
    """A position that is gone is 410 with the contract's code, not a partial answer."""
    view.whole = False
    response, body = await ask(http, "/api/history", params={"channel": "btc_price", "since": "old:1"})
    assert response.status == 410
    assert body["code"] == "unrecoverable_position"
    assert body["field"] == "since"


async def test_history_while_the_broker_is_away_is_503(http: Http, view: FakeView) -> None:
    """The broker's own sentence reaches the asker; the error is temporary."""
    view.broker_error = BrokerUnreachable("nothing answers at redis://localhost:6379; start it")
    response, body = await ask(http, "/api/history", params={"channel": "btc_price"})
    assert response.status == 503
    assert "start it" in body["message"]
    assert body["temporary"] is True


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ({}, "missing_field", "channel"),
        ({"channel": "nope"}, "unknown_channel", "channel"),
        ({"channel": "heartbeat"}, "unknown_channel", "channel"),
        ({"channel": "trades", "limit": "0"}, "invalid_field", "limit"),
        ({"channel": "trades", "limit": str(HISTORY_LIMIT + 1)}, "invalid_field", "limit"),
        ({"channel": "trades", "limit": "-1"}, "invalid_field", "limit"),
        ({"channel": "trades", "limit": "9" * 5000}, "invalid_field", "limit"),
        ({"channel": "trades", "limit": "\u0663"}, "invalid_field", "limit"),
        ({"channel": "trades", "since": "abc"}, "invalid_field", "since"),
        ({"channel": "trades", "since": "abc:-1"}, "invalid_field", "since"),
        ({"channel": "trades", "since": "abc:" + "1" * 40}, "invalid_field", "since"),
        ({"channel": "trades", "color": "red"}, "invalid_field", "color"),
    ],
)
async def test_a_wrong_parameter_is_named(
    http: Http, view: FakeView, query: dict[str, str], code: str, field: str
) -> None:
    """400 with the contract's error: code, field and a sentence; the broker is not asked."""
    response, body = await ask(http, "/api/history", params=query)
    assert response.status == 400
    assert (body["type"], body["code"], body["field"]) == ("error", code, field)
    assert body["message"]
    assert body["temporary"] is False
    assert body["timestamp"].endswith("Z")
    assert [channel for channel, _, _ in view.asked if channel != "candles"] == []


@given(st.dictionaries(st.sampled_from(["channel", "since", "limit", "x"]), st.text()))
def test_any_query_is_served_within_bounds_or_refused(query: dict[str, str]) -> None:
    """Whatever the parameters: a bounded question to the broker, or a ``MessageError``."""
    try:
        channel, since, limit = history_query(query)
    except MessageError:
        pass
    else:
        assert channel == query["channel"]
        assert 1 <= limit <= HISTORY_LIMIT
        assert since is None or isinstance(since, Position)


async def test_status_tells_what_the_page_shows(http: Http, view: FakeView) -> None:
    """Clients, venues with state and reason, latency, checks and where to connect."""
    latency = LatencyHistogram()
    latency.record(90e-6, 99)
    latency.record(0.004)
    view.reading = Snapshot(
        now_ns=1_767_225_600_000_000_000,
        uptime=1.0,
        connections={"ws": 3, "wss": 1},
        price_state="degraded",
        price_age=0.2,
        sources=[SourceStatus("kraken", "stale", 9000, 10, 1, 2, detail="no heartbeat for 9 s")],
        latencies={"publish_to_write": latency.read()},
    )
    _, body = await ask(http, "/api/status")
    assert body["clients"] == {"ws": 3, "wss": 1}
    assert body["price_state"] == "degraded"
    assert body["price_age_ms"] == 200
    assert body["sources"][0]["venue"] == "kraken"
    assert body["sources"][0]["detail"] == "no heartbeat for 9 s"
    assert body["delivery_ms"]["publish_to_write"] == {"count": 100, "p50": 0.1, "p99": 0.1}
    assert body["alerts"] == []
    assert body["websocket"] == ["ws://127.0.0.1:8765", "wss://127.0.0.1:8766"]


def test_websocket_addresses_take_the_name_that_the_asker_used() -> None:
    """Loopback and unspecified hosts are replaced, real names are kept."""
    urls = ["ws://0.0.0.0:8765", "wss://localhost:8766/", "ws://[::1]:1", "wss://feed.example:443"]
    assert public_urls(urls, "box.lan") == [
        "ws://box.lan:8765",
        "wss://box.lan:8766/",
        "ws://box.lan:1",
        "wss://feed.example:443",
    ]
    assert public_urls(["ws://127.0.0.1:1"], "fe80::1") == ["ws://[fe80::1]:1"]


async def test_the_contract_is_served_where_it_is_made(http: Http, view: FakeView) -> None:
    """404 without a document, the document itself otherwise."""
    response, _ = await ask(http, "/asyncapi.json")
    assert response.status == 404
    view.document = b'{"asyncapi":"3.0.0"}'
    _, body = await ask(http, "/asyncapi.json")
    assert body == {"asyncapi": "3.0.0"}


async def test_candles_go_hours_back_in_one_answer(view: FakeView) -> None:
    """One-minute candles of one symbol, oldest first, as published."""
    for minute in range(90):
        start = f"2026-01-01T{minute // 60:02d}:{minute % 60:02d}:00.000000Z"
        body = {"type": "candles", "symbol": "BTC-USD", "interval": "1m", "start": start, "close": minute}
        view.publish("candles", json.dumps(body, separators=(",", ":")).encode())
    runner = await start_http(make_app(view), "127.0.0.1", 0)
    async with asyncio.timeout(10), aiohttp.ClientSession(runner.url) as http:
        answer: dict[str, Any] = {"messages": []}
        while not answer["messages"]:  # the book reads the history in the background
            _, answer = await ask(http, "/api/candles", params={"hours": "1"})
    await runner.close()
    assert (answer["type"], answer["symbol"], answer["interval"]) == ("candles", "BTC-USD", "1m")
    assert [message["close"] for message in answer["messages"]] == list(range(30, 90))


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"hours": "0"}, "hours"),
        ({"hours": "25"}, "hours"),
        ({"hours": "x"}, "hours"),
        ({"symbol": "btc"}, "symbol"),
        ({"interval": "1s"}, "interval"),
    ],
)
async def test_a_wrong_parameter_of_candles_is_named(http: Http, query: dict[str, str], field: str) -> None:
    """400 with the contract's error."""
    response, body = await ask(http, "/api/candles", params=query)
    assert response.status == 400
    assert (body["code"], body["field"]) == ("invalid_field", field)
