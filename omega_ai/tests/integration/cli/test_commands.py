"""The commands as processes, as a person or a script runs them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import websockets

from omega_ai.core.client_tls import development_ca
from omega_ai.tests.feed_server import FeedProcess

STOP_SECONDS = 3.0
"""Within which a feed has to be gone after SIGTERM, with clients connected."""

FREE_PORTS = ("--port", "0", "--tls-port", "0", "--http-port", "0")


def omega(*arguments: str, timeout: float = 30.0, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "omega_ai", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        env={**os.environ, **environment},
    )


@pytest.fixture
def feed(tmp_path: Path, state_home: Path) -> Iterator[FeedProcess]:
    """A feed of simulated prices on free ports, with the default broker, in a home of its own."""
    with FeedProcess(tmp_path, "--source", "simulated", *FREE_PORTS) as process:
        yield process


async def first_price(url: str, context: ssl.SSLContext | None = None) -> dict[str, object]:
    """What a client that only connects sees first, within seconds."""
    async with websockets.connect(url, ssl=context) as connection:
        message: dict[str, object] = json.loads(await asyncio.wait_for(connection.recv(), 5))
        return message


async def test_prices_arrive_on_ws_and_wss(feed: FeedProcess) -> None:
    """Without a word from the client; over TLS with the development authority alone as trust."""
    plain = await first_price(feed.at.ws)
    assert feed.at.wss is not None
    secure = await first_price(feed.at.wss, ssl.create_default_context(cafile=development_ca()))
    for message in (plain, secure):
        assert message["type"] == "btc_price"
        assert message["state"] == "simulated"


async def test_sigterm_ends_the_feed_and_its_valkey_soon(feed: FeedProcess) -> None:
    """Clients are told 1001, ports are free, the embedded Valkey is gone."""
    children = children_of(feed.pid)
    async with websockets.connect(feed.at.ws) as connection:
        await connection.recv()
        began = time.monotonic()
        await asyncio.to_thread(feed.stop)
        took = time.monotonic() - began
        await asyncio.wait_for(connection.wait_closed(), 5)
    assert took < STOP_SECONDS
    assert connection.close_code == 1001
    assert [pid for pid in children if is_running(pid)] == []
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", int(feed.at.ws.rpartition(":")[2])))
        again.listen()


def children_of(pid: int | None) -> list[str]:
    """Processes that ``pid`` started; none where there is no ``/proc``."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return listed.read_text().split() if listed.exists() else []


def is_running(pid: str) -> bool:
    """Whether there is a process ``pid``."""
    return Path(f"/proc/{pid}").exists()


def test_seq_goes_on_after_a_restart(tmp_path: Path, state_home: Path) -> None:
    """The embedded broker's history is in the user's state directory, and outlives the process."""
    arguments = ("--source", "simulated", "--tls-port", "off", "--http-port", "off", "--port", "0")
    feed = FeedProcess(tmp_path, *arguments)
    with feed:
        before = asyncio.run(first_price(feed.at.ws))
    with feed:
        after = asyncio.run(first_price(feed.at.ws))
    assert after["epoch"] == before["epoch"]
    assert int(str(after["seq"])) > int(str(before["seq"]))


def test_busy_port_is_told_with_who_has_it(state_home: Path) -> None:
    """Exit code 3 and which option chooses another port; nothing keeps running."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = omega(
            "serve", "--source", "none", "--broker", "memory", "--port", str(port), "--tls-port", "off"
        )
    assert done.returncode == 3
    assert done.stdout == ""
    assert f"{port} is in use" in done.stderr
    assert "--port" in done.stderr
    if sys.platform.startswith("linux"):
        assert f"pid {os.getpid()}" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--broker", "redis://localhost:1"], "Redis at redis://localhost:1 does not answer"),
        (["--broker", "gopher://x"], "gopher"),
        (["--broker", "memory", "--source", "replay:/does/not/exist"], "/does/not/exist does not exist"),
        (["--broker", "memory", "--cert", "/does/not/exist"], "/does/not/exist does not exist"),
        (["--broker", "memory", "--token-secret", "/does/not/exist"], "/does/not/exist does not exist"),
        (["--broker", "memory", "--require-token"], "--require-token needs --token-secret"),
        (["--broker", "memory", "--host", "203.0.113.7"], "cannot listen on 203.0.113.7"),
        (["--broker", "memory", "--origin", "nonsense"], "nonsense"),
    ],
)
def test_what_cannot_be_served_is_told_in_one_sentence(
    arguments: list[str], said: str, state_home: Path
) -> None:
    """Exit code 3, never a traceback."""
    given = arguments if "--source" in arguments else [*arguments, "--source", "none"]
    done = omega("serve", *FREE_PORTS, *given)
    assert done.returncode == 3, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 2


def test_serve_is_set_up_by_environment_and_file(tmp_path: Path, state_home: Path) -> None:
    """As in a container: no option on the command line."""
    config = tmp_path / "omega.toml"
    config.write_text('[serve]\nsource = "simulated"\ntls-port = "off"\nhttp-port = 0\n')
    environment = {"OMEGA_CONFIG": str(config), "OMEGA_PORT": "0", "OMEGA_BROKER": "memory"}
    with FeedProcess(tmp_path, environment=environment) as feed:
        assert feed.at.wss is None
        assert feed.at.http is not None
        assert asyncio.run(first_price(feed.at.ws))["state"] == "simulated"


def test_watch_prints_prices_and_ends(feed: FeedProcess) -> None:
    """In a pipe: prices on standard output, the rest on standard error; over wss without further ado."""
    for url in (feed.at.ws, str(feed.at.wss)):
        done = omega("watch", url, "--count", "2")
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == 2
        assert "SIMULATED" in done.stderr


def test_watch_as_json(feed: FeedProcess) -> None:
    """Each line is one object, and nothing else is on standard output."""
    done = omega("watch", feed.at.ws, "--count", "1", "--json")
    kinds = [json.loads(line)["type"] for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert kinds[0] == "connected"
    assert kinds[-1] == "btc_price"


def test_watch_on_a_terminal_draws_in_place(feed: FeedProcess) -> None:
    """Price, state and sources; the cursor moves up instead of lines being added, and is shown at the end."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "omega_ai", "watch", feed.at.ws, "--count", "20"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"},
    )
    os.close(slave)
    shown = b""
    with contextlib.suppress(OSError):  # EIO: the process has ended, and with it the terminal's other side
        while part := os.read(master, 65_536):
            shown += part
    os.close(master)
    assert process.wait(timeout=10) == 0
    text = shown.decode()
    assert "BTC-USD" in text
    assert "SIMULATED" in text
    assert "sim-1" in text
    assert "\x1b[1A" in text, "drawn over what was drawn before"
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l"), "the cursor is shown again"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_watching_cleanly(feed: FeedProcess, number: signal.Signals) -> None:
    """Exit code 0, no traceback: it is how watching ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "omega_ai", "watch", feed.at.ws],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() != ""
    process.send_signal(number)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "Traceback" not in errors


def test_a_reader_that_goes_away_is_no_error(feed: FeedProcess) -> None:
    """``omega watch | head -1``."""
    command = f"{sys.executable} -m omega_ai watch {feed.at.ws} | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=20)
    assert done.stdout.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_watch_of_nothing_says_how_to_start_a_feed() -> None:
    """Exit code 3."""
    done = omega("watch", "ws://localhost:1")
    assert done.returncode == 3
    assert done.stdout == ""
    assert "nothing listens on localhost port 1" in done.stderr
    assert "omega serve" in done.stderr


def test_doctor_finds_a_running_feed_well(feed: FeedProcess) -> None:
    """Ports as served, the certificate, Valkey's binary, a round trip over ws and wss, a price."""
    ports = [str(url).rpartition(":")[2] for url in feed.at]
    done = omega("doctor", "--port", ports[0], "--tls-port", ports[1], "--http-port", ports[2], "--json", "-")
    findings = json.loads(done.stdout)
    assert done.returncode == 0, findings
    assert {finding["check"] for finding in findings} >= {
        "certificate",
        "broker",
        "ws",
        "wss",
        "http",
        "ws price",
    }


def test_installed_command_is_the_module() -> None:
    """``omega`` and ``python -m omega_ai`` are the same."""
    script = Path(sys.executable).with_name("omega")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == omega("--version").stdout
