"""Faults of WebSocket frames, between a real client and a real server, over plain TCP and through TLS."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidMessage

from omega_ai.core.client_tls import client_context
from omega_ai.testkit.proxy import FaultProxy, ProxyTls
from omega_ai.testkit.zoo.certificates import Authority
from omega_ai.tests.integration.testkit.proxy.peers import WAIT, connected, serving


class Feed:
    """A server that sends back, and to ``publish`` 5 sends 5 numbered messages."""

    async def __call__(self, connection):
        with contextlib.suppress(ConnectionClosed):
            async for message in connection:
                if isinstance(message, str) and message.startswith("publish "):
                    for number in range(int(message.split()[1])):
                        await connection.send(f"message {number}")
                else:
                    await connection.send(message)


@contextlib.asynccontextmanager
async def feed(*, context=None, **options):
    """A proxy before a feed."""
    scheme = "wss" if context is not None else "ws"
    async with serve(Feed(), "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        async with FaultProxy(f"{scheme}://localhost:{port}", **options) as proxy:
            yield proxy


@contextlib.asynccontextmanager
async def client_of(proxy, *, compression=None):
    tls = client_context(proxy.ca) if proxy.ca is not None else None
    async with asyncio.timeout(WAIT):
        async with connect(proxy.url, ssl=tls, ping_interval=None, compression=compression) as client:
            yield client


async def receive(client, count):
    return [await client.recv() for _ in range(count)]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(params=["plain", "tls in front", "tls on both sides"])
async def proxy(request, authority):
    """A proxy before a feed: without TLS, with TLS towards clients, and with TLS opened and closed again."""
    if request.param == "plain":
        options = {}
    elif request.param == "tls in front":
        options = {"tls": ProxyTls()}
    else:
        options = {"tls": ProxyTls(ca=authority.ca)}
    context = authority.context() if request.param == "tls on both sides" else None
    async with feed(context=context, **options) as proxy:
        yield proxy


async def test_without_faults_messages_of_all_sizes_pass(proxy):
    async with client_of(proxy) as client:
        for message in ("", "ü", "x" * 70_000, bytes(900_000)):
            await client.send(message)
            assert await client.recv() == message


async def test_messages_are_dropped_repeated_and_swapped(proxy):
    async with client_of(proxy) as client:
        proxy.add("ws_drop", skip=1, limit=1)
        await client.send("publish 4")
        assert await receive(client, 3) == ["message 0", "message 2", "message 3"]
        proxy.clear()
        proxy.add("ws_duplicate", limit=1)
        await client.send("publish 2")
        assert await receive(client, 3) == ["message 0", "message 0", "message 1"]
        proxy.clear()
        proxy.add("ws_reorder", limit=1)
        await client.send("publish 3")
        assert await receive(client, 3) == ["message 1", "message 0", "message 2"]


async def test_without_compression_the_loss_of_a_message_is_the_loss_of_that_message(proxy):
    proxy.add("ws_no_deflate")
    proxy.add("ws_drop", skip=1, limit=1)
    async with client_of(proxy, compression="deflate") as client:
        assert not client.protocol.extensions
        await client.send("publish 4")
        assert await receive(client, 3) == ["message 0", "message 2", "message 3"]


async def test_a_toxic_placed_on_an_open_connection_finds_the_frames(proxy):
    async with client_of(proxy) as client:
        await client.send("publish 2")
        await receive(client, 2)
        proxy.add("ws_corrupt", stream="upstream", what="digits", frames="text")
        await client.send("value 5")
        answer = await client.recv()
        assert answer.startswith("value ")
        assert answer != "value 5"


async def test_fragments_are_put_together(proxy):
    proxy.add("ws_fragment", size=7)
    proxy.add("ws_fragment", stream="upstream", size=5)
    async with client_of(proxy) as client:
        await client.send("a message in many fragments")
        assert await client.recv() == "a message in many fragments"


@pytest.mark.parametrize("code", [1012, 4008])
async def test_a_forged_close_reaches_the_client(proxy, code):
    proxy.add("ws_close", code=code, reason="said the proxy")
    async with client_of(proxy) as client:
        await client.send("publish 1")
        with pytest.raises(ConnectionClosed) as caught:
            await client.recv()
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (code, "said the proxy")


async def test_frames_masked_wrongly_are_refused_by_both_sides(proxy):
    for stream in ("upstream", "downstream"):
        proxy.clear()
        proxy.add("ws_mask", stream=stream)
        async with client_of(proxy) as client:
            await client.send("x")
            with pytest.raises(ConnectionClosed) as caught:
                await client.recv()
            close = caught.value.rcvd if stream == "upstream" else caught.value.sent
            assert close.code == 1002


async def test_withheld_pongs_let_a_ping_time_out(proxy):
    async with client_of(proxy) as client:
        await (await client.ping())
        proxy.add("ws_no_pong")
        waiter = await client.ping()
        await client.send("still here")
        assert await client.recv() == "still here"
        assert not waiter.done()
        waiter.cancel()


@pytest.mark.parametrize(
    ("show", "words"),
    [
        ("expired", "expired"),
        ("not_yet_valid", "not yet valid"),
        ("wrong_name", "mismatch, certificate is not valid for"),
        ("self_signed", "self-signed"),
        ("unknown_authority", "unable to get local issuer"),
        ("weak_key", "key too weak"),
    ],
)
async def test_a_client_that_looks_sees_what_is_wrong_with_a_certificate(show, words):
    async with feed(tls=ProxyTls()) as proxy:
        proxy.add("tls_certificate", show=show)
        with pytest.raises(ssl.SSLCertVerificationError, match=words):
            async with client_of(proxy):
                pass
        proxy.clear()
        async with client_of(proxy) as client:
            await client.send("x")
            assert await client.recv() == "x"


@pytest.mark.parametrize("count", [0, 1, 200])
async def test_a_handshake_is_cut(count):
    async with feed(tls=ProxyTls()) as proxy:
        proxy.add("tls_cut", bytes=count)
        with pytest.raises((OSError, InvalidMessage, EOFError)):
            async with client_of(proxy):
                pass
        assert "the TLS handshake was cut" in [event.detail for event in proxy.events]


async def test_a_server_with_a_wrong_certificate_is_not_trusted(authority):
    wrong = authority.context(names=("elsewhere",))
    async with serve(Feed(), "127.0.0.1", 0, ssl=wrong) as server:
        port = server.sockets[0].getsockname()[1]
        async with FaultProxy(f"wss://localhost:{port}", tls=ProxyTls(ca=authority.ca)) as proxy:
            with pytest.raises((OSError, InvalidMessage, EOFError)):
                async with client_of(proxy):
                    pass
            assert any("not for localhost" in event.detail for event in proxy.events)
        unchecked = ProxyTls(verify=False)
        async with FaultProxy(f"wss://localhost:{port}", tls=unchecked) as proxy, client_of(proxy) as client:
            await client.send("x")
            assert await client.recv() == "x"


@pytest.mark.parametrize("limit", [None, 1_000_000])
async def test_through_tls_all_that_may_pass_arrives_before_the_end(authority, limit):
    data = random.Random(8).randbytes(3_000_000)

    async def send(peer):
        peer.send(data)
        await peer.writer.drain()
        peer.writer.close()

    async with serving(send, tls=authority.context()) as server:
        url = f"tls://localhost:{server.port}"
        async with FaultProxy(url, tls=ProxyTls(ca=authority.ca)) as proxy:
            if limit is not None:
                proxy.add("limit_data", bytes=limit)
            async with connected(proxy.port, tls=client_context(proxy.ca)) as client:
                assert await client.read_to_end() == (data[:limit], "end")


async def test_authorities_that_are_gone_later_end_new_connections_and_nothing_else(tmp_path, authority):
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.ca.read_bytes())
    async with feed(context=authority.context(), tls=ProxyTls(ca=ca)) as proxy, client_of(proxy) as client:
        ca.unlink()
        with pytest.raises((OSError, InvalidMessage, EOFError)):
            async with client_of(proxy):
                pass
        assert any("does not exist" in event.detail for event in proxy.events)
        await client.send("still here")
        assert await client.recv() == "still here"
        assert proxy.connections == 1


async def test_without_termination_tls_passes_through(authority):
    async with feed(context=authority.context()) as proxy:
        proxy.add("ws_drop")  # sees no frames in it
        tls = client_context(authority.ca)
        async with connect(proxy.url, ssl=tls, server_hostname="localhost") as client:
            await client.send("x")
            assert await client.recv() == "x"
