"""The JavaScript client: its rules in Node, its types, and a real server that dies under it."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from omega_ai.data_feed.websocket.close_codes import CloseCode, may_reconnect
from omega_ai.data_feed.websocket.messages import CHANNELS, PUBLISHED_CHANNELS, SUBPROTOCOL
from omega_ai.tests.feed_server import FeedProcess

HERE = Path(__file__).parent
STATIC = resources.files("omega_ai.data_feed.dashboard") / "static"


@pytest.fixture(scope="module")
def node() -> str:
    path = shutil.which("node")
    if path is None:
        pytest.skip("the JavaScript client's tests need Node 20 or newer on the path")
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.lstrip("v").partition(".")[0]) < 20:
        pytest.skip(f"the JavaScript client's tests need Node 20 or newer, not {version.strip()}")
    return path


@pytest.mark.parametrize(("file", "at_least"), [("client.test.mjs", 19), ("page.test.mjs", 13)])
def test_the_rules_hold_on_sockets_and_times_that_the_test_moves(node: str, file: str, at_least: int) -> None:
    """The client's protocol, and what the page says of a price."""
    run = subprocess.run(
        [node, "--test", "--test-reporter=spec", str(HERE / file)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    ran = re.search(r"tests (\d+)", run.stdout)
    assert ran is not None
    assert int(ran[1]) >= at_least


def test_the_types_name_what_the_module_exports() -> None:
    """``omega-client.d.ts`` and ``omega-client.js`` agree, member by member."""
    code = (STATIC / "omega-client.js").read_text()
    types = (STATIC / "omega-client.d.ts").read_text()
    exported = set(re.findall(r"^export (?:class|function|const) (\w+)", code, re.MULTILINE))
    declared = set(re.findall(r"^export declare (?:class|function|const) (\w+)", types, re.MULTILINE))
    assert exported == declared
    body = code[code.index("export class OmegaClient") :]
    members = set(re.findall(r"^  (?:async |get )?([a-z]\w*)\(", body, re.MULTILINE))
    typed = types[types.index("class OmegaClient") :]
    assert members == set(re.findall(r"^  (?:readonly )?([a-z]\w*)[(<:]", typed, re.MULTILINE))


def test_it_knows_the_contract_as_the_server_has_it(node: str) -> None:
    """Channels, subprotocol, and which close codes allow to come back."""
    code = (STATIC / "omega-client.js").read_text()
    types = (STATIC / "omega-client.d.ts").read_text()
    assert f'SUBPROTOCOL = "{SUBPROTOCOL}"' in code
    sequenced = re.search(r"SEQUENCED = new Set\(\[(.*?)\]\)", code)
    assert sequenced is not None
    assert tuple(re.findall(r'"(\w+)"', sequenced[1])) == PUBLISHED_CHANNELS
    for channel in CHANNELS:
        assert f'"{channel}"' in types
    script = (
        f"import {{ mayReconnect }} from {json.dumps(str(STATIC / 'omega-client.js'))};"
        "console.log(JSON.stringify([...Array(5000).keys()].filter(mayReconnect)))"
    )
    run = subprocess.run(
        [node, "--input-type=module", "--eval", script], capture_output=True, text=True, check=True
    )
    assert json.loads(run.stdout) == [code for code in range(5000) if may_reconnect(code)]
    assert all(isinstance(code, CloseCode) for code in CloseCode)


class Collector:
    """Node running ``collect.mjs``; ``until`` reads events until one fits."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []

    async def until(self, **wanted: Any) -> None:
        assert self.process.stdout is not None
        async with asyncio.timeout(30):
            while line := await self.process.stdout.readline():
                self.events.append(json.loads(line))
                if wanted.items() <= self.events[-1].items():
                    return
        raise AssertionError(f"the client ended without {wanted}: {self.events[-5:]}")

    async def prices(self, count: int) -> None:
        for _ in range(count):
            await self.until(state="simulated")


@pytest_asyncio.fixture
async def serving(
    node: str, tmp_path: Path, state_home: Path
) -> AsyncIterator[tuple[FeedProcess, Collector]]:
    feed = FeedProcess(
        tmp_path, "--source=simulated", "--seed=1", "--port=0", "--tls-port=off", "--http-port=off"
    )
    await asyncio.to_thread(feed.start)
    process = await asyncio.create_subprocess_exec(
        node,
        "--experimental-websocket",  # Node 20 has it behind this flag, newer ones without
        str(HERE / "collect.mjs"),
        feed.at.ws,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    yield feed, Collector(process)
    assert process.stdin is not None
    process.stdin.close()
    await process.wait()
    await asyncio.to_thread(feed.stop)


async def test_it_sees_every_message_once_though_the_server_is_killed_and_started_again(
    serving: tuple[FeedProcess, Collector],
) -> None:
    """The history outlives the server, so what was missed comes, and ``seq`` goes on by ones."""
    feed, client = serving
    await client.prices(10)
    port = feed.at.ws.rpartition(":")[2]
    await asyncio.to_thread(feed.kill)
    await client.until(link="waiting")
    await asyncio.to_thread(
        feed.start_with, "--source=simulated", f"--port={port}", "--tls-port=off", "--http-port=off"
    )
    await client.until(link="open")
    await client.prices(10)
    positions = [(event["epoch"], event["seq"]) for event in client.events if "seq" in event]
    first = positions[0]
    assert positions == [(first[0], first[1] + step) for step in range(len(positions))]
    assert [event for event in client.events if "gap" in event or "reset" in event] == []
    assert {"recovered": True} in client.events
