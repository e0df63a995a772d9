"""Which server the suite tests: the one that answers at the configured URLs, or one of its own."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import ssl
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal
from urllib.parse import urlsplit

import pytest
import websockets
import websockets.sync.client

from omega_ai.core.client_tls import client_context, development_ca, is_loopback
from omega_ai.data_feed.settings import FeedSettings
from omega_ai.tests.certificates import Authority
from omega_ai.tests.feed_server import FeedThread
from omega_ai.tests.unit.data.websocket.suite_configuration import SUITE, Configuration

SUBPROTOCOL = "omega.v2"
PROBE_SECONDS = 3.0
HANDSHAKE_SECONDS = 1.0
"""How long our own server waits for a client's handshake; short, so that waiting for it is."""


@dataclass(frozen=True)
class Target:
    """The server under test. ``trusted`` is the PEM file that its certificate is verified with."""

    url: str
    tls_url: str
    ours: bool
    trusted: Path | None
    token: str | None
    may_publish: bool
    handshake_seconds: float
    notices: tuple[str, ...] = field(default=())

    @property
    def headers(self) -> dict[str, str]:
        """What a connection needs to be let in."""
        return {} if self.token is None else {"Authorization": f"Bearer {self.token}"}

    def tls(self) -> ssl.SSLContext:
        """A client's context that trusts the server under test and nobody else."""
        return client_context(self.trusted, host=urlsplit(self.tls_url).hostname or "")


Answer = Literal["ours", "stranger", "nothing"]


@contextlib.contextmanager
def target_server(configuration: Configuration, directory: Path) -> Iterator[Target]:
    """The server under test, for as long as the context lasts."""
    with _turn(configuration.url) as turn:
        found, why = _who_answers(configuration.url, configuration.token)
        if turn.held_by_another_run:
            found, why = "stranger", "another run of this suite"
        if found == "ours":
            turn.share()
            yield _external(configuration)
        else:
            with _own(configuration, directory, why) as target:
                yield target


class _Turn:
    """Keeps runs of this suite on one machine apart.

    Whoever tests a server that runs anyhow shares the lock, since all may do that at a time. Whoever starts a
    server on the ports holds it alone: others would take that server for one that runs anyhow, until it ends.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self.held_by_another_run = False
        if not self._lock(fcntl.LOCK_EX):
            deadline = time.monotonic() + PROBE_SECONDS
            while not self._lock(fcntl.LOCK_SH):  # it may only just be asking who answers
                if time.monotonic() > deadline:
                    self.held_by_another_run = True
                    return
                time.sleep(0.05)

    def _lock(self, kind: int) -> bool:
        try:
            fcntl.flock(self._file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def share(self) -> None:
        """Let others test the same server."""
        self._lock(fcntl.LOCK_SH)


@contextlib.contextmanager
def _turn(url: str) -> Iterator[_Turn]:
    name = f"omega-suite-{os.getuid()}-{urlsplit(url).port}.lock"
    with (Path(tempfile.gettempdir()) / name).open("w") as file:  # closing it gives the lock back
        yield _Turn(file)


@contextlib.contextmanager
def _own(configuration: Configuration, directory: Path, why: str) -> Iterator[Target]:
    """A server of our own; ``why`` says who else holds the port, if anybody does."""
    for url in (configuration.url, configuration.tls_url):
        if not is_loopback(urlsplit(url).hostname or ""):
            pytest.fail(
                f"{SUITE}: {url} is on another machine, and no server of ours answers there ({why})",
                pytrace=False,
            )
    notices = []
    ports = []
    for url in (configuration.url, configuration.tls_url):
        port = urlsplit(url).port or 0
        if _listens(url):
            said = f" ({why})" if url == configuration.url else ""
            notices.append(f"port {port} is held by a stranger{said}: a free port is used instead")
            port = 0
        ports.append(port)
    certificate, trusted = _certificate(configuration, directory)
    host = urlsplit(configuration.url).hostname or ""
    settings = FeedSettings(
        host="127.0.0.1" if host == "localhost" else host,
        port=ports[0],
        tls_port=ports[1],
        http_port=None,
        source="none",
        broker=f"embedded:{directory / 'valkey'}",
        cert=certificate,
        max_message_size=configuration.max_message_size,
        handshake_timeout=HANDSHAKE_SECONDS,
        close_timeout=1.0,
    )
    with FeedThread(settings) as feed:
        assert feed.at.wss is not None
        url, tls_url = _at(configuration.url, feed.at.ws), _at(configuration.tls_url, feed.at.wss)
        yield Target(
            url=url,
            tls_url=tls_url,
            ours=True,
            trusted=trusted,
            token=None,
            may_publish=True,
            handshake_seconds=HANDSHAKE_SECONDS,
            notices=(*notices, f"testing its own server, with its own Redis, at {url} and {tls_url}"),
        )


def _at(configured: str, listening: str) -> str:
    """The configured URL, with the port that it came to be."""
    return f"{configured.partition('://')[0]}://{urlsplit(configured).hostname}:{urlsplit(listening).port}"


def _external(configuration: Configuration) -> Target:
    trusted = configuration.certificate
    if trusted is None and development_ca().is_file():
        trusted = development_ca()
    may_publish = _may_publish(configuration.url, configuration.token)
    notices = [f"testing the server that answers at {configuration.url} and {configuration.tls_url}"]
    if not may_publish:
        notices.append("it lets this client publish nothing: give a token in TEST_TOKEN to test that as well")
    return Target(
        url=configuration.url,
        tls_url=configuration.tls_url,
        ours=False,
        trusted=trusted,
        token=configuration.token,
        may_publish=may_publish,
        handshake_seconds=5.0,
        notices=tuple(notices),
    )


def _certificate(configuration: Configuration, directory: Path) -> tuple[Path, Path]:
    """What our own server shows, and what clients trust: that of ``SSL_CERT_PATH``, or a throwaway."""
    if configuration.certificate is not None:
        return configuration.certificate, configuration.certificate
    authority = Authority("WebSocket Test Suite V2")
    certificate, _key = authority.issue().write(directory)
    return certificate, authority.write(directory)


def _who_answers(url: str, token: str | None) -> tuple[Answer, str]:
    """Ours is who confirms our subprotocol and answers our ping; the text says what a stranger did."""
    if not _listens(url):
        return "nothing", "nothing listens"
    try:
        with _connect(url, token) as connection:
            if connection.subprotocol != SUBPROTOCOL:
                return "stranger", f"it speaks WebSocket, but not {SUBPROTOCOL}"
            connection.send('{"type":"ping","id":"who"}')
            answer = json.loads(connection.recv(timeout=PROBE_SECONDS))
            if answer.get("type") == "pong" and answer.get("id") == "who":
                return "ours", ""
            return "stranger", "it does not answer a ping"
    except websockets.InvalidStatus as error:
        hint = (
            "; if it is ours, give a token in TEST_TOKEN" if error.response.status_code in (401, 403) else ""
        )
        return "stranger", f"it answers HTTP {error.response.status_code}{hint}"
    except (OSError, websockets.WebSocketException, ValueError, AttributeError) as error:
        return "stranger", f"it does not speak WebSocket as we do: {type(error).__name__}"


def _may_publish(url: str, token: str | None) -> bool:
    """Ask without doing it: permission is looked at before the price, and this price cannot be."""
    with _connect(url, token) as connection:
        connection.send(
            '{"type":"btc_price","id":"may","price":-1,"volume":0,"timestamp":"2026-01-01T00:00:00Z"}'
        )
        answer = json.loads(connection.recv(timeout=PROBE_SECONDS))
    return answer.get("code") not in ("unauthorized", "forbidden")


def _connect(url: str, token: str | None) -> websockets.sync.client.ClientConnection:
    return websockets.sync.client.connect(
        f"{url}{'&' if urlsplit(url).query else '?'}channels=",
        subprotocols=[websockets.Subprotocol(SUBPROTOCOL)],
        additional_headers={} if token is None else {"Authorization": f"Bearer {token}"},
        open_timeout=PROBE_SECONDS,
        close_timeout=PROBE_SECONDS,
        proxy=None,
    )


def _listens(url: str) -> bool:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "wss" else 80)
    try:
        with socket.create_connection((parts.hostname, port), timeout=PROBE_SECONDS):
            return True
    except OSError:
        return False
