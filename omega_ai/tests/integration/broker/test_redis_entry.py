"""Getting in: passwords, databases, TLS; and what is said to those who do not."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from omega_ai.data_feed.broker.base import BrokerError, BrokerUnreachable
from omega_ai.tests.certificates import Authority
from omega_ai.tests.integration.broker.support import body, numbers, redis_broker, until
from omega_ai.tests.valkey import ValkeyProcess

SECRET = "s3cr3t/w@rd"
QUOTED = "s3cr3t%2Fw%40rd"


async def _refusal(url: str, **options: float) -> str:
    with pytest.raises(BrokerUnreachable) as caught:
        async with redis_broker(url, **options):
            pass
    assert SECRET not in str(caught.value)
    assert QUOTED not in str(caught.value)
    return str(caught.value)


async def _round_trip(url: str) -> None:
    async with redis_broker(url) as broker:
        seen: list[object] = []
        await broker.subscribe(["btc_price"], seen.append)
        broker.publish("btc_price", body(1))
        await until(lambda: seen)


async def test_nobody_there_says_where_and_what_to_do() -> None:
    """The sentence of a Redis that was not started."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        text = await _refusal(f"redis://:{QUOTED}@127.0.0.1:{port}")
    assert f"redis://127.0.0.1:{port}" in text
    assert "connection refused" in text
    assert "--broker embedded" in text


async def test_no_such_socket_says_so(tmp_path: Path) -> None:
    """The sentence of a wrong path."""
    assert "no such socket" in await _refusal(f"unix://{tmp_path}/none.sock")


async def test_a_silent_peer_is_given_up() -> None:
    """A port that accepts and never answers does not hold up the start."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert "nothing within 0.2 s" in await _refusal(
            f"redis://127.0.0.1:{listener.getsockname()[1]}", timeout=0.2
        )


async def test_passwords() -> None:
    """The right one enters; a wrong, a missing and a needless one each get their own sentence."""
    with ValkeyProcess(tcp=True, password=SECRET) as valkey:
        await _round_trip(f"redis://:{QUOTED}@127.0.0.1:{valkey.port}")
        assert "user name or password" in await _refusal(f"redis://:{QUOTED}x@127.0.0.1:{valkey.port}")
        assert "wants a password" in await _refusal(f"redis://127.0.0.1:{valkey.port}")
    with ValkeyProcess(tcp=True) as valkey:
        assert "has no password set" in await _refusal(f"redis://:{QUOTED}@127.0.0.1:{valkey.port}")


async def test_a_user_with_just_the_rights_that_are_needed(valkey: ValkeyProcess) -> None:
    """An ACL user limited to our keys and channels can do everything but ask for settings."""
    rules = ["on", ">pw", "~omega:*", "&omega:*", "+@all", "-@dangerous", "-@admin", "+info"]
    valkey.command("ACL", "SETUSER", "feed", *rules)
    valkey.command("ACL", "SETUSER", "deaf", *["on", ">pw", "~omega:*", "resetchannels", "+@all"])
    rules = ["on", ">pw", "~omega:*", "&omega:*", "+@all", "-evalsha", "-script", "-eval"]
    valkey.command("ACL", "SETUSER", "mute", *rules)
    await _round_trip(f"unix://feed:pw@{valkey.socket}")
    async with redis_broker(f"unix://deaf:pw@{valkey.socket}") as broker:
        with pytest.raises(BrokerError, match="NOPERM"):
            await broker.subscribe(["btc_price"], lambda _: None)
    assert "may not do what is needed" in await _refusal(f"unix://mute:pw@{valkey.socket}")


async def test_databases_are_apart(valkey: ValkeyProcess) -> None:
    """Each number has its own sequence; one that does not exist says so."""
    for db in (0, 1):
        async with redis_broker(f"{valkey.url}?db={db}") as broker:
            broker.publish("btc_price", body(db))
            await broker.flush()
            history = await broker.history("btc_price")
            assert history.position.seq == 1
            assert numbers(history.publications) == [db]
    assert "no database 99" in await _refusal(f"{valkey.url}?db=99")


async def test_a_replica_is_refused_at_start(valkey: ValkeyProcess) -> None:
    """It takes no writes; the sentence says to name the primary."""
    valkey.command("REPLICAOF", "127.0.0.1", "1")
    assert "name the primary" in await _refusal(valkey.url)


async def test_a_cluster_node_is_refused_at_start() -> None:
    """It would answer MOVED to every other channel."""
    with ValkeyProcess(options={"cluster-enabled": "yes"}) as valkey:
        assert "cluster" in await _refusal(valkey.url)


async def test_tls_verified_by_the_given_ca(tmp_path: Path) -> None:
    """With the CA named it works; without, with another, or on a plain port it is refused in plain words."""
    authority = Authority()
    ca, chain = authority.write(tmp_path), tmp_path / "server.pem"
    authority.issue(["127.0.0.1"]).write_both(chain)
    with ValkeyProcess() as valkey:
        async with _tls_before(valkey.socket, chain) as port:
            await _round_trip(f"rediss://127.0.0.1:{port}?ssl_ca_certs={ca}")
            await _round_trip(f"rediss://127.0.0.1:{port}?ssl_cert_reqs=none")
            assert "not trusted" in await _refusal(f"rediss://127.0.0.1:{port}")
            wrong_name = await _refusal(f"rediss://localhost:{port}?ssl_ca_certs={ca}")
            assert "not trusted" in wrong_name or "certificate" in wrong_name
    with ValkeyProcess(tcp=True) as valkey:
        assert "TLS" in await _refusal(f"rediss://127.0.0.1:{valkey.port}?ssl_ca_certs={ca}", timeout=0.5)


@asynccontextmanager
async def _tls_before(path: Path, chain: Path) -> AsyncIterator[int]:
    """A TLS port before a unix socket: the Valkey of the wheel is built without TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except OSError:
            pass
        finally:
            writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_unix_connection(str(path))
        for task in (pump(reader, inner_writer), pump(inner_reader, writer)):
            tasks.add(asyncio.ensure_future(task))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.wait(tasks, timeout=5)
