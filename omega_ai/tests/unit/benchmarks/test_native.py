"""The native load client: what it counts is true, and a server that loses messages does not pass."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from benchmarks.server.workshop import NATIVE
from omega_ai.core.scheduler import LoopScheduler
from omega_ai.core.websocket.endpoint import Options
from omega_ai.core.websocket.handshake import Request, Upgrade
from omega_ai.core.websocket.server import ServerProtocol

COMPILER = shutil.which("cc") or ""
pytestmark = pytest.mark.skipif(not COMPILER, reason="there is no C compiler")


@pytest.fixture(scope="module")
def programs(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("native")
    for name in ("load", "floor"):
        source = NATIVE / f"{name}.c"
        subprocess.run([COMPILER, "-O1", "-Wall", "-Werror", "-o", directory / name, source], check=True)
    return directory


@pytest.fixture
def floor(programs):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    with subprocess.Popen([programs / "floor", f"port={port}"]) as process:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.02)
        yield port, process.pid
        process.kill()


def run(programs: Path, *arguments: str) -> dict[str, float]:
    done = subprocess.run(
        [programs / "load", *arguments], capture_output=True, text=True, check=True, timeout=30
    )
    return json.loads(done.stdout)


def test_every_delivery_to_every_client_is_counted_and_timed(programs, floor):
    port, pid = floor
    found = run(
        programs,
        "mode=fanout",
        f"port={port}",
        f"pids={pid}",
        "clients=7",
        "rate=100",
        "burst=3",
        "seconds=0.3",
        "warm=0",
    )
    assert found["clients"] == 7
    assert found["lost"] == 0
    assert found["deliveries"] >= 7 * 3
    assert found["bytes"] == 250 + 4  # a frame of 250 bytes has a head of 4
    assert 0 < found["latency_p50_us"] <= found["latency_p99_us"] <= found["latency_max_us"]
    assert found["latency_p50_us"] <= found["last_p99_us"]
    assert found["cpu_us"] > 0


def test_round_trips_and_connections_are_counted(programs, floor):
    port, pid = floor
    echoes = run(programs, "mode=echo", f"port={port}", f"pids={pid}", "clients=3", "seconds=0.2", "warm=0")
    assert echoes["closed"] == 0
    assert echoes["per_s"] > 0
    assert echoes["per_cpu_s"] > 0
    opened = run(programs, "mode=connect", f"port={port}", f"pids={pid}", "clients=50")
    assert opened["clients"] == 50


class Forgetful(ServerProtocol):
    """Publishes, but every third message not to all."""

    __slots__ = ("publishes",)

    members: list[Forgetful]
    count: int

    def on_request(self, request: Request) -> Upgrade:
        self.publishes = request.target == "/pub"
        return super().on_request(request)

    def on_open(self) -> None:
        if not self.publishes:
            type(self).members.append(self)

    def on_text(self, data: bytes) -> None:
        type(self).count += 1
        for member in type(self).members[1 if type(self).count % 3 == 0 else 0 :]:
            member.send_text(data)


async def test_a_server_that_leaves_a_client_out_is_found_out(programs):
    loop = asyncio.get_running_loop()
    options = Options(scheduler=LoopScheduler(loop))
    Forgetful.members, Forgetful.count = [], 0
    server = await loop.create_server(lambda: Forgetful(options), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    found = await asyncio.to_thread(
        run, programs, "mode=fanout", f"port={port}", "clients=4", "rate=50", "seconds=0.3", "warm=0"
    )
    server.close()
    await asyncio.sleep(0.05)
    assert found["lost"] == Forgetful.count // 3 > 0


def test_an_unknown_mode_and_a_server_that_is_not_there_are_errors(programs):
    for arguments in (["mode=nonsense"], ["mode=connect", "port=1", "clients=1"]):
        done = subprocess.run(
            [programs / "load", *arguments], capture_output=True, text=True, check=False, timeout=30
        )
        assert done.returncode == 1
        assert done.stderr
