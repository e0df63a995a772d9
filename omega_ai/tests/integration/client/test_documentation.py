"""The examples of ``docs/client.md`` run as they stand there."""

from __future__ import annotations

import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from omega_ai.client.sync import connect
from omega_ai.tests.feed_server import FeedThread, quiet_settings

PAGE = Path(__file__).resolve().parents[4] / "docs" / "client.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
ENDLESS = re.compile(r"^ *(async )?for .* in feed:$", re.MULTILINE)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with FeedThread(quiet_settings()) as feed:
        yield feed.at.ws


def test_there_are_examples() -> None:
    """Otherwise the page has changed its form."""
    assert len(EXAMPLES) >= 6


@pytest.mark.parametrize("example", EXAMPLES, ids=[f"example {n}" for n in range(len(EXAMPLES))])
def test_an_example_prints_what_the_feed_sends(example: str, url: str) -> None:
    """Those that iterate for ever are stopped once they have printed a price; others come to their end."""
    code = example.replace("ws://localhost:8765", url)
    with (
        connect(url, channels=[]) as publisher,
        subprocess.Popen(
            [sys.executable, "-u", "-W", "error", "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            deadline = time.monotonic() + 20
            while process.poll() is None and time.monotonic() < deadline:
                publisher.publish_price("61800.01", 1)
                publisher.broadcast({"text": "hello"})
                if ENDLESS.search(example):
                    if "61800.01" in _line(process):
                        return
                else:
                    time.sleep(0.05)
            output = process.stdout.read()
            assert process.returncode == 0, output
            assert output
        finally:
            process.kill()


def _line(process: subprocess.Popen[str]) -> str:
    """A line of the example's output, if there is one already."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], 0.05)
    return process.stdout.readline() if ready else ""
