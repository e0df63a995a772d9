"""The whole way of an alert: feed, Prometheus, Alertmanager, webhook; all of them real."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from omega_ai.data_feed.http.app import make_app, start_http
from omega_ai.data_feed.observability.alert_sinks import alertmanager_message
from omega_ai.data_feed.observability.alerts import Alert, Notice
from omega_ai.tests.unit.data.http.fake_view import FakeView
from omega_ai.tests.unit.data.observability.snapshots import snapshot
from omega_ai.tests.unit.data.observability.test_metrics import free_port


@asynccontextmanager
async def running(*command: str) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(*command)
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def test_an_alert_arrives_at_a_webhook_and_so_does_its_end(tmp_path: Path, root: Path) -> None:
    """With the project's own rule file; and what arrives has the shape that our own webhook sends."""
    prometheus = shutil.which("prometheus")
    alertmanager = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if prometheus is None or alertmanager is None:
        pytest.skip("needs both: apt install prometheus prometheus-alertmanager")
    received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def hook(request: web.Request) -> web.Response:
        await received.put(await request.json())
        return web.Response()

    receiver = web.Application()
    receiver.router.add_post("/", hook)
    view = FakeView()
    view.reading = snapshot(certificate_left=86_400.0)
    manager_port = free_port()
    async with AsyncExitStack() as stack:
        hook_port = await listen(stack, receiver)
        feed = await start_http(make_app(view), "127.0.0.1", 0)
        stack.push_async_callback(feed.close)
        configs = {
            "alertmanager": {
                "route": {"receiver": "us", "group_wait": "0s", "group_interval": "1s"},
                "receivers": [{"name": "us", "webhook_configs": [{"url": f"http://127.0.0.1:{hook_port}/"}]}],
            },
            "prometheus": {
                "global": {
                    "scrape_interval": "200ms",
                    "scrape_timeout": "200ms",
                    "evaluation_interval": "200ms",
                },
                "rule_files": [str(root / "docs/alerts/omega.rules.yml")],
                "alerting": {
                    "alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{manager_port}"]}]}]
                },
                "scrape_configs": [
                    {"job_name": "omega", "static_configs": [{"targets": [f"127.0.0.1:{feed.port}"]}]}
                ],
            },
        }
        for name, config in configs.items():
            (tmp_path / f"{name}.yml").write_text(json.dumps(config))  # JSON is YAML
        await stack.enter_async_context(
            running(
                alertmanager,
                f"--config.file={tmp_path / 'alertmanager.yml'}",
                f"--storage.path={tmp_path / 'alerts'}",
                f"--web.listen-address=127.0.0.1:{manager_port}",
                "--cluster.listen-address=",
                "--log.level=error",
            )
        )
        await stack.enter_async_context(
            running(
                prometheus,
                f"--config.file={tmp_path / 'prometheus.yml'}",
                f"--storage.tsdb.path={tmp_path / 'data'}",
                f"--web.listen-address=127.0.0.1:{free_port()}",
                "--log.level=error",
            )
        )
        async with asyncio.timeout(60):
            firing = await received.get()
            view.reading = snapshot()
            resolved = await received.get()
    assert firing["status"] == "firing"
    (alert,) = firing["alerts"]
    assert alert["labels"]["alertname"] == "OmegaCertificateEnding"
    assert alert["annotations"]["summary"] == "The certificate ends in 1d 0h 0m 0s"
    assert resolved["status"] == "resolved"
    ours = alertmanager_message(Notice(Alert("OmegaCertificateEnding", "warning", "", "text", 0), "firing"))
    assert set(ours) == set(firing)
    assert set(ours["alerts"][0]) == set(alert)


async def listen(stack: AsyncExitStack, app: web.Application) -> int:
    runner = web.AppRunner(app)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port: int = runner.addresses[0][1]
    return port
