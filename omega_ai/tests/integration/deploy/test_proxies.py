"""A real feed behind a real nginx and a real HAProxy, both configured by what ``deploy/`` has."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_plainly
from websockets.exceptions import ConnectionClosed, InvalidStatus

from omega_ai.client import Disconnected, Gap, NotRecovered, Price, Recovered, connect
from omega_ai.tests.feed_server import FeedProcess
from omega_ai.tests.integration.deploy.proxies import NAME, Haproxy, Nginx, Proxy

PATIENCE = 30.0
KINDS = [
    pytest.param(
        kind,
        id=kind.program,
        marks=pytest.mark.skipif(
            shutil.which(kind.program) is None, reason=f"{kind.program} is not installed"
        ),
    )
    for kind in (Nginx, Haproxy)
]
FREE_PORTS = ("--port", "0", "--tls-port", "off", "--http-port", "0", "--broker", "memory")
BEHIND = (
    *("--hostname", NAME, "--hostname", "localhost", "--origin", f"https://{NAME}"),
    *(
        "--public-url",
        f"wss://{NAME}/ws",
        "--trusted-proxy",
        "127.0.0.1",
        "--max-connections-per-address",
        "2",
    ),
)


class Stage:
    """A feed and a proxy in front of it."""

    def __init__(self, feed: FeedProcess, proxy: Proxy) -> None:
        self.feed = feed
        self.proxy = proxy
        self.context = ssl.create_default_context(cafile=proxy.ca)
        self.secure = f"wss://localhost:{proxy.port}/ws"
        self.plain = f"ws://localhost:{proxy.plain_port}/ws"

    async def open(
        self, *, claims: str | None = None, source: str = "127.0.0.1", origin: str | None = None
    ) -> ClientConnection:
        """A client from ``source`` that writes ``claims`` into X-Forwarded-For itself."""
        headers = {} if claims is None else {"X-Forwarded-For": claims}
        return await connect_plainly(
            f"wss://{NAME}:{self.proxy.port}/ws?channels=",
            ssl=self.context,
            host="127.0.0.1",
            local_addr=(source, 0),
            additional_headers=headers,
            origin=origin,  # type: ignore[arg-type]
            ping_interval=None,
            open_timeout=PATIENCE,
        )

    async def status_of(self, **how: Any) -> int:
        """101 if such a client is let in, else the status of the refusal."""
        try:
            connection = await self.open(**how)
        except InvalidStatus as refused:
            return refused.response.status_code
        await connection.close()
        return 101


def feed_of(directory: Path, *options: str) -> FeedProcess:
    """A feed with all that ``deploy/`` tells to set on the feed's side."""
    directory.mkdir()
    return FeedProcess(directory, *FREE_PORTS, *BEHIND, *options, environment={"HOME": str(directory)})


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeedProcess]:
    """A feed with prices, that pings often."""
    directory = tmp_path_factory.mktemp("behind") / "feed"
    options = ("--source", "simulated", "--price-interval-ms", "0", "--ping-interval", "0.2")
    with feed_of(directory, *options) as running:
        yield running


@pytest.fixture(scope="module", params=KINDS)
def stage(
    request: pytest.FixtureRequest, feed: FeedProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """Each proxy in front of that feed."""
    directory = tmp_path_factory.mktemp("proxy")
    with request.param(directory, [feed.at.ws], [str(feed.at.http)]) as proxy:
        yield Stage(feed, proxy)


async def test_the_proxy_likes_its_configuration(stage: Stage) -> None:
    """No error and no warning."""
    said = stage.proxy.check().lower()
    assert "warn" not in said
    assert "error" not in said


async def test_prices_come_over_ws_and_wss_and_the_page_names_the_proxy(stage: Stage) -> None:
    """The public address stands where browsers look for it; other origins are kept out."""
    for url, tls in ((stage.secure, str(stage.proxy.ca)), (stage.plain, None)):
        async with asyncio.timeout(PATIENCE), connect(url, channels=["btc_price"], tls=tls) as feed:
            first, second = await feed.receive(), await feed.receive()
            assert (first.seq + 1, first.state) == (second.seq, "simulated")
    assert await stage.status_of(origin=f"https://{NAME}") == 101
    assert await stage.status_of(origin="https://elsewhere.example") == 403

    def ask(path: str) -> bytes:
        request = urllib.request.Request(
            f"http://127.0.0.1:{stage.proxy.plain_port}{path}", headers={"Host": NAME}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            body: bytes = answer.read()
            return body

    status = json.loads(await asyncio.to_thread(ask, "/api/status"))
    assert status["websocket"] == [f"wss://{NAME}/ws"]
    assert b"<html" in await asyncio.to_thread(ask, "/")


async def test_a_reload_of_the_proxy_costs_a_client_nothing(stage: Stage) -> None:
    """Its connection is cut, it comes back through the new one, and every message arrives once, in order."""
    seen: list[Price] = []
    events: list[object] = []
    reloaded = asyncio.Event()

    async def listen() -> None:
        async with connect(
            stage.secure,
            channels=["btc_price"],
            tls=str(stage.proxy.ca),
            events=True,
            first_delay=0.05,
            longest_delay=0.2,
        ) as feed:
            async for item in feed:
                if isinstance(item, Price):
                    seen.append(item)
                    if reloaded.is_set() and any(isinstance(event, Recovered) for event in events):
                        return
                else:
                    events.append(item)

    async with asyncio.timeout(2 * PATIENCE):
        listening = asyncio.create_task(listen())
        while len(seen) < 5:
            await asyncio.sleep(0.02)
            assert not listening.done(), listening.exception()
        await asyncio.to_thread(stage.proxy.reload)
        reloaded.set()
        await listening
    assert [type(event) for event in events if isinstance(event, Gap | NotRecovered)] == []
    assert any(isinstance(event, Disconnected) for event in events)
    assert len({price.epoch for price in seen}) == 1
    assert [price.seq for price in seen] == list(range(seen[0].seq, seen[0].seq + len(seen)))


async def test_clients_are_counted_by_their_own_address(stage: Stage) -> None:
    """As an outer proxy tells it; but what a client itself claims is not believed."""
    async with AsyncExitStack() as stack:
        for _ in range(2):
            # From 127.0.0.1, which is trusted: so 203.0.113.9 is taken for the client.
            connection = await stage.open(claims="203.0.113.9")
            stack.push_async_callback(connection.close)
        assert await stage.status_of(claims="203.0.113.9") == 429
        assert await stage.status_of(claims="198.51.100.1, 203.0.113.9") == 429, "the nearest address counts"
        assert await stage.status_of(claims="203.0.113.10") == 101
        # From 127.0.0.2, which is not: whatever it claims, it is itself, and takes nobody's place.
        assert await stage.status_of(claims="203.0.113.9", source="127.0.0.2") == 101
    assert await stage.status_of(claims="203.0.113.9") == 101


async def test_a_silent_client_stays_for_as_long_as_the_feed_pings_more_often(
    feed: FeedProcess, tmp_path: Path
) -> None:
    """The proxies' time-out for silence is two seconds: with pings it never strikes, without them it does."""
    kinds = [kind for kind in (Nginx, Haproxy) if shutil.which(kind.program) is not None]
    if not kinds:
        pytest.skip("neither nginx nor haproxy is installed")

    async def silent(feed: FeedProcess, kind: type[Proxy], name: str) -> ConnectionClosed | None:
        """How a client ends that says nothing and hears nothing; None if it is still there after a while."""
        directory = tmp_path / f"{kind.program}-{name}"
        directory.mkdir()
        with kind(directory, [feed.at.ws], [str(feed.at.http)], silence=2) as proxy:
            client = await Stage(feed, proxy).open(claims=f"203.0.113.{len(name)}")
            try:
                async with asyncio.timeout(4.5 if name == "pinged" else PATIENCE):
                    await client.recv()
            except TimeoutError:
                return None
            except ConnectionClosed as closed:
                return closed
            finally:
                await client.close()
        raise AssertionError("nobody sends anything")

    with feed_of(tmp_path / "quiet", "--source", "none", "--ping-interval", "600") as quiet:
        ends = await asyncio.gather(
            *(silent(feed, kind, "pinged") for kind in kinds),
            *(silent(quiet, kind, "quiet") for kind in kinds),
        )
    pinged, unpinged = ends[: len(kinds)], ends[len(kinds) :]
    assert pinged == [None] * len(kinds), "cut although the feed pings"
    assert [None if closed is None else closed.rcvd for closed in unpinged] == [None] * len(kinds)
    assert None not in unpinged, "a proxy that does not cut proves nothing"


@pytest.mark.parametrize("kind", [KINDS[1]])
async def test_new_clients_go_elsewhere_while_a_feed_drains(kind: type[Proxy], tmp_path: Path) -> None:
    """Its /readyz says no, so HAProxy sends nobody there any more; who is there may stay for a while."""
    options = ("--source", "simulated", "--drain-seconds", "600")
    feeds = [feed_of(tmp_path / name, *options) for name in ("one", "two")]
    one, two = feeds
    with one, two:
        ends = [str(feed.at.http) for feed in feeds]
        epochs = [await epoch_of(feed.at.ws, None) for feed in feeds]
        with kind(tmp_path, [feed.at.ws for feed in feeds], ends) as proxy:
            stage = Stage(one, proxy)
            async with AsyncExitStack() as stack:
                for _ in range(2):
                    directly = await connect_plainly(f"{one.at.ws}/?channels=")
                    stack.push_async_callback(directly.close)
                os.kill(one.pid or 0, signal.SIGTERM)
                deadline = asyncio.get_running_loop().time() + PATIENCE
                found: list[str] = []
                while found[-6:] != [epochs[1]] * 6:
                    assert asyncio.get_running_loop().time() < deadline, found
                    found.append(await epoch_of(stage.secure, str(proxy.ca)))
                assert one.pid is not None, "it drains for ten minutes"
                os.kill(one.pid, signal.SIGTERM)


class CarelessNginx(Nginx):
    """One that gives the feed a name of this machine, as ``proxy_pass`` does by itself."""

    def text(self) -> str:
        text = super().text()
        assert "proxy_set_header Host $host;" in text
        return text.replace("proxy_set_header Host $host;", "proxy_set_header Host localhost;")


@pytest.mark.skipif(shutil.which(Nginx.program) is None, reason="nginx is not installed")
async def test_strangers_are_not_taken_for_programs_of_this_machine(tmp_path: Path) -> None:
    """A feed that was told of no proxy, behind one: they may read, and not publish; who is here may."""
    price = '{"type":"btc_price","price":1,"volume":1,"timestamp":"2026-01-01T00:00:00Z"}'
    with (
        FeedProcess(tmp_path, *FREE_PORTS, "--source", "none", environment={"HOME": str(tmp_path)}) as feed,
        CarelessNginx(tmp_path, [feed.at.ws], [str(feed.at.http)]) as proxy,
    ):
        async with (
            asyncio.timeout(PATIENCE),
            connect_plainly(feed.at.ws) as here,
            connect_plainly(f"ws://localhost:{proxy.plain_port}/ws") as stranger,
        ):
            await stranger.send(price)
            assert json.loads(await stranger.recv())["code"] == "unauthorized"
            await here.send(price)
            for client in (here, stranger):
                message = json.loads(await client.recv())
                assert (message["type"], message["seq"]) == ("btc_price", 1)
        assert "proxy_not_trusted" in feed.log()


async def epoch_of(url: str, ca: str | None) -> str:
    """Which of two feeds answers: their histories are different ones."""
    async with asyncio.timeout(PATIENCE), connect(url, channels=["btc_price"], tls=ca) as feed:
        message = await feed.receive()
        assert isinstance(message, Price)
        return message.epoch
