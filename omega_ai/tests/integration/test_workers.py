"""Several processes on one port: every client gets everything, and processes come and go."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin

from omega_ai.core.clock import SystemClock
from omega_ai.data_feed import workers
from omega_ai.data_feed.feed import Feed
from omega_ai.data_feed.settings import FeedSettings, SettingsError
from omega_ai.data_feed.workers import Worker, WorkerFailed, WorkerPool
from omega_ai.tests.certificates import Authority
from omega_ai.tests.feed_server import FeedProcess
from omega_ai.tests.valkey import ValkeyProcess


@pytest.fixture
async def feed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Feed]:
    """A feed of two workers on free ports, over a Valkey of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    settings = FeedSettings(
        port=0, tls_port=None, http_port=None, source="none", workers=2, broker=f"embedded:{tmp_path / 'v'}"
    )  # fmt: skip
    async with Feed(settings, clock=SystemClock()) as running:
        yield running


def parts(feed: Feed) -> tuple[str, WorkerPool]:
    """Where clients connect, and the pool."""
    assert feed.endpoints is not None
    assert feed.endpoints.ws is not None
    assert feed.pool is not None
    return feed.endpoints.ws, feed.pool


def price(number: int) -> str:
    """A client's price."""
    fields = {"type": "btc_price", "price": number, "volume": 1, "timestamp": "2026-01-01T00:00:00Z"}
    return json.dumps(fields)


async def receive(client: ClientConnection) -> dict[str, Any]:
    """The next message, within a few seconds."""
    async with asyncio.timeout(5):
        message: dict[str, Any] = json.loads(await client.recv())
        return message


async def owners(feed: Feed) -> dict[int, int]:
    """How many connections each worker has, once all workers have told."""
    _, pool = parts(feed)
    for worker in pool.workers:
        worker.snapshot = None
    async with asyncio.timeout(5):
        while any(worker.snapshot is None for worker in pool.workers):
            await asyncio.sleep(0.05)
    return {w.pid: w.snapshot.clients for w in pool.workers if w.snapshot is not None}


async def test_clients_of_all_workers_get_every_message_in_one_order(feed: Feed) -> None:
    """Whichever worker a message came in by; and the figures are those of all together."""
    url, _ = parts(feed)
    clients = [await connect(url) for _ in range(16)]
    assert all(count > 0 for count in (await owners(feed)).values()), "one worker got no client"
    for number in range(1, 21):
        await clients[number % len(clients)].send(price(number))
        seen = [await receive(client) for client in clients]
        assert {m["seq"] for m in seen} == {number}
        assert {m["price"] for m in seen} == {number}
    await owners(feed)
    snapshot = feed.snapshot()
    assert snapshot.connections["ws"] == 16
    assert snapshot.messages_sent == 20 * 16
    assert snapshot.messages_received == 20
    for client in clients:
        await client.close()


async def test_a_worker_that_is_killed_is_replaced_and_its_clients_lose_nothing(feed: Feed) -> None:
    """They come back to any worker and resume by position."""
    url, pool = parts(feed)
    client = await connect(url)
    await client.send(price(1))
    first = await receive(client)
    (victim,) = [pid for pid, count in (await owners(feed)).items() if count]
    os.kill(victim, signal.SIGKILL)
    with pytest.raises(ConnectionClosed):
        await receive(client)
    async with asyncio.timeout(10):
        while pool.restarts == 0:
            await asyncio.sleep(0.05)
    assert victim not in {worker.pid for worker in pool.workers}
    async with connect(url) as other:
        await other.send(price(2))
        assert (await receive(other))["seq"] == 2
    async with connect(url + "/?channels=") as back:
        since = {"btc_price": {"epoch": first["epoch"], "seq": first["seq"]}}
        await back.send(json.dumps({"type": "subscribe", "channels": ["btc_price"], "since": since}))
        assert (await receive(back))["recovered"] is True
        assert (await receive(back))["seq"] == 2


async def test_a_rolling_restart_sends_clients_away_with_1012_and_refuses_nobody(feed: Feed) -> None:
    """The new worker listens before the old one lets go."""
    url, pool = parts(feed)
    before = {worker.pid for worker in pool.workers}
    clients = [await connect(url) for _ in range(8)]
    rolling = asyncio.get_running_loop().create_task(feed.roll(0.5))
    attempts = 0
    while not rolling.done():
        async with connect(url):
            attempts += 1
        await asyncio.sleep(0.02)
    await rolling
    assert attempts > 10
    assert not before & {worker.pid for worker in pool.workers}
    for client in clients:
        with pytest.raises(ConnectionClosed):
            await receive(client)
        assert client.close_code == 1012


async def test_a_worker_that_is_starting_when_settings_change_gets_them_too(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was given the old ones; and each worker has its share of what is meant for all."""
    url, pool = parts(feed)
    wanted = structs.replace(feed.settings, max_connections=10, origins=("https://desk.example",))

    def starting(process: Process) -> Worker:
        asyncio.get_running_loop().call_soon(feed.reconfigure, wanted)  # once it was told what to serve
        return Worker(process)

    monkeypatch.setattr(workers, "Worker", starting)
    await feed.roll(0.1)
    assert pool.settings.max_connections == 5
    for _ in range(16):
        async with connect(url, origin=Origin("https://desk.example")):
            pass


async def test_when_the_parent_is_killed_nothing_is_left(tmp_path: Path) -> None:
    """Neither workers nor Valkey."""
    code = (
        "import asyncio,sys;from omega_ai.data_feed.service import run_feed;"
        "from omega_ai.data_feed.settings import FeedSettings;"
        "asyncio.run(run_feed(FeedSettings(port=0,tls_port=None,http_port=None,source='none',workers=2,"
        f"broker='embedded:{tmp_path / 'v'}'),ready=lambda e: print('ready',flush=True)))"
    )
    environment = os.environ | {"XDG_STATE_HOME": str(tmp_path)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            while b"ready" not in await process.stdout.readline():
                pass
        children = descendants(process.pid)
        assert len(children) >= 3, "two workers and a Valkey were expected"
    finally:
        process.kill()
        await process.wait()
    async with asyncio.timeout(10):
        while any(Path(f"/proc/{pid}").exists() for pid in children):
            await asyncio.sleep(0.05)


def descendants(pid: int) -> set[int]:
    """All processes below ``pid``, from /proc."""
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        for task in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            children = {int(child) for child in task.read_text().split()}
            waiting.extend(children - found)
            found |= children
    return found


async def test_a_worker_that_cannot_start_leaves_none_of_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One had started already when another failed."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    started: list[Worker] = []
    spawn = WorkerPool._spawn

    async def one_alone(self: WorkerPool) -> Worker:
        started.append(await spawn(self))
        failing.set()
        return started[0]

    async def another(self: WorkerPool) -> Worker:
        await failing.wait()
        raise WorkerFailed("for a test")

    failing = asyncio.Event()
    turns = iter((one_alone, another))
    monkeypatch.setattr(WorkerPool, "_spawn", lambda self: next(turns)(self))
    with ValkeyProcess() as valkey:
        settings = FeedSettings(
            port=0, tls_port=None, http_port=None, source="none", broker=valkey.url, role="edge"
        )
        with pytest.raises(WorkerFailed, match="for a test"):
            await WorkerPool(settings, 2).start()
        assert started[0].process.returncode is not None


def test_workers_need_a_broker_that_they_can_share() -> None:
    """The memory of one process is none."""
    with pytest.raises(SettingsError, match="--workers needs a broker"):
        FeedSettings(workers=2, broker="memory").validate()


async def test_sighup_gives_every_worker_the_new_certificate_and_drops_nobody(tmp_path: Path) -> None:
    """Those who are there keep theirs; whoever comes, whichever worker takes it, sees the new one."""
    authority = Authority("the test")
    path = tmp_path / "server.pem"
    authority.issue().write_both(path)
    context = ssl.create_default_context(cafile=str(authority.write(tmp_path)))
    arguments = (
        f"--workers 2 --port 0 --tls-port 0 --http-port off --source none --cert {path}"
        f" --broker embedded:{tmp_path / 'v'}"
    )
    environment = {"XDG_STATE_HOME": str(tmp_path / "state")}
    feed = FeedProcess(tmp_path, *arguments.split(), environment=environment)
    await asyncio.to_thread(feed.start)
    try:
        url = feed.at.wss
        assert url is not None
        assert feed.pid is not None
        old = [await connect(url, ssl=context) for _ in range(8)]
        before = serial_of(old[0])
        authority.issue().write_both(path)
        os.kill(feed.pid, signal.SIGHUP)
        new_in_a_row = 0
        async with asyncio.timeout(30):
            while new_in_a_row < 16:  # the kernel spreads them over both
                async with connect(url, ssl=context) as client:
                    new_in_a_row = new_in_a_row + 1 if serial_of(client) != before else 0
        for client in old:
            await client.send('{"type":"ping"}')
            assert (await receive(client))["type"] == "pong"
            await client.close()
    finally:
        await asyncio.to_thread(feed.stop)


def serial_of(client: ClientConnection) -> str:
    """The serial number of the certificate that a client was shown."""
    certificate = client.transport.get_extra_info("ssl_object").getpeercert()
    return str(certificate["serialNumber"])
