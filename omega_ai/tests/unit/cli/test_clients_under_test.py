"""``omega test --client``: what cannot be done is told before anything is started."""

from __future__ import annotations

import socket
import sys

import pytest

from omega_ai.cli.app import main


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--client", "node client.js"], "--client has no {url} in it"),
        (["--client", "'"], "No closing quotation"),
        (["ws://localhost:1/", "--client", "x {url}"], "a client is to be tested, and a server"),
        (["--client", "x {url}", "--suite", "messages"], "the suite messages is for servers"),
    ],
)
def test_a_wrong_option_is_told(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    """With exit code 3."""
    assert main(["test", *arguments]) == 3
    assert words in capsys.readouterr().err


def test_a_command_that_connects_nowhere_is_told_with_its_last_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Not after a time-out."""
    command = f"{sys.executable} -c 'import sys; sys.exit(\"I have no {{url}}\")'"
    assert main(["test", "--client", command]) == 3
    told = capsys.readouterr().err
    assert "the command ends without connecting: it ended with exit code 1" in told
    assert "I have no ws://127.0.0.1:" in told


def test_a_command_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """By its name."""
    assert main(["test", "--client", "/nowhere/client {url}"]) == 3
    assert "/nowhere/client cannot be started" in capsys.readouterr().err


def test_a_port_that_is_taken_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Whose it is, omega doctor says."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["test", "--client", "-", "--client-port", str(port)]) == 3
    assert f"port {port} cannot be listened on: address already in use" in capsys.readouterr().err
