"""The tutorial from its first line to its last, as a reader does it: files saved, commands typed."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from omega_ai.testkit.server_process import free_port
from omega_ai.tests.browser.conftest import ARGUMENTS, chromium
from omega_ai.tests.conftest import ROOT
from omega_ai.tests.docs.blocks import blocks, commands
from omega_ai.tests.feed_server import FeedProcess

PATIENCE = 120.0
DOCUMENT = "docs/tutorial.md"
FILES = {block.title: block.text for block in blocks() if block.document == DOCUMENT and block.title}


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder with every file that the reader was told to save."""
    for name, text in FILES.items():
        (tmp_path / str(name)).write_text(text)
    return tmp_path


@contextmanager
def running(desk: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A program that runs in another terminal."""
    process = subprocess.Popen(
        [sys.executable, "-u", *arguments],
        cwd=desk,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def run(desk: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A program, to its end."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=desk,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(desk)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def typed(*beginning: str) -> list[str]:
    """The words of the command that the tutorial has the reader type, found by how it begins."""
    found = [
        c.words
        for c in commands("omega")
        if c.document == DOCUMENT and c.words[: len(beginning)] == [*beginning]
    ]
    assert found, f"the tutorial has no omega {' '.join(beginning)}"
    return found[0]


def test_the_tutorial_has_what_is_tested_here() -> None:
    """Otherwise the page has changed its form."""
    assert FILES.keys() == {
        *("prices.py", "price.html", "echo_server.py", "losing_server.py", "test_echo.py"),
    }


def test_the_feed_is_cut_and_the_program_loses_nothing(desk: Path) -> None:
    """Sections 2 to 4: serve, watch, a program, the feed stopped and started again: Recovered."""
    serve = typed("serve")[1:]
    feed = FeedProcess(desk, *serve, *PORTS, environment={"HOME": str(desk), **NOWHERE})
    with feed:
        where = feed.at.ws
        watch = [word for word in typed("watch") if word != "watch"]
        shown = run(desk, "-m", "omega_ai", "watch", where, *watch)
        assert shown.returncode == 0, shown.stderr
        assert shown.stdout.count("simulated") >= 3
        program = desk / "prices.py"
        program.write_text(program.read_text().replace("ws://localhost:8765", where))
        with running(desk, "prices.py") as process:
            assert process.stdout is not None
            _until(process, "Price(")
            feed.stop()
            _until(process, "Disconnected(")
            port = where.rpartition(":")[2]
            feed.start_with(*serve, "--port", port, *PORTS[2:])
            said = _until(process, "Recovered(", "NotRecovered(")
            assert "NotRecovered" not in said


def _until(process: subprocess.Popen[str], *words: str) -> str:
    assert process.stdout is not None
    said = ""
    deadline = time.monotonic() + PATIENCE
    for line in process.stdout:
        said += line
        if any(word in line for word in words):
            return said
        assert time.monotonic() < deadline, said
    raise AssertionError(f"it ended, and had not said {words}: {said}")


PORTS = ("--port", "0", "--tls-port", "off", "--http-port", "off")
NOWHERE = {
    f"WSS_URL_{name}": "ws://127.0.0.1:9/"
    for name in ("COINBASE", "KRAKEN", "BITSTAMP", "BINANCE", "OKX", "BYBIT")
} | {
    f"REST_URL_{name}": "http://127.0.0.1:9/"
    for name in ("COINBASE", "KRAKEN", "BITSTAMP", "BINANCE", "OKX", "BYBIT")
}
"""No test asks an exchange."""


def test_an_echo_server_passes_and_one_that_loses_fails(desk: Path) -> None:
    """Sections 6 and 7, with the very options of the page; beside each other, since each mostly waits."""

    def verdict(server: str) -> subprocess.CompletedProcess[str]:
        port = free_port()
        command = ["test", *typed("test", "ws://localhost:9000/")[1:]]
        command = [word.replace("9000", str(port)) for word in command]
        with running(desk, server, str(port)):
            _listens(port)
            return run(desk, "-m", "omega_ai", *command)

    with ThreadPoolExecutor(3) as terminals:
        by_pytest = terminals.submit(run_pytest, desk)
        right, wrong = terminals.map(verdict, ("echo_server.py", "losing_server.py"))
        tested = by_pytest.result()
    assert right.returncode == 0, right.stderr
    assert wrong.returncode == 1, wrong.stderr
    assert "lost" not in right.stderr
    assert "lost" in wrong.stderr
    assert "1 passed" in tested.stdout, tested.stdout + tested.stderr


def run_pytest(desk: Path) -> subprocess.CompletedProcess[str]:
    """Section 7's command; pytest starts the server."""
    (line,) = re.findall(r"^pytest (test_echo\.py .*)$", (ROOT / DOCUMENT).read_text(), re.MULTILINE)
    match = re.fullmatch(r"(test_echo\.py) (--ws-server) '(.*)'", line)
    assert match is not None
    name, option, server = match.groups()
    server = server.replace("python ", f"{sys.executable} ")
    return run(
        desk, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={desk}", name, option, server
    )


async def test_the_page_shows_the_price(desk: Path) -> None:
    """Section 5, in a real browser; the price moves, and a feed that is gone is told."""
    playwright = pytest.importorskip("playwright.async_api")
    path = chromium()
    if path is None:
        pytest.skip("needs Chromium: apt install chromium")
    feed = FeedProcess(
        desk, "--source", "simulated", *PORTS, "--broker", "memory", environment={"HOME": str(desk)}
    )
    with feed:
        page_file = desk / "price.html"
        page_file.write_text(page_file.read_text().replace("ws://localhost:8765", feed.at.ws))
        port = free_port()
        with running(desk, "-m", "http.server", str(port), "--bind", "127.0.0.1"):
            _listens(port)
            async with playwright.async_playwright() as started:
                browser = await started.chromium.launch(executable_path=path, args=ARGUMENTS)
                try:
                    page = await browser.new_page()
                    await page.goto(f"http://localhost:{port}/price.html")
                    price = page.locator("#price")
                    await playwright.expect(page.locator("#state")).to_have_text("simulated", timeout=30_000)
                    first = await price.inner_text()
                    await playwright.expect(price).not_to_have_text(first, timeout=30_000)
                    await asyncio.to_thread(feed.stop)
                    await playwright.expect(page.locator("#state")).to_have_text(
                        "not connected", timeout=30_000
                    )
                finally:
                    await browser.close()


def _listens(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.05)
        else:
            return
