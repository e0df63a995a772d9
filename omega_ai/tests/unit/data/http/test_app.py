"""The listener: ports, bounds, a clean end."""

from __future__ import annotations

import asyncio
import errno

import aiohttp
import pytest

from omega_ai.data_feed.http.app import Runner, make_app, start_http
from omega_ai.tests.unit.data.http.fake_view import FakeView


async def test_port_0_gets_a_real_port(runner: Runner) -> None:
    """``Runner`` tells which."""
    assert 0 < runner.port < 65536
    assert runner.url == f"http://127.0.0.1:{runner.port}"


async def test_a_busy_port_raises_oserror(runner: Runner, view: FakeView) -> None:
    """For the caller to put in words; nothing stays behind."""
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what is checked
        await start_http(make_app(view), "127.0.0.1", runner.port)
    assert caught.value.errno == errno.EADDRINUSE


async def test_close_frees_the_port_and_ends_idle_connections(view: FakeView) -> None:
    """A kept-alive connection does not hold up the end, and closing twice is harmless."""
    runner = await start_http(make_app(view), "127.0.0.1", 0)
    async with aiohttp.ClientSession() as session:
        async with session.get(runner.url + "/healthz") as response:
            assert response.status == 200
        async with asyncio.timeout(2):
            await runner.close()
            await runner.close()
    again = await start_http(make_app(view), "127.0.0.1", runner.port)
    await again.close()


async def test_connections_over_the_cap_are_told_so(view: FakeView) -> None:
    """503 at once, and those within the cap are served on."""
    runner = await start_http(make_app(view), "127.0.0.1", 0, max_connections=2)
    held = [await asyncio.open_connection("127.0.0.1", runner.port) for _ in range(2)]
    await asyncio.sleep(0)
    reader, writer = await asyncio.open_connection("127.0.0.1", runner.port)
    assert (await reader.readline()) == b"HTTP/1.1 503 Service Unavailable\r\n"
    writer.close()
    held[0][1].write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (await held[0][0].readline()) == b"HTTP/1.1 200 OK\r\n"
    for _, each in held:
        each.close()
        await each.wait_closed()
    await runner.close()


async def test_a_health_checker_without_host_is_answered(runner: Runner) -> None:
    """HTTP/1.0 has no Host; a browser never leaves it out. Nothing is looked up in the DNS for it."""
    for path in (b"/healthz", b"/api/status", b"/"):
        reader, writer = await asyncio.open_connection("127.0.0.1", runner.port)
        writer.write(b"GET %b HTTP/1.0\r\n\r\n" % path)
        assert b" 200 " in await reader.readline()
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(60),
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 2000 + b"\r\n",
        b"garbage\r\n\r\n",
    ],
    ids=["TLS on the plain port", "long line", "long header", "many headers", "garbage"],
)
async def test_a_request_that_is_none_is_refused_and_the_server_lives(
    runner: Runner, request_bytes: bytes
) -> None:
    """400 or a closed connection; the next asker is served."""
    reader, writer = await asyncio.open_connection("127.0.0.1", runner.port)
    writer.write(request_bytes)
    async with asyncio.timeout(5):
        line = await reader.readline()
    assert line == b"" or b" 4" in line
    writer.close()
    async with aiohttp.ClientSession() as session, session.get(runner.url + "/healthz") as response:
        assert response.status == 200


async def test_metrics_are_given_in_the_format_that_is_asked_for(
    http: aiohttp.ClientSession,
) -> None:
    """The classic text by default, OpenMetrics on request."""
    async with http.get("/metrics") as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=")
        assert b"omega_uptime_seconds 12.5" in await response.read()
    wanted = {"Accept": "application/openmetrics-text; version=1.0.0"}
    async with http.get("/metrics", headers=wanted) as response:
        assert response.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
        assert (await response.read()).endswith(b"# EOF\n")
