"""A run with all that stands around it, on a server that is a formula; and the page for Prometheus."""

from __future__ import annotations

import asyncio
import os
import urllib.request
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from omega_ai.core.histogram import Histogram
from omega_ai.testkit.load.live_metrics import LiveMetrics, MetricsServer
from omega_ai.testkit.load.plan import Group, LoadPlan, Role
from omega_ai.testkit.load.record import LoadRecord
from omega_ai.testkit.load.session import ServerView, Session
from omega_ai.testkit.load.shapes import Constant
from omega_ai.testkit.load.tally import Counts, Window, empty_window
from omega_ai.testkit.profile import load_profile
from omega_ai.tests.unit.testkit.load.modelled import MS, Modelled

PLAN = LoadPlan(
    urls=("ws://localhost:1/",),
    profile=load_profile("echo"),
    duration_s=10,
    groups=(Group(role=Role.ECHO, clients=10, messages=Constant(rate=100)),),
)


class Stoppable(Modelled):
    """Stops between windows, as the engine does."""

    stopped_after: int | None = None

    async def __call__(
        self, plan: LoadPlan, *, on_window: Any = None, stop: Any = None, server_pid: int | None = None
    ) -> Any:
        """See ``run_load``."""
        windows: list[Window] = []

        def tell(window: Window) -> None:
            windows.append(window)
            if stop.is_set() and self.stopped_after is None:
                self.stopped_after = len(windows) - 1
            if not stop.is_set():
                on_window(window)

        return await super().__call__(plan, on_window=tell, stop=stop)


def _carry_out(server: Modelled, **more: Any) -> tuple[Session, LoadRecord]:
    session = Session(PLAN, run=server, **more)
    return session, asyncio.run(session.carry_out())


def test_a_threshold_ends_the_run() -> None:
    """In the window in which it showed; and it is said which."""
    server = Stoppable(capacity=1e9, loses_above=50)
    session, _ = _carry_out(server, thresholds=["lost == 0 or stop"])
    assert session.ended_by is not None
    assert session.ended_by.startswith("lost == 0 or stop: observed 1")
    assert server.stopped_after == 1


def test_a_threshold_without_a_stop_ends_nothing() -> None:
    """It is judged at the end."""
    server = Stoppable(capacity=1e9, loses_above=50)
    session, record = _carry_out(server, thresholds=["lost == 0"])
    assert (session.ended_by, server.stopped_after) == (None, None)
    assert record.thresholds == ("lost == 0",)


def test_the_server_is_watched_if_it_is_known() -> None:
    """Here, by its pid; else it is said how it could be."""
    _, record = _carry_out(Modelled(capacity=1e9))
    assert "--server-pid" in record.absent["rss"]
    started: list[Window] = []
    session = Session(
        PLAN, run=Modelled(capacity=1e9), view=ServerView(pid=os.getpid()), on_window=started.append
    )
    record = asyncio.run(session.carry_out())
    assert len(started) == 10
    assert "rss" not in record.absent


def test_a_page_for_prometheus_shows_the_run() -> None:
    """Counters, a histogram whose buckets add up, and what was seen of the server."""
    metrics = LiveMetrics()
    with MetricsServer(metrics, 0) as server:
        for second in range(3):
            window = empty_window(float(second), 1.0)
            window.counts = Counts(intended=10, sent=9, received=8, missing=1)
            window.latency = Histogram.of([MS, 3 * MS, 700 * MS])
            window.open = 5 + second
            metrics.add(window, {"rss": 5e7, "my metric": 1.0})
        with urllib.request.urlopen(server.url) as page:
            text = page.read().decode()
    samples = {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["omega_load_messages_sent_total", ()] == 27
    assert samples["omega_load_messages_missing", ()] == 3
    assert samples["omega_load_open_connections", ()] == 7
    assert samples["omega_load_seconds", ()] == 3
    assert samples["omega_load_latency_seconds_bucket", ("0.002",)] == 3
    assert samples["omega_load_latency_seconds_bucket", ("0.5",)] == 6
    assert samples["omega_load_latency_seconds_bucket", ("+Inf",)] == 9
    assert round(samples["omega_load_latency_seconds_sum", ()], 3) == 2.112
    assert samples["omega_load_server_rss", ()] == 5e7
    assert samples["omega_load_server_my_metric", ()] == 1


def test_where_the_page_is_is_told() -> None:
    """Port 0 picks a free one."""
    told: list[str] = []
    _carry_out(Modelled(capacity=1e9), metrics_port=0, on_metrics=told.append)
    assert told[0].startswith("http://127.0.0.1:")
