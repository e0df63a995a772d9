"""What the doctor finds, probe by probe."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from omega_ai.cli import diagnosis
from omega_ai.cli.app import main
from omega_ai.cli.diagnosis import Asked, State
from omega_ai.data_feed.websocket.tls import development_certificate
from omega_ai.tests.certificates import Authority
from omega_ai.tests.feed_server import FeedThread, quiet_settings
from omega_ai.tests.valkey import ValkeyProcess

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def asked(**changes: object) -> Asked:
    """A question about this machine, with nothing to look at but what is said."""
    fields = {
        "host": "localhost",
        "port": None,
        "tls_port": None,
        "http_port": None,
        "broker": "memory",
        "cert": None,
        "key": None,
        "ca": None,
        "token": None,
    }
    return Asked(**(fields | changes))  # type: ignore[arg-type]  # the names are checked by Asked


@pytest.fixture
async def stranger() -> AsyncIterator[int]:
    """The port of a server that speaks neither HTTP nor WebSocket."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"220 mail.example.org ESMTP\r\n")
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


@pytest.fixture
def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def test_versions_name_what_a_report_needs() -> None:
    """Ours, Python's, and those of the libraries that matter."""
    finding = diagnosis.versions()
    assert finding.state is State.OK
    assert all(word in finding.detail for word in ("omega ", "Python 3.", "msgspec ", "uvloop "))


@pytest.mark.parametrize(("soft", "state"), [(256, State.WARNING), (65_536, State.OK)])
def test_few_descriptors_are_a_warning(soft: int, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that raises the limit."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, 65_536))
    finding = diagnosis.descriptors()
    assert finding.state is state
    assert (finding.advice is None) == (state is State.OK)


def test_a_misspelt_variable_is_a_warning() -> None:
    """It would be passed over in silence: another command might know it."""
    assert diagnosis.variables({"OMEGA_PORT": "1", "OMEGA_COUNT": "1", "HOME": "/"}).state is State.OK
    finding = diagnosis.variables({"OMEGA_TLS_PROT": "1", "OMEGA_XYZ": "1"})
    assert finding.state is State.WARNING
    assert "OMEGA_TLS_PROT (did you mean OMEGA_TLS_PORT?)" in finding.detail
    assert "OMEGA_XYZ" in finding.detail


def test_no_development_certificate_yet_is_fine(state_home: Path) -> None:
    """It is made when the feed starts; the doctor makes nothing."""
    assert diagnosis.certificate(None, None, NOW).state is State.OK
    assert list(state_home.rglob("*")) == []


def test_development_certificate_is_described(state_home: Path) -> None:
    """For whom and how long."""
    development_certificate(now=NOW)
    finding = diagnosis.certificate(None, None, NOW)
    assert finding.state is State.OK
    assert "localhost" in finding.detail
    assert "364 days left" in finding.detail or "365 days left" in finding.detail


def test_certificate_near_its_end_is_a_warning(tmp_path: Path) -> None:
    """While there is time to renew it; after its end it is a failure."""
    now = datetime.now(UTC)
    certificate, key = Authority(now=now).issue(end=now + timedelta(days=3)).write(tmp_path)
    assert diagnosis.certificate(certificate, key, now).state is State.WARNING
    assert diagnosis.certificate(certificate, key, now + timedelta(days=4)).state is State.FAILURE


def test_unusable_certificate_is_a_failure(tmp_path: Path) -> None:
    """Said as the feed would say it."""
    finding = diagnosis.certificate(tmp_path / "missing.pem", None, NOW)
    assert finding.state is State.FAILURE
    assert "does not exist" in finding.detail


@pytest.mark.parametrize("spec", ["memory", "embedded", "embedded:/some/where"])
async def test_brokers_that_come_with_the_package_are_there(spec: str) -> None:
    """Nothing is started to find that out."""
    assert (await diagnosis.broker(spec)).state is State.OK


async def test_running_redis_is_asked_for_its_version() -> None:
    """And how long it takes to answer."""
    with ValkeyProcess(password="s3cret") as valkey:
        finding = await diagnosis.broker(valkey.url)
        wrong = await diagnosis.broker(valkey.url.replace("s3cret", "guess"))
    assert finding.state is State.OK, finding
    assert finding.detail.startswith("Valkey 9")
    assert "s3cret" not in finding.detail
    assert wrong.state is State.FAILURE
    assert "guess" not in wrong.detail


@pytest.mark.parametrize(
    "spec", ["redis://localhost:{port}", "gopher://localhost", "redis://localhost:{stranger}"]
)
async def test_redis_that_does_not_answer_is_a_failure(spec: str, free_port: int, stranger: int) -> None:
    """Nobody there, no Redis URL, or something that is no Redis."""
    finding = await diagnosis.broker(spec.format(port=free_port, stranger=stranger))
    assert finding.state is State.FAILURE


async def test_nobody_listening_is_answered_with_how_to_start(free_port: int) -> None:
    """For WebSocket and for HTTP."""
    (found,) = await diagnosis.websocket("ws", f"ws://localhost:{free_port}", asked(port=free_port))
    assert (found.state, found.advice) == (State.FAILURE, "start a feed: omega serve")
    found = await asyncio.to_thread(diagnosis.health, "127.0.0.1", free_port)
    assert (found.state, found.advice) == (State.FAILURE, "start a feed: omega serve")


async def test_a_stranger_on_the_port_is_named(stranger: int) -> None:
    """With its process, where that can be seen: here it is this very one."""
    (found,) = await diagnosis.websocket("ws", f"ws://localhost:{stranger}", asked(port=stranger))
    assert found.state is State.FAILURE
    assert "the port is held by" in found.detail
    found = await asyncio.to_thread(diagnosis.health, "localhost", stranger)
    assert found.state is State.FAILURE
    assert "the port is held by" in found.detail


async def test_an_authority_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    """With its path, before anything is connected to."""
    missing = tmp_path / "ca.pem"
    (found,) = await diagnosis.websocket("wss", "wss://localhost:1", asked(ca=missing))
    assert found.state is State.FAILURE
    assert f"{missing} does not exist" in found.detail


async def test_a_running_feed_is_found_well() -> None:
    """Round trip, price and readiness."""
    with FeedThread(quiet_settings(source="simulated", http_port=0)) as feed:
        assert feed.at.http is not None
        findings = await diagnosis.websocket("ws", feed.at.ws, asked())
        http_port = int(feed.at.http.rpartition(":")[2])
        findings.append(await asyncio.to_thread(diagnosis.health, "127.0.0.1", http_port))
    assert [(finding.check, finding.state) for finding in findings] == [
        ("ws", State.OK),
        ("ws price", State.OK),
        ("http", State.OK),
    ]
    assert "simulated" in findings[1].detail


async def test_a_feed_without_prices_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be meant so (``--source none``), but whoever asks wants to know."""
    monkeypatch.setattr(diagnosis, "PRICE_WAIT", 0.2)
    with FeedThread(quiet_settings()) as feed:
        findings = await diagnosis.websocket("ws", feed.at.ws, asked())
    assert [finding.state for finding in findings] == [State.OK, State.WARNING]


async def test_a_clock_that_differs_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ages and latencies would mislead."""
    with FeedThread(quiet_settings(source="simulated")) as feed:
        monkeypatch.setattr(time, "time", lambda: NOW.timestamp() - 90)
        findings = await diagnosis.websocket("ws", feed.at.ws, asked())
    assert "ws clock" in [finding.check for finding in findings]


def test_command_ends_with_1_if_something_must_be_mended(
    free_port: int, state_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For people on standard error."""
    only_ws = ["--tls-port", "off", "--http-port", "off", "--broker", "memory"]
    assert main(["doctor", "--port", str(free_port), *only_ws]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "FAIL ws" in shown.err
    assert "-> start a feed: omega serve" in shown.err


def test_command_gives_findings_as_json(state_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For machines on standard output, and nothing beside it."""
    nothing = ["--port", "off", "--tls-port", "off", "--http-port", "off", "--broker", "memory"]
    assert main(["doctor", "--json", "-", *nothing]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    findings = json.loads(shown.out)
    assert [finding["check"] for finding in findings] == [
        "versions",
        "descriptors",
        "environment",
        "certificate",
        "broker",
    ]
    assert all(finding["state"] in ("ok", "warning") for finding in findings)
