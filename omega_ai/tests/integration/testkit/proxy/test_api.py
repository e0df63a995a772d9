"""Toxiproxy's HTTP API, call by call as its documentation tells it, and its answers to what is wrong."""

from __future__ import annotations

import contextlib
import io
import json
import socket

import aiohttp
import pytest

from omega_ai.testkit.proxy.serve import ServeOptions, running_proxies
from omega_ai.tests.integration.testkit.proxy.peers import connected, echo, serving


class Client:
    """Speaks HTTP to the API."""

    def __init__(self, session, url, collection):
        self._session = session
        self.url = url
        self.collection = collection

    async def raw(self, method, path, body=None, headers=None):
        """Status, headers and text of the answer."""
        data = (
            None
            if body is None
            else io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
        )
        async with self._session.request(method, self.url + path, data=data, headers=headers) as answer:
            return answer.status, answer.headers, await answer.text()

    async def __call__(self, method, path, body=None):
        """Status and JSON of the answer; None if it has no body."""
        status, _, text = await self.raw(method, path, body)
        return status, json.loads(text) if text else None


@pytest.fixture
async def api():
    async with running_proxies(ServeOptions(port=0)) as running, aiohttp.ClientSession() as session:
        assert running.api is not None
        yield Client(session, running.api, running.collection)


@pytest.fixture
async def upstream():
    async with serving(echo) as server:
        yield server.address


LISTEN = "127.0.0.1:0"


async def up(address):
    """Whether something listens there."""
    host, _, port = address.rpartition(":")
    with socket.socket() as sock:
        sock.settimeout(5)
        return sock.connect_ex((host, int(port))) == 0


async def test_a_session_as_the_documentation_tells_it(api, upstream):
    assert await api("GET", "/proxies") == (200, {})

    # Create: enabled by default; port 0 in "listen" comes back as the port that was picked.
    status, redis = await api("POST", "/proxies", {"name": "redis", "listen": LISTEN, "upstream": upstream})
    assert status == 201
    assert list(redis) == ["name", "listen", "upstream", "enabled", "toxics"]
    listen = redis["listen"]
    assert listen.startswith("127.0.0.1:")
    assert listen != LISTEN
    assert redis == {"name": "redis", "listen": listen, "upstream": upstream, "enabled": True, "toxics": []}
    assert await up(listen)
    assert await api("GET", "/proxies/redis") == (200, redis)
    assert await api("GET", "/proxies") == (200, {"redis": redis})

    # A toxic: the name is <type>_<stream>, the stream downstream, the toxicity 1, attributes 0 by default.
    latency = {
        "attributes": {"latency": 1000, "jitter": 0},
        "name": "latency_downstream",
        "type": "latency",
        "stream": "downstream",
        "toxicity": 1,
    }
    made = await api("POST", "/proxies/redis/toxics", {"type": "latency", "attributes": {"latency": 1000}})
    assert made == (200, latency)
    assert await api("GET", "/proxies/redis/toxics") == (200, [latency])
    assert await api("GET", "/proxies/redis/toxics/latency_downstream") == (200, latency)
    assert (await api("GET", "/proxies/redis"))[1]["toxics"] == [latency]

    # Update: what is not given stays. POST is the old way, PATCH the new one.
    for method, milliseconds in (("POST", 200), ("PATCH", 300)):
        body = {"attributes": {"jitter": milliseconds}}
        status, changed = await api(method, "/proxies/redis/toxics/latency_downstream", body)
        assert (status, changed["attributes"]) == (200, {"latency": 1000, "jitter": milliseconds})
    status, changed = await api("POST", "/proxies/redis/toxics/latency_downstream", {"toxicity": 0.25})
    assert (status, changed["toxicity"], changed["attributes"]["latency"]) == (200, 0.25, 1000)

    assert await api("DELETE", "/proxies/redis/toxics/latency_downstream") == (204, None)
    assert await api("GET", "/proxies/redis/toxics") == (200, [])

    # "down" is no toxic: the proxy is disabled.
    status, down = await api("POST", "/proxies/redis", {"enabled": False})
    assert (status, down["enabled"], down["listen"]) == (200, False, listen)
    assert not await up(listen)
    status, again = await api("PATCH", "/proxies/redis", {"enabled": True})
    assert (status, again) == (200, redis)
    assert await up(listen)

    assert await api("DELETE", "/proxies/redis") == (204, None)
    assert not await up(listen)
    assert await api("GET", "/proxies/redis") == (404, {"error": "proxy not found", "status": 404})


async def test_populate_creates_replaces_and_leaves_alone(api, upstream):
    wanted = [{"name": "one", "listen": LISTEN, "upstream": upstream}, {"name": "two", "upstream": upstream}]
    status, made = await api("POST", "/populate", wanted)
    assert status == 201
    assert [proxy["name"] for proxy in made["proxies"]] == ["one", "two"]
    one, two = made["proxies"]
    await api("POST", "/proxies/one/toxics", {"type": "latency"})

    # "localhost" is the same address once it is resolved; the other one now leads elsewhere.
    same = f"localhost:{one['listen'].rpartition(':')[2]}"
    wanted = [
        {"name": "one", "listen": same, "upstream": upstream},
        {"name": "two", "listen": two["listen"], "upstream": "127.0.0.1:1", "enabled": False},
    ]
    status, now = await api("POST", "/populate", wanted)
    assert status == 201
    assert now["proxies"][0]["listen"] == one["listen"]
    assert [toxic["name"] for toxic in now["proxies"][0]["toxics"]] == ["latency_downstream"]
    assert (now["proxies"][1]["upstream"], now["proxies"][1]["enabled"]) == ("127.0.0.1:1", False)
    assert not await up(two["listen"])


async def test_populate_checks_all_before_it_begins_and_stops_at_what_fails(api, upstream):
    status, answer = await api("POST", "/populate", [{"name": "one", "upstream": upstream}, {"name": ""}])
    expected = {"error": "missing required field: name at proxy 2", "status": 400, "proxies": None}
    assert (status, answer) == (400, expected)
    assert await api("GET", "/proxies") == (200, {})

    bad = {"name": "two", "listen": "local373", "upstream": upstream}
    status, answer = await api("POST", "/populate", [{"name": "one", "upstream": upstream}, bad])
    assert (status, answer["status"]) == (500, 500)
    assert answer["error"] == "listen tcp: address local373: missing port in address"
    assert [proxy["name"] for proxy in answer["proxies"]] == ["one"]
    assert list((await api("GET", "/proxies"))[1]) == ["one"]

    status, answer = await api("POST", "/populate", {"name": "one"})
    assert status == 400
    assert answer["error"].startswith("bad request body: ")


async def test_a_new_address_restarts_the_proxy_and_drops_its_connections(api, upstream):
    _, proxy = await api("POST", "/proxies", {"name": "p", "listen": LISTEN, "upstream": upstream})
    async with connected(int(proxy["listen"].rpartition(":")[2])) as client:
        client.send(b"x")
        assert await client.read(1) == b"x"
        status, moved = await api("POST", "/proxies/p", {"upstream": "127.0.0.1:1"})
        assert (status, moved["upstream"], moved["enabled"]) == (200, "127.0.0.1:1", True)
        assert moved["listen"] == proxy["listen"]
        assert (await client.read_to_end())[0] == b""
    status, moved = await api("POST", "/proxies/p", {"listen": LISTEN})
    assert status == 200
    assert await up(moved["listen"])


async def test_reset_enables_all_and_takes_all_toxics_away(api, upstream):
    body = {"name": "p", "listen": LISTEN, "upstream": upstream, "enabled": False}
    status, proxy = await api("POST", "/proxies", body)
    assert (status, proxy["enabled"], proxy["listen"]) == (201, False, LISTEN)
    await api("POST", "/proxies/p/toxics", {"type": "timeout"})
    await api("POST", "/proxies/p/toxics", {"type": "noop", "stream": "upstream"})
    assert await api("POST", "/reset") == (204, None)
    status, proxy = await api("GET", "/proxies/p")
    assert (proxy["enabled"], proxy["toxics"]) == (True, [])
    assert await up(proxy["listen"])


async def test_toxics_are_listed_upstream_first(api, upstream):
    await api("POST", "/proxies", {"name": "p", "upstream": upstream})
    for stream in ("downstream", "upstream"):
        await api("POST", "/proxies/p/toxics", {"type": "noop", "stream": stream})
    _, toxics = await api("GET", "/proxies/p/toxics")
    assert [toxic["name"] for toxic in toxics] == ["noop_upstream", "noop_downstream"]


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        ("latency", {"latency": 5, "jitter": 2}),
        ("bandwidth", {"rate": 100}),
        ("slow_close", {"delay": 5}),
        ("timeout", {"timeout": 5}),
        ("reset_peer", {"timeout": 5}),
        ("slicer", {"average_size": 64, "size_variation": 32, "delay": 10}),
        ("limit_data", {"bytes": 5}),
        ("noop", {}),
    ],
)
async def test_toxiproxy_s_toxics_have_its_attributes_and_no_others(api, upstream, kind, attributes):
    await api("POST", "/proxies", {"name": "p", "upstream": upstream})
    body = {"type": kind, "attributes": {**attributes, "unknown": 1}}
    status, toxic = await api("POST", "/proxies/p/toxics", body)
    assert (status, toxic["attributes"]) == (200, attributes)
    _, toxic = await api("POST", f"/proxies/p/toxics/{kind}_downstream", {"attributes": {}})
    assert toxic["attributes"] == attributes


async def test_our_own_toxics_are_made_alike_and_have_windows(api, upstream):
    await api("POST", "/proxies", {"name": "p", "upstream": upstream})
    body = {"type": "ws_drop", "attributes": {"probability": 0.5}, "window": {"start": 1, "duration": 2}}
    status, toxic = await api("POST", "/proxies/p/toxics", body)
    assert status == 200
    assert toxic["attributes"] == {"frames": "data", "probability": 0.5, "skip": 0, "limit": 0}
    assert toxic["window"] == {"start": 1.0, "duration": 2.0, "every": None}
    body = {"type": "latency", "attributes": {"jitter": 3, "distribution": "pareto"}}
    _, toxic = await api("POST", "/proxies/p/toxics", body)
    assert toxic["attributes"] == {"latency": 0, "jitter": 3, "distribution": "pareto"}


PROXY = {"name": "p", "upstream": "127.0.0.1:1"}
STREAM = "stream was invalid, can be either upstream or downstream"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "error"),
    [
        ("POST", "/proxies", b"", 400, "bad request body: EOF"),
        ("POST", "/proxies", b"{", 400, "bad request body: unexpected EOF"),
        ("POST", "/proxies", b"{]", 400, "bad request body: Expecting property name"),
        ("POST", "/proxies", b"null", 400, "missing required field: name"),
        ("POST", "/proxies", b"[]", 400, "bad request body: expected a JSON object, got an array"),
        ("POST", "/proxies", {"name": 5, "upstream": "x"}, 400, "bad request body: Expected `str`"),
        ("POST", "/proxies", {"upstream": "127.0.0.1:1"}, 400, "missing required field: name"),
        ("POST", "/proxies", {"name": "q"}, 400, "missing required field: upstream"),
        ("POST", "/proxies", PROXY, 409, "proxy already exists"),
        ("POST", "/proxies", {**PROXY, "name": "q", "listen": "nowhere"}, 500, "listen tcp: address nowhere"),
        ("POST", "/proxies", {**PROXY, "name": "q", "upstream": "nowhere"}, 500, "address nowhere"),
        ("GET", "/proxies/q", None, 404, "proxy not found"),
        ("POST", "/proxies/q", {}, 404, "proxy not found"),
        ("POST", "/proxies/p", b"", 400, "bad request body: EOF"),
        ("POST", "/proxies/p", {"enabled": "yes"}, 400, "bad request body: Expected `bool`"),
        ("DELETE", "/proxies/q", None, 404, "proxy not found"),
        ("GET", "/proxies/q/toxics", None, 404, "proxy not found"),
        ("POST", "/proxies/q/toxics", {"type": "noop"}, 404, "proxy not found"),
        ("POST", "/proxies/p/toxics", b"", 400, "bad request body: EOF"),
        ("POST", "/proxies/p/toxics", {}, 400, "invalid toxic type"),
        ("POST", "/proxies/p/toxics", {"type": "magic"}, 400, "invalid toxic type"),
        ("POST", "/proxies/p/toxics", {"type": "noop", "stream": "sideways"}, 400, STREAM),
        ("POST", "/proxies/p/toxics", {"type": "noop", "name": "t"}, 409, "toxic already exists"),
        (
            "POST",
            "/proxies/p/toxics",
            {"type": "latency", "attributes": {"latency": "x"}},
            400,
            "bad request body: latency: Expected `int | float`, got `str` - at `$.latency`",
        ),
        (
            "POST",
            "/proxies/p/toxics",
            {"type": "latency", "toxicity": 2},
            400,
            "bad request body: toxicity is a share between 0 and 1",
        ),
        ("GET", "/proxies/p/toxics/u", None, 404, "toxic not found"),
        ("POST", "/proxies/p/toxics/u", {}, 404, "toxic not found"),
        ("POST", "/proxies/p/toxics/t", b"", 400, "bad request body: EOF"),
        ("DELETE", "/proxies/p/toxics/u", None, 404, "toxic not found"),
        ("DELETE", "/proxies/q/toxics/t", None, 404, "proxy not found"),
    ],
)
async def test_what_is_wrong_is_answered_as_toxiproxy_does(api, method, path, body, status, error):
    await api("POST", "/proxies", PROXY)
    await api("POST", "/proxies/p/toxics", {"type": "noop", "name": "t"})
    before = await api("GET", "/proxies")
    got, headers, text = await api.raw(method, path, body)
    answer = json.loads(text)
    assert (got, answer["status"], list(answer)) == (status, status, ["error", "status"])
    assert answer["error"].startswith(error)
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert text.endswith("}\n")
    assert await api("GET", "/proxies") == before


async def test_an_address_in_use_is_an_error_that_names_it(api):
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        status, answer = await api("POST", "/proxies", {**PROXY, "listen": address})
    assert (status, answer["error"]) == (500, f"listen tcp {address}: bind: address already in use")
    assert await api("GET", "/proxies") == (200, {})


async def test_names_of_fields_are_read_in_any_case_and_null_counts_as_absent(api, upstream):
    body = {"Name": "p", "LISTEN": LISTEN, "Upstream": upstream, "enabled": None, "other": 1}
    status, proxy = await api("POST", "/proxies", body)
    assert (status, proxy["name"], proxy["enabled"]) == (201, "p", True)


async def test_what_follows_the_body_s_value_is_ignored(api):
    status, _ = await api("POST", "/proxies", json.dumps(PROXY).encode() + b"\n garbage")
    assert status == 201


async def test_browsers_are_kept_out(api):
    agent = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/1"}
    status, headers, text = await api.raw("POST", "/reset", headers=agent)
    assert (status, text) == (403, "User agent not allowed\n")
    status, headers, _ = await api.raw("GET", "/proxies", headers={"User-Agent": "Wget/2.1"})
    assert status == 200
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Toxiproxy-Request-Id"]


async def test_other_paths_and_methods_are_refused(api):
    assert (await api.raw("GET", "/nothing"))[::2] == (404, "404 page not found\n")
    assert (await api.raw("GET", "/"))[::2] == (404, "404 page not found\n")
    assert (await api.raw("PUT", "/proxies"))[0] == 405
    assert (await api.raw("GET", "/reset"))[0] == 405


async def test_the_version_is_one_whose_api_this_is(api):
    status, headers, text = await api.raw("GET", "/version")
    assert status == 200
    assert headers["Content-Type"] == "application/json;charset=utf-8"
    assert json.loads(text)["version"].startswith("2.")


async def test_metrics_count_bytes_by_direction_and_connections(api, upstream):
    _, proxy = await api("POST", "/proxies", {"name": "p", "listen": LISTEN, "upstream": upstream})
    await api("POST", "/proxies/p/toxics", {"type": "limit_data", "attributes": {"bytes": 4}})
    async with connected(int(proxy["listen"].rpartition(":")[2])) as client:
        client.send(b"0123456789")
        assert await client.read(4) == b"0123"
        await client.read_to_end()
    _, _, text = await api.raw("GET", "/metrics")
    labels = f'direction="%s",listener="{proxy["listen"]}",proxy="p",upstream="{upstream}"'
    lines = text.splitlines()
    assert f"toxiproxy_proxy_received_bytes_total{{{labels % 'upstream'}}} 10.0" in lines
    assert f"toxiproxy_proxy_sent_bytes_total{{{labels % 'upstream'}}} 10.0" in lines
    assert f"toxiproxy_proxy_received_bytes_total{{{labels % 'downstream'}}} 10.0" in lines
    assert f"toxiproxy_proxy_sent_bytes_total{{{labels % 'downstream'}}} 4.0" in lines
    assert 'omega_proxy_accepted_total{proxy="p"} 1.0' in lines
    assert 'omega_proxy_toxics{proxy="p"} 1.0' in lines


async def test_a_body_too_large_is_refused(api):
    with contextlib.suppress(aiohttp.ClientError, ConnectionError):
        status, _, text = await api.raw("POST", "/proxies", b" " * (2 << 20))
        assert status == 413
        assert json.loads(text)["status"] == 413


async def test_at_most_so_many_toxics(api):
    await api("POST", "/proxies", PROXY)
    for number in range(200):
        await api("POST", "/proxies/p/toxics", {"type": "noop", "name": f"t{number}"})
    status, answer = await api("POST", "/proxies/p/toxics", {"type": "noop", "name": "one more"})
    assert (status, answer["error"]) == (400, "a proxy has no more than 200 toxics")
