"""Alerts reach somebody: a real webhook, a real command, and the task that watches."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from structlog.testing import capture_logs

from omega_ai.core.clock import ManualClock
from omega_ai.data_feed.observability.alert_sinks import (
    WAITING_AT_MOST,
    AlertMonitor,
    CommandSink,
    LogSink,
    SinkError,
    WebhookSink,
    alertmanager_message,
    open_sinks,
)
from omega_ai.data_feed.observability.alerts import Alert, AlertEngine, Notice
from omega_ai.tests.unit.data.observability.snapshots import NOW_NS, snapshot

ALERT = Alert("OmegaVenueStale", "warning", "kraken", "kraken is stale", NOW_NS)
FIRING = Notice(ALERT, "firing")
RESOLVED = Notice(ALERT, "resolved", NOW_NS + 60_000_000_000)


class Webhook:
    """A receiver that answers with ``statuses`` in turn, then 200."""

    def __init__(self) -> None:
        self.received: list[Any] = []
        self.statuses: list[int] = []
        self.url = ""
        self.arrived = asyncio.Event()

    async def handle(self, request: web.Request) -> web.Response:
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            self.received.append(await request.json())
            self.arrived.set()
        return web.Response(status=status)


@pytest_asyncio.fixture
async def webhook() -> AsyncIterator[Webhook]:
    receiver = Webhook()
    app = web.Application()
    app.router.add_post("/hook", receiver.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield receiver
    await runner.cleanup()


def test_the_message_is_as_alertmanager_sends_it() -> None:
    """Version 4: labels, annotations, begin and end."""
    message = alertmanager_message(RESOLVED)
    assert message["version"] == "4"
    assert message["status"] == "resolved"
    (alert,) = message["alerts"]
    assert alert["labels"] == {"alertname": "OmegaVenueStale", "severity": "warning", "venue": "kraken"}
    assert alert["annotations"]["summary"] == "kraken is stale"
    assert alert["startsAt"] == "2026-01-01T00:00:00.000000Z"
    assert alert["endsAt"] == "2026-01-01T00:01:00.000000Z"
    assert alertmanager_message(FIRING)["alerts"][0]["endsAt"] == "0001-01-01T00:00:00Z"


async def test_a_webhook_gets_the_message(webhook: Webhook) -> None:
    """As JSON, by POST."""
    await WebhookSink(webhook.url).tell(FIRING)
    assert webhook.received == [alertmanager_message(FIRING)]


async def test_a_webhook_that_refuses_is_an_error(webhook: Webhook) -> None:
    """Anything but 2xx, and nobody there."""
    webhook.statuses = [500, 302]
    for status in (500, 302):
        with pytest.raises(SinkError, match=f"answered {status}"):
            await WebhookSink(webhook.url).tell(FIRING)
    with pytest.raises(SinkError):
        await WebhookSink("http://127.0.0.1:1/hook").tell(FIRING)


async def test_a_webhook_that_does_not_answer_is_given_up() -> None:
    """In the time set."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(SinkError, match=r"within 0\.1 s"):
        await WebhookSink(f"http://127.0.0.1:{port}", timeout=0.1).tell(FIRING)
    server.close()
    await server.wait_closed()


def test_a_webhooks_name_holds_no_secret() -> None:
    """It is logged."""
    name = WebhookSink("https://user:hunter2@chat.example/hook?token=hunter2").name
    assert "hunter2" not in name
    assert "chat.example" in name


def script(path: Path, text: str) -> list[str]:
    path.write_text(text)
    return [sys.executable, str(path), str(path.with_suffix(".out"))]


async def test_a_command_gets_the_message_and_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON on its input, the main fields as variables; none of our settings, which may hold secrets."""
    monkeypatch.setenv("OMEGA_TOKEN_SECRET", "hunter2")
    monkeypatch.setenv("REDIS_URL", "redis://:hunter2@host")
    text = (
        "import json, os, sys\n"
        "given = json.load(sys.stdin)\n"
        "own = {k: v for k, v in os.environ.items() if k.startswith(('OMEGA', 'REDIS'))}\n"
        "open(sys.argv[1], 'w').write(json.dumps([given, own]))\n"
    )
    await CommandSink(script(tmp_path / "a.py", text)).tell(FIRING)
    given, environment = json.loads((tmp_path / "a.out").read_text())
    assert given == alertmanager_message(FIRING)
    assert environment == {
        "OMEGA_ALERT_NAME": "OmegaVenueStale",
        "OMEGA_ALERT_STATUS": "firing",
        "OMEGA_ALERT_SEVERITY": "warning",
        "OMEGA_ALERT_SUMMARY": "kraken is stale",
    }


async def test_a_command_that_fails_hangs_or_is_not_there_is_an_error(tmp_path: Path) -> None:
    """Each said in words; one that hangs is killed."""
    with pytest.raises(SinkError, match="status 3"):
        await CommandSink(script(tmp_path / "a.py", "raise SystemExit(3)")).tell(FIRING)
    with pytest.raises(SinkError, match=r"within 0\.2 s"):
        await CommandSink(["sleep", "60"], timeout=0.2).tell(FIRING)
    with pytest.raises(SinkError, match="cannot be run"):
        await CommandSink([str(tmp_path / "missing")]).tell(FIRING)
    with pytest.raises(ValueError, match="needs"):
        CommandSink([])


@pytest.mark.usefixtures("every_line")
async def test_the_log_has_a_line_for_the_beginning_and_one_for_the_end() -> None:
    """A warning, then an information."""
    with capture_logs() as lines:
        await LogSink().tell(FIRING)
        await LogSink().tell(RESOLVED)
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("alert_firing", "warning"),
        ("alert_resolved", "info"),
    ]
    assert lines[0]["summary"] == "kraken is stale"


class Monitored:
    """A monitor over a reading that the test sets."""

    def __init__(self, *sinks: Any, every: float = 0.01) -> None:
        self.reading = snapshot()
        self.clock = ManualClock()
        self.monitor = AlertMonitor(
            lambda: self.reading,
            sinks,
            clock=self.clock,
            engine=AlertEngine(calm=0.0),
            every=every,
            retry=0.01,
        )

    async def during(self, work: Callable[[], Any]) -> None:
        task = asyncio.create_task(self.monitor.run())
        try:
            async with asyncio.timeout(10):
                await work()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_the_monitor_tells_the_beginning_and_the_end(webhook: Webhook) -> None:
    """Through a webhook that fails twice at first."""
    webhook.statuses = [503, 503]
    monitored = Monitored(WebhookSink(webhook.url))

    async def work() -> None:
        monitored.reading = snapshot(certificate_left=0.0)
        await webhook.arrived.wait()
        webhook.arrived.clear()
        assert [alert.name for alert in monitored.monitor.active()] == ["OmegaCertificateEnding"]
        monitored.reading = snapshot()
        await webhook.arrived.wait()

    await monitored.during(work)
    assert [message["status"] for message in webhook.received] == ["firing", "resolved"]


async def test_a_sink_that_fails_for_good_holds_up_no_other(webhook: Webhook) -> None:
    """It is tried a few times, logged, and left."""
    monitored = Monitored(WebhookSink("http://127.0.0.1:1/"), WebhookSink(webhook.url))
    with capture_logs() as lines:

        async def work() -> None:
            monitored.reading = snapshot(certificate_left=0.0)
            await webhook.arrived.wait()
            while not any(line["event"] == "alert_not_delivered" for line in lines):
                await asyncio.sleep(0.01)

        await monitored.during(work)
    assert len(webhook.received) == 1


async def test_waiting_notices_are_bounded() -> None:
    """The oldest go, and that is logged."""
    monitored = Monitored(LogSink())  # nothing is delivered, since the monitor does not run
    with capture_logs() as lines:
        for step in range(2 * WAITING_AT_MOST):
            monitored.reading = snapshot(certificate_left=float(step % 2) * 1e9)
            monitored.monitor.look()
    lost = [line for line in lines if line["event"] == "alert_not_delivered"]
    assert len(lost) == WAITING_AT_MOST


async def test_a_reading_that_fails_does_not_end_the_watch() -> None:
    """It is logged, and the next one counts."""
    calls = 0

    def read() -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("no figures")
        return snapshot(certificate_left=0.0)

    monitor = AlertMonitor(read, [], clock=ManualClock())
    with capture_logs() as lines:
        assert monitor.look() == []
    assert lines[0]["event"] == "alerts_not_evaluated"
    assert [notice.alert.name for notice in monitor.look()] == ["OmegaCertificateEnding"]


async def test_a_sink_that_breaks_in_a_way_nobody_thought_of_ends_nothing() -> None:
    """The watch goes on, and the other sinks are told."""
    told = asyncio.Event()

    class Broken:
        name = "broken"

        async def tell(self, notice: Notice) -> None:
            raise RuntimeError("surprise")

    class Good:
        name = "good"

        async def tell(self, notice: Notice) -> None:
            told.set()

    monitored = Monitored(Broken(), Good())

    async def work() -> None:
        monitored.reading = snapshot(certificate_left=0.0)
        await told.wait()

    with capture_logs() as lines:
        await monitored.during(work)
    assert "alert_sink_failed" in {line["event"] for line in lines}


def test_sinks_are_opened_from_settings() -> None:
    """The log always; a webhook and a command where they are configured."""
    assert [sink.name for sink in open_sinks(None, None)] == ["log"]
    names = [sink.name for sink in open_sinks("https://x.example/hook?token=a", "notify 'two words'")]
    assert names == ["log", "webhook https://x.example/hook", "command notify"]
