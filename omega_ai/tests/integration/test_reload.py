"""SIGHUP: the file of settings is read again by a feed of two workers, and nobody is dropped."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from omega_ai.tests.feed_server import FeedProcess

DEADLINE = 60.0
ORIGIN = "https://desk.example"
IN_A_ROW = 16
"""So many new connections are spread by the kernel over both workers."""

FILE = """\
[serve]
workers = 2
port = 0
tls-port = "off"
http-port = "off"
source = "none"
"""


async def test_sighup_takes_new_settings_and_names_those_that_wait(tmp_path: Path) -> None:
    """A client that is there all the time gets every message. Options and variables come first."""
    file = tmp_path / "omega.toml"
    file.write_text(FILE)
    arguments = ["--config", str(file), "--broker", f"embedded:{tmp_path / 'v'}", "--max-connections", "1000"]
    environment = {"XDG_STATE_HOME": str(tmp_path / "state"), "OMEGA_CONNECTION_BURST": "300"}
    feed = FeedProcess(tmp_path, *arguments, environment=environment)
    await asyncio.to_thread(feed.start)
    try:
        url = feed.at.ws
        async with asyncio.timeout(DEADLINE), connect(url) as there:
            await lets_in(url, None)
            assert not await accepted(url, ORIGIN)

            file.write_text(FILE + "log-level = [")
            line = await told(feed, "settings_not_reloaded")
            assert str(file) in line["error"]
            assert "TOML" in line["error"]
            file.write_text(FILE + f'origin = ["{ORIGIN}", "nonsense"]')
            assert "nonsense" in (await told(feed, "settings_not_reloaded"))["error"]
            assert not await accepted(url, ORIGIN)

            file.write_text(
                FILE.replace("workers = 2", "workers = 3")
                + f'origin = ["{ORIGIN}"]\nlog-level = "debug"\nmax-connections = 1\nconnection-burst = 1\n'
                "max-message-size = 4096\n"
            )
            line = await told(feed, "settings_reloaded")
            assert line["applied"] == {"origin": [ORIGIN], "log-level": "debug"}
            assert line["restart_needed"] == ["workers", "max-message-size"]
            await lets_in(url, ORIGIN)

            file.write_text(FILE + "rate-limit = 0.01\n")
            line = await told(feed, "settings_reloaded")
            assert line["applied"] == {"origin": [], "rate-limit": 0.01, "log-level": "info"}
            assert "restart_needed" not in line
            await answer_one_message_alone(url)

            async with connect(url) as other:
                await other.send(
                    '{"type":"btc_price","price":7,"volume":1,"timestamp":"2026-01-01T00:00:00Z"}'
                )
                assert (await receive(there))["price"] == 7
            assert there.close_code is None
    finally:
        await asyncio.to_thread(feed.stop)


async def told(feed: FeedProcess, event: str) -> dict[str, Any]:
    """Send SIGHUP, and wait for the line that says what came of it."""
    before = len(lines(feed, event))
    assert feed.pid is not None
    os.kill(feed.pid, signal.SIGHUP)
    while len(found := lines(feed, event)) == before:
        await asyncio.sleep(0.02)
    return found[-1]


def lines(feed: FeedProcess, event: str) -> list[dict[str, Any]]:
    """All whole lines of one kind that the feed has logged."""
    whole = feed.log().rpartition("\n")[0].splitlines()
    return [json.loads(line) for line in whole if f'"event": "{event}"' in line]


async def accepted(url: str, origin: str | None) -> bool:
    """Whether a client of this origin may connect."""
    try:
        async with connect(url, origin=origin):  # type: ignore[arg-type] # a new type of text
            return True
    except InvalidStatus as error:
        if error.response.status_code != 403:
            raise
        return False


async def lets_in(url: str, origin: str | None) -> None:
    """Wait until both workers let it in."""
    in_a_row = 0
    while in_a_row < IN_A_ROW:
        in_a_row = in_a_row + 1 if await accepted(url, origin) else 0


async def answer_one_message_alone(url: str) -> None:
    """Wait until both workers answer the second of two messages with an error."""
    in_a_row = 0
    while in_a_row < IN_A_ROW:
        async with connect(url) as client:
            answers = []
            for _ in range(2):
                await client.send('{"type":"ping"}')
                answers.append((await receive(client))["type"])
            in_a_row = in_a_row + 1 if answers == ["pong", "error"] else 0


async def receive(client: ClientConnection) -> dict[str, Any]:
    """The next message."""
    message: dict[str, Any] = json.loads(await client.recv())
    return message
