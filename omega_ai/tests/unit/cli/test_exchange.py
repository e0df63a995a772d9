"""``omega exchange`` as a user starts it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from omega_ai.tests.feed_server import FeedProcess


def omega(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "omega_ai", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--fault", "sulk@1+2"), "unknown misbehaviour 'sulk'"),
        (("--fault", "stall"), "KIND@START+DURATION"),
        (("--venue", "nasdaq"), "unknown venue 'nasdaq'"),
        (("--speed", "slow"), "--speed must be a number"),
        (("--capture", "/nowhere/at/all"), "/nowhere/at/all"),
        (("--rate", "0"), "rate from 0.001"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_3(arguments: tuple[str, ...], words: str) -> None:
    """With what is wrong in it."""
    result = omega("exchange", *arguments)
    assert result.returncode == 3, result.stderr
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_a_feed_is_led_to_the_stand_ins_by_the_environment_that_they_print(tmp_path: Path) -> None:
    """Three venues that are not there, one live price."""
    addresses = tmp_path / "addresses.json"
    venues = ("coinbase", "kraken", "bitstamp")
    command = [sys.executable, "-m", "omega_ai", "exchange", "--json", str(addresses)]
    for venue in venues:
        command += ["--venue", venue]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as exchange:
        try:
            assert exchange.stderr is not None
            text = ""
            while "Ctrl-C" not in text:
                line = exchange.stderr.readline()
                assert line, f"it ended: {text}"
                text += line
            environment = dict(
                line.strip().removeprefix("export ").split("=", 1)
                for line in text.splitlines()
                if line.strip().startswith("export ")
            )
            assert set(json.loads(addresses.read_text())) == set(venues)
            assert set(environment) == {f"{k}_URL_{v.upper()}" for k in ("WSS", "REST") for v in venues}
            options = ["--source", "live", "--broker", "memory", "--tls-port", "off"]
            options += ["--port", "0", "--http-port", "0"]
            for venue in venues:
                options += ["--venue", venue]
            with FeedProcess(tmp_path, *options, environment=environment) as feed:
                price = wait_for_live_price(feed)
            assert {"coinbase", "kraken", "bitstamp"} <= set(price["sources"])
        finally:
            exchange.terminate()
            exchange.wait(20)
        assert exchange.returncode in (0, 130, -15)


def wait_for_live_price(feed: FeedProcess) -> dict[str, Any]:
    """The first price that is ``live``."""

    async def listen() -> dict[str, Any]:
        async with connect(feed.at.ws) as client, asyncio.timeout(30):
            while True:
                message: dict[str, Any] = json.loads(await client.recv())
                if message["type"] == "btc_price" and message["state"] == "live":
                    return message

    return asyncio.run(listen())
