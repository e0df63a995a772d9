"""A client library of Toxiproxy's, unchanged: what its users do works."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time

import pytest

from omega_ai.testkit.proxy.serve import ServeOptions, running_proxies
from omega_ai.tests.integration.testkit.proxy.peers import connected, echo, serving

with contextlib.suppress(ImportError):
    import toxiproxy
    from toxiproxy.api import APIConsumer
    from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists

pytestmark = pytest.mark.skipif("toxiproxy" not in globals(), reason="toxiproxy-python is not installed")


@pytest.fixture
async def toxiproxy_server(monkeypatch):
    """The library, led to a server of ours; its calls block, so each is made in a thread."""
    async with running_proxies(ServeOptions(port=0)) as running:
        host, _, port = running.api.removeprefix("http://").rpartition(":")
        monkeypatch.setattr(APIConsumer, "host", host)
        monkeypatch.setattr(APIConsumer, "port", int(port))
        yield toxiproxy.Toxiproxy()
    gc.collect()  # what it raises holds the answer, and that its connection, in a ring of references


@pytest.fixture
async def upstream():
    async with serving(echo) as server:
        yield server.address


call = asyncio.to_thread


def port_of(proxy):
    return int(proxy.listen.rpartition(":")[2])


async def test_it_finds_a_server_that_runs(toxiproxy_server):
    assert await call(toxiproxy_server.running)
    assert b'"version": "2.' in await call(toxiproxy_server.version)


async def test_it_makes_finds_and_destroys_proxies(toxiproxy_server, upstream):
    made = await call(toxiproxy_server.create, upstream=upstream, name="one")
    assert (made.name, made.upstream, made.enabled) == ("one", upstream, True)
    assert port_of(made)
    assert list(await call(toxiproxy_server.proxies)) == ["one"]
    assert (await call(toxiproxy_server.get_proxy, "one")).listen == made.listen
    with pytest.raises(ProxyExists):
        await call(toxiproxy_server.create, upstream=upstream, name="one")
    assert await call(made.destroy)
    assert await call(toxiproxy_server.get_proxy, "one") is None
    with pytest.raises(NotFound):
        await call(made.destroy)


async def test_it_populates(toxiproxy_server, upstream):
    wanted = [{"name": name, "upstream": upstream, "listen": "127.0.0.1:0"} for name in ("one", "two")]
    assert [proxy.name for proxy in await call(toxiproxy_server.populate, wanted)] == ["one", "two"]
    await call(toxiproxy_server.destroy_all)
    assert await call(toxiproxy_server.proxies) == {}


async def test_a_proxy_is_down_in_its_context(toxiproxy_server, upstream):
    proxy = await call(toxiproxy_server.create, upstream=upstream, name="one")
    down = proxy.down()
    await call(down.__enter__)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port_of(proxy))
    await call(down.__exit__, None, None, None)
    async with connected(port_of(proxy)) as client:
        client.send(b"x")
        assert await client.read(1) == b"x"


async def test_its_toxics_work_until_they_are_destroyed(toxiproxy_server, upstream):
    proxy = await call(toxiproxy_server.create, upstream=upstream, name="one")
    await call(proxy.add_toxic, type="latency", attributes={"latency": 150, "jitter": 0})
    toxics = await call(proxy.toxics)
    assert list(toxics) == ["latency_downstream"]
    assert toxics["latency_downstream"].attributes == {"latency": 150, "jitter": 0}
    async with connected(port_of(proxy)) as client:
        begin = time.monotonic()
        client.send(b"x")
        assert await client.read(1) == b"x"
        assert time.monotonic() - begin >= 0.149
    assert await call(proxy.destroy_toxic, "latency_downstream")
    assert await call(proxy.toxics) == {}


async def test_what_is_wrong_raises_what_its_users_expect(toxiproxy_server, upstream):
    proxy = await call(toxiproxy_server.create, upstream=upstream, name="one")
    with pytest.raises(InvalidToxic, match="invalid toxic type"):
        await call(proxy.add_toxic, type="magic")
    with pytest.raises(InvalidToxic, match="stream was invalid"):
        await call(proxy.add_toxic, type="latency", stream="sideways")
    await call(proxy.add_toxic, type="latency", name="slow")
    with pytest.raises(ProxyExists, match="toxic already exists"):
        await call(proxy.add_toxic, type="latency", name="slow")


async def test_reset_enables_and_heals(toxiproxy_server, upstream):
    proxy = await call(toxiproxy_server.create, upstream=upstream, name="one", enabled=False)
    await call(proxy.add_toxic, type="timeout")
    assert await call(toxiproxy_server.reset)
    proxy = await call(toxiproxy_server.get_proxy, "one")
    assert proxy.enabled
    assert await call(proxy.toxics) == {}
