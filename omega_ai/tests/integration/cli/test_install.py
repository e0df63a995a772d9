"""A stranger's first minutes: a clean clone, an empty home, and the README's first command."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import time
from pathlib import Path
from typing import IO

import pytest
import websockets

from omega_ai.tests.conftest import ROOT, RUN_MARK

pytestmark = [
    pytest.mark.install,
    pytest.mark.skipif(
        not os.environ.get("CI"), reason="installs everything from nothing; set CI=1 to run it"
    ),
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout"),
    pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed"),
]

INSTALL_SECONDS = 300.0
START_SECONDS = 60.0

FREE_PORTS = "--port 0 --tls-port 0 --http-port 0"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a stranger has after ``git clone``."""
    directory = tmp_path_factory.mktemp("stranger") / "omega-btc-ai"
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(directory)], check=True)
    return directory


def environment(home: Path) -> dict[str, str]:
    """A shell that has just been opened, but for how packages are reached from here."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in ("PATH", "LANG", RUN_MARK)
        or name.upper().startswith(("PIP_", "HTTP", "NO_PROXY", "SSL_CERT_FILE"))
    }
    return {**kept, "HOME": str(home)}


def start(clone: Path, home: Path, within: float) -> tuple[subprocess.Popen[str], dict[str, str]]:
    """``make run``; returns when it says that it serves, with what it named."""
    process = subprocess.Popen(
        ["make", "run", f"ARGS={FREE_PORTS}"],
        cwd=clone,
        env=environment(home),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + within
    assert process.stderr is not None
    said = _until_serving(process.stderr, deadline)
    if "Stop with Ctrl-C" not in said:
        stop(process)
        pytest.fail(f"make run did not serve within {within:g} s; it said:\n{said}")
    named = dict(re.findall(r"^  (ws|wss|http) +(\S+)$", said, re.MULTILINE))
    named["ca"] = re.findall(r"clients trust (\S+)$", said, re.MULTILINE)[0]
    named["installed"] = "yes" if "==> installing" in said else "no"
    return process, named


def _until_serving(stream: IO[str], deadline: float) -> str:
    said = ""
    for line in stream:
        said += line
        if line.startswith("Stop with") or time.monotonic() > deadline:
            break
    return said


def stop(process: subprocess.Popen[str]) -> None:
    """Ctrl-C in a terminal goes to make and to what it runs."""
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=10)


async def price(url: str, context: ssl.SSLContext | None = None) -> dict[str, object]:
    """The first message that comes."""
    async with websockets.connect(url, ssl=context) as connection:
        message: dict[str, object] = json.loads(await asyncio.wait_for(connection.recv(), 10))
        return message


def test_make_run_gives_prices_on_both_ports(clone: Path, tmp_path: Path) -> None:
    """From nothing the first time, and at once the second time; Ctrl-C ends it and leaves nothing."""
    home = tmp_path / "home"
    home.mkdir()
    process, at = start(clone, home, INSTALL_SECONDS)
    try:
        plain = asyncio.run(price(at["ws"]))
        secure = asyncio.run(price(at["wss"], ssl.create_default_context(cafile=at["ca"])))
    finally:
        stop(process)
    assert at["installed"] == "yes"
    assert plain["type"] == secure["type"] == "btc_price"
    assert at["ca"].startswith(str(home)), "what the feed keeps belongs into the user's home"

    process, at = start(clone, home, START_SECONDS)
    stop(process)
    assert at["installed"] == "no", "the second time, nothing is installed"

    changed = subprocess.run(
        ["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True
    )
    assert changed.stdout == "", "running makes no file that git would see"


@pytest.mark.parametrize("path", [None, "a Python that is too old"])
def test_without_a_python_make_says_what_is_missing(clone: Path, tmp_path: Path, path: str | None) -> None:
    """One sentence, before anything is made."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("make", "sh", "awk", "grep"):
        (programs / name).symlink_to(str(shutil.which(name)))
    if path is not None:
        old = programs / "python3"
        old.write_text("#!/bin/sh\nexit 1\n")  # as 3.10 would answer the question for 3.11
        old.chmod(0o755)
    done = subprocess.run(
        ["make", "run", f"VENV={tmp_path / 'venv'}"],
        cwd=clone,
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "No Python 3.11 or newer is on PATH" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_without_a_network_make_says_what_to_do(clone: Path, tmp_path: Path) -> None:
    """After pip's own words: what may be the matter. The next attempt begins where this one ended."""
    done = subprocess.run(
        ["make", "run", f"VENV={tmp_path / 'venv'}"],
        cwd=clone,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "The packages of requirements/run.lock could not be installed" in done.stderr
    assert "No network" in done.stderr
    assert not (tmp_path / "venv" / ".run-installed").exists()
