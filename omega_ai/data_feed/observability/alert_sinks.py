"""Where alerts go: the log, a webhook, a command; and the task that watches for them.

The webhook gets what Prometheus' Alertmanager sends (version 4 of its format), so whatever receives alerts
from there receives these too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import aiohttp
import msgspec
import structlog

from omega_ai.core.clock import Clock
from omega_ai.core.timestamps import format_utc
from omega_ai.data_feed.observability.alerts import Alert, AlertEngine, Notice
from omega_ai.data_feed.observability.logs import scrub
from omega_ai.data_feed.observability.snapshot import Snapshot

EVERY = 5.0
"""Seconds between two looks."""

WAITING_AT_MOST = 100
"""Notices that wait for one sink; with more, the oldest go."""

TRIES = 5
TIMEOUT = 10.0

_log = structlog.get_logger("omega.alerts")
_encode = msgspec.json.Encoder().encode


class SinkError(Exception):
    """A notice could not be delivered; the text says why."""


class Sink(Protocol):
    """Takes notices to somebody. ``name`` is for the log."""

    @property
    def name(self) -> str:
        """Which sink this is, without secrets."""
        ...

    async def tell(self, notice: Notice) -> None:
        """Deliver one notice.

        Raises:
            SinkError: it did not arrive; worth another try.
        """
        ...


class LogSink:
    """A line in the log: a warning when it begins, another line when it is over."""

    name = "log"

    async def tell(self, notice: Notice) -> None:
        """Never fails."""
        alert = notice.alert
        fields: dict[str, Any] = {"alert": alert.name, "severity": alert.severity, "summary": alert.summary}
        if notice.status == "firing":
            _log.warning("alert_firing", **fields, since=format_utc(alert.since_ns))
        else:
            _log.info("alert_resolved", **fields)


class WebhookSink:
    """POSTs each notice as JSON to ``url``; any answer of 2xx is success."""

    def __init__(self, url: str, *, timeout: float = TIMEOUT) -> None:
        self._url = url
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self.name = f"webhook {scrub(url).partition('?')[0]}"

    async def tell(self, notice: Notice) -> None:
        """See ``Sink``."""
        body = _encode(alertmanager_message(notice))
        try:
            async with (
                aiohttp.ClientSession(timeout=self._timeout) as session,
                session.post(
                    self._url, data=body, headers={"Content-Type": "application/json"}, allow_redirects=False
                ) as response,
            ):
                if not 200 <= response.status < 300:
                    raise SinkError(f"it answered {response.status}")
        except TimeoutError:
            raise SinkError(f"no answer within {self._timeout.total:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise SinkError(str(error) or type(error).__name__) from None


class CommandSink:
    """Runs ``arguments`` for each notice, without a shell; the JSON message is on its standard input.

    The environment has ``OMEGA_ALERT_NAME``, ``_STATUS``, ``_SEVERITY`` and ``_SUMMARY`` besides, for
    one-line scripts. Exit status 0 is success.
    """

    def __init__(self, arguments: Sequence[str], *, timeout: float = TIMEOUT) -> None:
        if not arguments:
            raise ValueError("a command needs at least the program's name")
        self._arguments = list(arguments)
        self._timeout = timeout
        self.name = f"command {self._arguments[0]}"

    async def tell(self, notice: Notice) -> None:
        """See ``Sink``. A command that takes too long is killed."""
        alert = notice.alert
        fields = {
            "NAME": alert.name,
            "STATUS": notice.status,
            "SEVERITY": alert.severity,
            "SUMMARY": alert.summary,
        }
        try:
            process = await asyncio.create_subprocess_exec(
                *self._arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                env={**_environment(), **{f"OMEGA_ALERT_{key}": value for key, value in fields.items()}},
            )
        except OSError as error:
            raise SinkError(f"it cannot be run: {error.strerror}") from None
        try:
            async with asyncio.timeout(self._timeout):
                await process.communicate(_encode(alertmanager_message(notice)))
        except TimeoutError:
            raise SinkError(f"it did not end within {self._timeout:g} s") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode != 0:
            raise SinkError(f"it ended with status {process.returncode}")


def open_sinks(webhook: str | None, command: str | None) -> list[Sink]:
    """The log, and what is configured besides: a URL, and a command quoted as in a shell.

    Raises:
        ValueError: the command is none.
    """
    sinks: list[Sink] = [LogSink()]
    if webhook is not None:
        sinks.append(WebhookSink(webhook))
    if command is not None:
        sinks.append(CommandSink(shlex.split(command)))
    return sinks


def _environment() -> dict[str, str]:
    # Ours may hold the password of a broker or a token's secret.
    return {
        key: value for key, value in os.environ.items() if not key.startswith("OMEGA_") and key != "REDIS_URL"
    }


def alertmanager_message(notice: Notice) -> dict[str, Any]:
    """A notice in the format of Alertmanager's webhooks, version 4."""
    alert = notice.alert
    labels = {"alertname": alert.name, "severity": alert.severity}
    if alert.subject:
        labels["venue"] = alert.subject
    annotations = {"summary": alert.summary, "runbook": f"docs/alerts/{alert.name}.md"}
    ended = notice.ended_ns
    return {
        "version": "4",
        "groupKey": f"{alert.name}/{alert.subject}",
        "status": notice.status,
        "receiver": "omega",
        "groupLabels": {"alertname": alert.name},
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": "",
        "truncatedAlerts": 0,
        "alerts": [
            {
                "status": notice.status,
                "labels": labels,
                "annotations": annotations,
                "startsAt": format_utc(alert.since_ns),
                "endsAt": "0001-01-01T00:00:00Z" if ended is None else format_utc(ended),
                "generatorURL": "",
                "fingerprint": f"{alert.name}/{alert.subject}",
            }
        ],
    }


class AlertMonitor:
    """Looks at the feed every few seconds and tells the sinks; each has its own queue, so none waits.

    Run it as a task (``run``); cancel the task to end it.
    """

    def __init__(
        self,
        read: Callable[[], Snapshot],
        sinks: Sequence[Sink],
        *,
        clock: Clock,
        engine: AlertEngine | None = None,
        every: float = EVERY,
        retry: float = 1.0,
    ) -> None:
        self._read = read
        self._clock = clock
        self._engine = engine or AlertEngine()
        self._every = every
        self._retry = retry
        self._queues = [(sink, asyncio.Queue[Notice]()) for sink in sinks]

    def active(self) -> list[Alert]:
        """Alerts that are on now, the critical first."""
        return self._engine.active()

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for sink, queue in self._queues:
                tasks.create_task(self._deliver(sink, queue))
            while True:
                self.look()
                await asyncio.sleep(self._every)

    def look(self) -> list[Notice]:
        """Take one reading and queue what is to be told."""
        try:
            notices = self._engine.evaluate(self._read(), self._clock.monotonic())
        except Exception:
            # A figure that cannot be read must not end the watch over the others.
            _log.exception("alerts_not_evaluated")
            return []
        for notice in notices:
            for sink, queue in self._queues:
                if queue.qsize() >= WAITING_AT_MOST:
                    lost = queue.get_nowait()
                    _log.error(
                        "alert_not_delivered", sink=sink.name, alert=lost.alert.name, why="too many wait"
                    )
                queue.put_nowait(notice)
        return notices

    async def _deliver(self, sink: Sink, queue: asyncio.Queue[Notice]) -> None:
        while True:
            notice = await queue.get()
            for attempt in range(1, TRIES + 1):
                why = await self._try(sink, notice)
                if why is None:
                    break
                fields = {"sink": sink.name, "alert": notice.alert.name, "why": why}
                if attempt == TRIES:
                    _log.error("alert_not_delivered", **fields)
                else:
                    _log.warning("alert_delivery_failed", **fields, attempt=attempt)
                    await asyncio.sleep(self._retry * 2 ** (attempt - 1))

    async def _try(self, sink: Sink, notice: Notice) -> str | None:
        """None when it was delivered, otherwise why not."""
        try:
            await sink.tell(notice)
        except SinkError as error:
            return str(error)
        except Exception as error:
            # The watch must outlive what nobody thought of, or a broken sink would end the feed.
            _log.exception("alert_sink_failed", sink=sink.name)
            return type(error).__name__
        return None
