"""A process that is told to stop lets its clients go one by one, if it was given time for that."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import urllib.error
import urllib.request
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from omega_ai.core.clock import SystemClock
from omega_ai.data_feed.feed import Feed
from omega_ai.data_feed.settings import FeedSettings
from omega_ai.tests.feed_server import FeedProcess

PATIENCE = 30.0


async def code_of(client: ClientConnection) -> int:
    """The code that the server closes with."""
    try:
        while True:
            await client.recv()
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd is not None else 1006


def readiness(http: str) -> tuple[int, set[str]]:
    """The status of ``/readyz``, and which checks fail."""
    try:
        with urllib.request.urlopen(f"{http}/readyz", timeout=PATIENCE) as answer:
            status, body = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read()
    return status, {check["name"] for check in json.loads(body)["checks"] if not check["ok"]}


async def test_clients_leave_one_by_one_and_a_second_signal_cuts_it_short(tmp_path: Path) -> None:
    """Not ready, 1012 for the first; those that are left get 1001 when there is no more time."""
    feed = FeedProcess(
        tmp_path,
        *(
            "--port",
            "0",
            "--tls-port",
            "off",
            "--http-port",
            "0",
            "--broker",
            "memory",
            "--source",
            "simulated",
        ),
        *("--drain-seconds", "600"),
        environment={"HOME": str(tmp_path)},
    )
    with feed:
        http = feed.at.http or ""
        clients = [await connect(feed.at.ws) for _ in range(10)]
        assert await asyncio.to_thread(readiness, http.rstrip("/")) == (200, set())
        ends = [asyncio.create_task(code_of(client)) for client in clients]
        os.kill(feed.pid or 0, signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            done, left = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        # The first goes at once, the second a minute later.
        assert [task.result() for task in done] == [1012]
        assert await asyncio.to_thread(readiness, http.rstrip("/")) == (503, {"draining"})
        try:
            await connect(feed.at.ws)
        except OSError:
            pass
        else:
            raise AssertionError("a new client was let in")
        os.kill(feed.pid or 0, signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            assert set(await asyncio.gather(*left)) == {1001}
        for client in clients:
            await client.close()
    assert '"event": "draining"' in feed.log()


async def test_workers_let_their_clients_go_and_are_not_replaced(tmp_path: Path) -> None:
    """Each sends its own away; afterwards no worker is left."""
    settings = FeedSettings(
        port=0, tls_port=None, http_port=None, source="none", workers=2, broker=f"embedded:{tmp_path / 'v'}"
    )  # fmt: skip
    async with Feed(settings, clock=SystemClock()) as feed:
        assert feed.endpoints is not None
        assert feed.pool is not None
        clients = [await connect(str(feed.endpoints.ws)) for _ in range(6)]
        ends = [asyncio.create_task(code_of(client)) for client in clients]
        async with asyncio.timeout(PATIENCE):
            await feed.drain(0.2)
            assert await asyncio.gather(*ends) == [1012] * 6
        assert [worker.process.returncode for worker in feed.pool.workers] == [0, 0]
        assert feed.pool.restarts == 0
        for client in clients:
            await client.close()
