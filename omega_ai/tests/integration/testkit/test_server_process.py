"""A server as a child process: up when it is up, and gone when it is gone."""

from __future__ import annotations

import sys
from urllib.parse import urlsplit

import pytest

from omega_ai.testkit.server_process import ServerFailed, ServerProcess

LISTEN = """
import socket, sys, time
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("up", flush=True)
time.sleep(60)
"""


async def test_it_is_up_when_its_port_answers_and_comes_back_on_the_same() -> None:
    """After a kill too."""
    server = ServerProcess([sys.executable, "-c", LISTEN, "{port}"], url="ws://127.0.0.1:{port}/")
    async with server:
        first = server.pid
        assert server.url is not None
        port = urlsplit(server.url).port
        await server.kill()
        assert server.pid is None
        await server.start()
        assert server.pid not in (None, first)
        assert urlsplit(server.url).port == port
    assert server.pid is None


async def test_it_is_up_when_it_says_so() -> None:
    """By a line of its output."""
    server = ServerProcess([sys.executable, "-c", LISTEN, "0"], ready=lambda line: line == "up")
    async with server:
        assert list(server.log) == ["up"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("print('no licence'); raise SystemExit(7)", "exit code 7.*no licence"),
        ("import time; time.sleep(60)", "not up within 0.5 s; it said nothing"),
    ],
)
async def test_one_that_does_not_start_is_told_with_its_last_lines(code: str, words: str) -> None:
    """And leaves nothing running."""
    server = ServerProcess([sys.executable, "-c", code], ready=lambda _: False, start_seconds=0.5)
    if "SystemExit" in code:
        server = ServerProcess([sys.executable, "-c", code], ready=lambda _: False)
    with pytest.raises(ServerFailed, match=f"(?s){words}"):
        await server.start()
    assert server.pid is None


async def test_a_command_that_does_not_exist_is_told() -> None:
    """By its name."""
    with pytest.raises(ServerFailed, match="no-such-command cannot be started"):
        await ServerProcess(["no-such-command"], ready=lambda _: True).start()


def test_by_what_it_is_up_must_be_known() -> None:
    """A URL or a line."""
    with pytest.raises(ValueError, match="by what"):
        ServerProcess(["x"])
