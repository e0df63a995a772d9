"""The server over real sockets, with an independent client: admission, limits, close codes, slow readers,
end.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin

from omega_ai.core.clock import SystemClock
from omega_ai.data_feed.feed import Feed
from omega_ai.data_feed.settings import FeedSettings
from omega_ai.data_feed.websocket import connection
from omega_ai.data_feed.websocket.auth import make_token
from omega_ai.data_feed.websocket.server import FeedServer, PortBusy
from omega_ai.data_feed.websocket.token_keys import signing_key
from omega_ai.tests.certificates import Authority, new_rsa_key

StartFeed = Callable[..., AbstractAsyncContextManager[Feed]]
PRICE = '{"type":"btc_price","price":61800.10,"volume":2,"timestamp":"2026-01-01T00:00:00Z"}'
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StartFeed:
    """Start a feed on free ports, without a source, in memory; keywords are settings."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    @asynccontextmanager
    async def feed(**changes: Any) -> AsyncIterator[Feed]:
        options: dict[str, Any] = {
            "port": 0, "tls_port": None, "http_port": None, "source": "none", "broker": "memory",
            "close_timeout": 0.5
        }  # fmt: skip
        async with Feed(FeedSettings(**(options | changes)), clock=SystemClock()) as running:
            yield running

    return feed


def url(feed: Feed, path: str = "/") -> str:
    """The feed's plain address."""
    assert feed.endpoints is not None
    assert feed.endpoints.ws is not None
    return feed.endpoints.ws + path


def port_of(feed: Feed) -> int:
    """The feed's plain port."""
    return int(url(feed, "").rpartition(":")[2])


def server_of(feed: Feed) -> FeedServer:
    """The server in this process."""
    assert feed.server is not None
    return feed.server


async def receive(client: ClientConnection) -> dict[str, Any]:
    """The next message, within a second or two."""
    async with asyncio.timeout(2):
        message: dict[str, Any] = json.loads(await client.recv())
        return message


async def close_of(client: ClientConnection) -> tuple[int, str]:
    """How the connection ends, within five seconds."""
    async with asyncio.timeout(5):
        try:
            while True:
                await client.recv()
        except ConnectionClosed:
            assert client.close_code is not None
            return client.close_code, client.close_reason or ""


class TestConversation:
    """What the unit tests prove of the session, once more through sockets."""

    async def test_a_price_reaches_every_subscriber_with_its_digits(self, start: StartFeed) -> None:
        """The sender included; who asked for no channel gets nothing."""
        async with (
            start() as feed,
            connect(url(feed)) as sender,
            connect(url(feed)) as reader,
            connect(url(feed, "?channels=")) as silent,
        ):
            await sender.send(PRICE)
            async with asyncio.timeout(2):
                raw = await reader.recv()
            assert isinstance(raw, str)
            assert '"price":61800.10' in raw
            assert await receive(sender) == json.loads(raw)
            await silent.send('{"type":"ping"}')
            assert (await receive(silent))["type"] == "pong"

    async def test_the_subprotocol_is_confirmed_when_offered(self, start: StartFeed) -> None:
        """And not needed."""
        async with start() as feed:
            async with connect(url(feed), subprotocols=[websockets.Subprotocol("omega.v2")]) as client:
                assert client.subprotocol == "omega.v2"
            async with connect(url(feed)) as client:
                assert client.subprotocol is None

    async def test_channels_can_be_chosen_in_the_url(self, start: StartFeed) -> None:
        """Heartbeats come each second."""
        async with start() as feed, connect(url(feed, "?channels=heartbeat")) as client:
            assert (await receive(client))["type"] == "heartbeat"

    async def test_compressed_and_plain_clients_read_the_same(self, start: StartFeed) -> None:
        """permessage-deflate changes bytes, not messages."""
        message = json.dumps(
            {"type": "broadcast", "timestamp": "2026-01-01T00:00:00Z", "text": "again " * 500}
        )
        async with (
            start() as feed,
            connect(url(feed), compression="deflate") as deflated,
            connect(url(feed), compression=None) as plain,
        ):
            assert deflated.response is not None
            assert "permessage-deflate" in deflated.response.headers["Sec-WebSocket-Extensions"]
            await plain.send(message)
            assert await receive(deflated) == await receive(plain)


class TestRefusals:
    """Before the upgrade, with an HTTP status that says why."""

    @pytest.mark.parametrize(
        ("path", "headers", "status"),
        [
            ("/nowhere", {}, 404),
            ("/?channels=nope", {}, 400),
            ("/", {"Origin": "https://evil.example"}, 403),
        ],
    )
    async def test_wrong_path_channel_origin(
        self, start: StartFeed, path: str, headers: dict[str, str], status: int
    ) -> None:
        """Each has its status."""
        async with start() as feed:
            with pytest.raises(InvalidStatus) as refused:
                async with connect(url(feed, path), additional_headers=headers):
                    pass
            assert refused.value.response.status_code == status

    async def test_a_required_token_that_is_missing_is_401(self, start: StartFeed, tmp_path: Path) -> None:
        """With WWW-Authenticate (RFC 6750 section 3)."""
        secret = tmp_path / "secret"
        secret.write_bytes(b"s" * 40)
        secret.chmod(0o600)
        async with start(require_token=True, token_secret=secret) as feed:
            with pytest.raises(InvalidStatus) as refused:
                async with connect(url(feed)):
                    pass
            assert refused.value.response.status_code == 401
            assert refused.value.response.headers["WWW-Authenticate"].startswith("Bearer")

    async def test_a_browser_may_show_the_required_token_by_message(
        self, start: StartFeed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It cannot set the header: it is let in, gets nothing before ``auth``, and 4500 if none comes."""
        monkeypatch.setattr(connection, "AUTH_SECONDS", 0.5)
        secret = tmp_path / "secret"
        secret.write_bytes(b"s" * 40)
        secret.chmod(0o600)
        token = make_token(
            signing_key(b"s" * 40),
            subject="page",
            lifetime_s=60,
            now_ns=SystemClock().time_ns(),
            publish=True,
        )
        async with start(require_token=True, token_secret=secret) as feed:
            origin = Origin(f"http://127.0.0.1:{port_of(feed)}")
            async with connect(url(feed), origin=origin) as page, connect(url(feed), origin=origin) as silent:
                await page.send('{"type":"subscribe","channels":["btc_price"]}')
                assert (await receive(page))["code"] == "unauthorized"
                await page.send(PRICE)
                assert (await receive(page))["code"] == "unauthorized"
                await page.send(json.dumps({"type": "auth", "token": token}))
                assert (await receive(page))["subject"] == "page"
                await page.send('{"type":"subscribe","channels":["btc_price"]}')
                assert (await receive(page))["type"] == "subscribed"
                await page.send(PRICE)
                assert (await receive(page))["type"] == "btc_price"
                assert (await close_of(silent))[0] == 4500

    async def test_a_full_server_says_so_and_takes_the_next_once_somebody_leaves(
        self, start: StartFeed
    ) -> None:
        """503 with Retry-After."""
        async with start(max_connections=1) as feed:
            async with connect(url(feed)):
                with pytest.raises(InvalidStatus) as refused:
                    async with connect(url(feed)):
                        pass
                assert refused.value.response.status_code == 503
                assert "Retry-After" in refused.value.response.headers
            async with asyncio.timeout(2):
                while True:
                    try:
                        async with connect(url(feed)):
                            break
                    except InvalidStatus:
                        await asyncio.sleep(0.01)

    async def test_a_name_that_is_not_ours_is_refused_on_loopback(self, start: StartFeed) -> None:
        """403: against DNS rebinding, by which a web page could reach this machine's servers."""
        async with start() as feed:
            port = port_of(feed)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HANDSHAKE.replace(b"127.0.0.1", b"evil.example"))
            async with asyncio.timeout(2):
                answer = await reader.read()
            writer.close()
            await writer.wait_closed()
            assert answer.startswith(b"HTTP/1.1 403 ")

    async def test_a_browser_that_is_no_websocket_client_is_told_to_upgrade(self, start: StartFeed) -> None:
        """A plain GET is 426 (RFC 9110 section 15.5.22)."""
        async with start() as feed:
            port = port_of(feed)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            async with asyncio.timeout(2):
                answer = await reader.read()
            writer.close()
            await writer.wait_closed()
            assert answer.startswith(b"HTTP/1.1 426 ")


class TestLimits:
    """Whatever a client does, others do not notice."""

    @pytest.mark.parametrize(
        ("payload", "code"),
        [(b"\x00\x01", 1003), ("x" * 2000, 1009)],
        ids=["binary", "oversized"],
    )
    async def test_what_is_not_allowed_closes_that_client_alone(
        self, start: StartFeed, payload: str | bytes, code: int
    ) -> None:
        """Binary 1003, oversized 1009; the neighbour still gets its prices."""
        async with (
            start(max_message_size=1024) as feed,
            connect(url(feed)) as good,
            connect(url(feed)) as bad,
        ):
            await bad.send(payload)
            assert (await close_of(bad))[0] == code
            await good.send(PRICE)
            assert (await receive(good))["type"] == "btc_price"

    async def test_repeated_violations_close_1008(self, start: StartFeed) -> None:
        """After they have been answered."""
        async with start() as feed, connect(url(feed, "?channels=")) as client:
            for _ in range(20):
                await client.send("nope")
            answers = [await receive(client) for _ in range(20)]
            assert {a["code"] for a in answers} == {"invalid_json"}
            assert (await close_of(client))[0] == 1008

    async def test_a_client_that_does_not_read_is_closed_and_delays_nobody(self, start: StartFeed) -> None:
        """Over the bound of its outbox: 4008; the other gets everything in order."""
        note = "x" * 4000
        async with start(outbox_limit=100_000) as feed, connect(url(feed)) as good:
            port = port_of(feed)
            with socket.socket() as stuck:
                stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                stuck.connect(("127.0.0.1", port))
                stuck.sendall(HANDSHAKE)
                closes = server_of(feed).stats.closes
                sent = 0
                async with asyncio.timeout(20):
                    while 4008 not in closes:
                        fields = {
                            "type": "broadcast",
                            "timestamp": "2026-01-01T00:00:00Z",
                            "n": sent,
                            "note": note,
                        }
                        await good.send(json.dumps(fields))
                        assert (await receive(good))["n"] == sent
                        sent += 1
            assert server_of(feed).stats.slow_closes == 1

    async def test_a_client_that_does_not_answer_pings_is_closed(self, start: StartFeed) -> None:
        """4012; one that answers stays."""
        async with start(ping_interval=0.2, pong_timeout=0.2) as feed, connect(url(feed)) as good:
            port = port_of(feed)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HANDSHAKE)
            async with asyncio.timeout(5):
                received = await reader.read()
            writer.close()
            await writer.wait_closed()
            assert (4012).to_bytes(2) in received
            await good.send(PRICE)
            assert (await receive(good))["type"] == "btc_price"


class TestTls:
    """The same application behind TLS."""

    async def test_the_development_certificate_is_made_trusted_and_private(
        self, start: StartFeed, tmp_path: Path
    ) -> None:
        """A verified connection behaves as a plain one; the key is 0600."""
        async with start(tls_port=0) as feed:
            assert feed.endpoints is not None
            assert feed.endpoints.wss is not None
            assert feed.endpoints.certificate is not None
            certificate = feed.endpoints.certificate
            assert certificate.key.stat().st_mode & 0o777 == 0o600
            assert certificate.key.is_relative_to(tmp_path)
            context = ssl.create_default_context(cafile=str(certificate.ca))
            async with connect(feed.endpoints.wss, ssl=context) as secure, connect(url(feed)) as plain:
                await plain.send(PRICE)
                assert await receive(secure) == await receive(plain)
                assert server_of(feed).connections_by_transport() == {"ws": 1, "wss": 1}


class TestEnd:
    """Clean start and stop."""

    async def test_clients_are_told_1001_and_the_port_is_free_again(self, start: StartFeed) -> None:
        """Also for the next server at once."""
        async with start() as feed:
            address = url(feed)
            port = int(address.rstrip("/").rpartition(":")[2])
            client = await connect(address)
        assert (await close_of(client))[0] == 1001
        async with start(port=port):
            pass

    async def test_a_busy_port_is_one_sentence_with_what_to_do(self, start: StartFeed) -> None:
        """And nothing is left running."""
        async with start() as feed:
            port = port_of(feed)
            with pytest.raises(PortBusy, match=rf":{port} is in use: .*--port"):
                async with start(port=port):
                    pass


class TestReplacement:
    """Certificates and processes are exchanged while clients are connected."""

    async def test_a_new_certificate_serves_new_clients_and_drops_nobody(
        self, start: StartFeed, tmp_path: Path
    ) -> None:
        """Also when the kind of key changes, for which the listener is made anew on the same socket."""
        authority = Authority("the test")
        path = tmp_path / "server.pem"
        first, second = authority.issue(), authority.issue(key=new_rsa_key())
        first.write_both(path)
        context = ssl.create_default_context(cafile=str(authority.write(tmp_path)))
        async with start(tls_port=0, cert=path) as feed:
            assert feed.endpoints is not None
            assert feed.endpoints.wss is not None
            async with connect(feed.endpoints.wss, ssl=context) as old:
                serial = serial_of(old)
                second.write_both(path)
                feed.reload_certificate()
                async with asyncio.timeout(5):
                    while True:
                        async with connect(feed.endpoints.wss, ssl=context) as new:
                            if serial_of(new) != serial:
                                break
                await old.send('{"type":"ping"}')
                assert (await receive(old))["type"] == "pong"

    async def test_a_bad_certificate_changes_nothing(self, start: StartFeed, tmp_path: Path) -> None:
        """The old one goes on being served."""
        authority = Authority("the test")
        path = tmp_path / "server.pem"
        authority.issue().write_both(path)
        context = ssl.create_default_context(cafile=str(authority.write(tmp_path)))
        async with start(tls_port=0, cert=path) as feed:
            assert feed.endpoints is not None
            assert feed.endpoints.wss is not None
            path.write_text("rubbish")
            feed.reload_certificate()
            async with connect(feed.endpoints.wss, ssl=context) as client:
                await client.send('{"type":"ping"}')
                assert (await receive(client))["type"] == "pong"

    async def test_a_retiring_server_spreads_its_clients_over_time(self, start: StartFeed) -> None:
        """1012 for each, not all at one moment, and no new one is let in."""
        async with start() as feed:
            address = url(feed)
            clients = [await connect(address) for _ in range(10)]
            ends: list[float] = []

            async def watch(client: ClientConnection) -> None:
                assert (await close_of(client))[0] == 1012
                ends.append(asyncio.get_running_loop().time())

            watching = asyncio.gather(*(watch(client) for client in clients))
            await feed.retire(0.5)
            await watching
            assert max(ends) - min(ends) > 0.25
            with pytest.raises(ConnectionRefusedError):
                await connect(address)


def serial_of(client: ClientConnection) -> str:
    """The serial number of the certificate that a client was shown."""
    certificate = client.transport.get_extra_info("ssl_object").getpeercert()
    return str(certificate["serialNumber"])


class TestAdmission:
    """Settings that decide who comes in, as they reach the door."""

    async def test_the_rate_of_attempts_of_one_address_is_a_setting(self, start: StartFeed) -> None:
        """Behind a trusted proxy it counts for whom the proxy names; others are not touched."""
        one = {"X-Forwarded-For": "192.0.2.1"}
        async with start(
            trusted_proxies=("127.0.0.1",), connection_rate=0.01, connection_burst=2, hostnames=("localhost",)
        ) as feed:
            for _ in range(2):
                async with connect(url(feed), additional_headers=one):
                    pass
            with pytest.raises(InvalidStatus) as refused:
                await connect(url(feed), additional_headers=one)
            assert refused.value.response.status_code == 429
            assert int(refused.value.response.headers["Retry-After"]) > 60
            async with connect(url(feed), additional_headers={"X-Forwarded-For": "192.0.2.2"}):
                pass
            assert feed.snapshot().refusals["rate"] == 1
