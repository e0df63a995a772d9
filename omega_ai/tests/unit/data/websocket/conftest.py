"""What WebSocket Test Suite V2 stands on: a server, connections that record, and a report at the end."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any, Protocol

import pytest
import websockets

from omega_ai.testkit.profile import load_profile
from omega_ai.testkit.target import Target as Subject
from omega_ai.tests.unit.data.websocket.recording import Client, RawClient, Recording
from omega_ai.tests.unit.data.websocket.suite_configuration import SUITE, Configuration, from_environment
from omega_ai.tests.unit.data.websocket.target_server import SUBPROTOCOL, Target, target_server

RECORDINGS = pytest.StashKey[list[Recording]]()
REPORT = pytest.StashKey[list[str]]()


class Connect(Protocol):
    """Opens recorded connections of the ``websockets`` library, which are closed when the test ends."""

    def __call__(
        self,
        name: str,
        *,
        channels: str | None = "",
        url: str | None = None,
        tls: ssl.SSLContext | None = None,
        **options: Any,
    ) -> Awaitable[Client]:
        """``channels`` as in ``?channels=``: none by default; None leaves it out of the URL."""
        ...


class ConnectRaw(Protocol):
    """Opens recorded WebSockets on bare sockets, which are closed when the test ends."""

    def __call__(self, name: str) -> Awaitable[RawClient]: ...


class Report(Protocol):
    """Takes a line for the end of the run."""

    def __call__(self, line: str) -> None: ...


@pytest.fixture(scope="session")
def configuration() -> Configuration:
    return from_environment()


@pytest.fixture(scope="session")
def target(
    configuration: Configuration, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Target]:
    """The server under test; what it is, is said at once and again at the end."""
    with target_server(configuration, tmp_path_factory.mktemp("suite")) as target:
        for notice in target.notices:
            _say(pytestconfig, notice)
        yield target


@pytest.fixture(scope="session")
def ws_target(target: Target) -> Subject:
    """The same server, for the fixtures and assertions of the test kit's pytest plugin."""
    return Subject(target.url, load_profile("omega"), token=target.token)


@pytest.fixture
def recordings(request: pytest.FixtureRequest) -> list[Recording]:
    """What passed over the connections of this test; shown if it fails."""
    node: pytest.Item = request.node
    return node.stash.setdefault(RECORDINGS, [])


@pytest.fixture
async def connect(
    target: Target, configuration: Configuration, recordings: list[Recording]
) -> AsyncIterator[Connect]:
    clients: list[Client] = []

    async def open_client(
        name: str,
        *,
        channels: str | None = "",
        url: str | None = None,
        tls: ssl.SSLContext | None = None,
        **options: Any,
    ) -> Client:
        address = url or target.url
        if channels is not None:
            address += f"/?channels={channels}"
        recording = Recording(f"{name} ({address})")
        recordings.append(recording)
        connection = await websockets.connect(
            address,
            ssl=tls,
            **{
                "subprotocols": [websockets.Subprotocol(SUBPROTOCOL)],
                "additional_headers": target.headers,
                "open_timeout": configuration.timeout,
                "close_timeout": configuration.timeout,
                "ping_interval": None,
                "max_size": 1 << 24,
                "max_queue": 4096,
                "proxy": None,
                **options,
            },
        )
        client = Client(connection, recording, configuration.timeout)
        clients.append(client)
        return client

    yield open_client
    await asyncio.gather(*(client.close() for client in clients), return_exceptions=True)


@pytest.fixture
async def connect_raw(
    target: Target, configuration: Configuration, recordings: list[Recording]
) -> AsyncIterator[ConnectRaw]:
    clients: list[RawClient] = []

    async def open_raw(name: str) -> RawClient:
        recording = Recording(f"{name} ({target.url}, bare socket)")
        recordings.append(recording)
        client = await RawClient.open(target.url, recording, configuration.timeout, headers=target.headers)
        clients.append(client)
        return client

    yield open_raw
    for client in clients:
        await client.close()


@pytest.fixture
def may_publish(target: Target) -> None:
    """Skip a test that publishes where the server does not let us."""
    if not target.may_publish:
        pytest.skip(f"{target.url} lets this client publish nothing: give a token in TEST_TOKEN")


@pytest.fixture
def report(pytestconfig: pytest.Config, request: pytest.FixtureRequest) -> Report:
    """Lines that are printed at the end of the run."""

    def add(line: str) -> None:
        pytestconfig.stash.setdefault(REPORT, []).append(line)

    return add


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """A failed test shows the frames that were exchanged."""
    result = yield
    recordings = item.stash.get(RECORDINGS, [])
    if result.failed and recordings:
        result.sections.append(("frames exchanged", "\n\n".join(str(recording) for recording in recordings)))
    return result


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Which server was tested, and what was measured."""
    lines = config.stash.get(REPORT, [])
    if lines:
        terminalreporter.section(SUITE)
        for line in lines:
            terminalreporter.line(line)


def _say(config: pytest.Config, line: str) -> None:
    """Tell which server is tested while the tests run, past the capturing of output; and again at the end.

    Not a warning, since those may be errors (``-W error``), and this is not one.
    """
    config.stash.setdefault(REPORT, []).append(line)
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    capture = config.pluginmanager.get_plugin("capturemanager")
    if reporter is not None and capture is not None:
        with capture.global_and_fixture_disabled():
            reporter.ensure_newline()
            reporter.write_line(f"{SUITE}: {line}")
