"""What a scraper gets."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from omega_ai.data_feed.http.app import make_app, start_http
from omega_ai.data_feed.observability.metrics import make_registry
from omega_ai.data_feed.observability.snapshot import Snapshot, WorkerFigures
from omega_ai.tests.unit.data.http.fake_view import FakeView
from omega_ai.tests.unit.data.observability.snapshots import NOW_NS, snapshot


def scrape(reading: Snapshot) -> str:
    return generate_latest(make_registry(lambda: reading)).decode()


def samples(text: str) -> Iterator[Sample]:
    for family in text_string_to_metric_families(text):
        yield from family.samples


def value(text: str, name: str, **labels: str) -> float:
    (found,) = [each.value for each in samples(text) if each.name == name and each.labels == labels]
    return found


def test_each_figure_is_where_its_name_says() -> None:
    """Gauges, counters with labels, ages in seconds."""
    text = scrape(snapshot())
    assert value(text, "omega_connections", transport="ws") == 40
    assert value(text, "omega_handshakes_total", transport="wss") == 7
    assert value(text, "omega_handshake_refusals_total", reason="origin") == 3
    assert value(text, "omega_messages_sent_total") == 123_456
    assert value(text, "omega_sent_bytes_total") == 45_678_901
    assert value(text, "omega_slow_closes_total") == 3
    assert value(text, "omega_resumes_total", outcome="unrecovered") == 1
    assert value(text, "omega_replays_active") == 4
    assert value(text, "omega_replays_total", origin="shared") == 21
    assert value(text, "omega_replays_total", origin="broker") == 0
    assert value(text, "omega_backlog_bytes") == 70_000
    assert value(text, "omega_history_requests_total") == 30
    assert value(text, "omega_history_reads_total") == 3
    assert value(text, "omega_inlet_waiting") == 12
    assert value(text, "omega_inlet_deferred_total") == 500
    assert value(text, "omega_venue_age_seconds", venue="coinbase") == 0.04
    assert value(text, "omega_venue_gaps_total", venue="kraken") == 2
    assert value(text, "omega_venue_refused_total", venue="kraken") == 5
    assert value(text, "omega_broker_up") == 1
    assert value(text, "omega_certificate_remaining_seconds") == 90 * 86_400
    assert value(text, "omega_uptime_seconds") == 3600


def test_each_worker_is_told_apart_by_its_place() -> None:
    """One that is away has no process figures, and says so."""
    away = WorkerFigures(place=1, running=False)
    text = scrape(snapshot(workers=[snapshot().workers[0], away]))
    assert value(text, "omega_worker_up", worker="1") == 0
    assert value(text, "omega_worker_up", worker="0") == 1
    assert value(text, "omega_worker_connections", worker="0") == 30
    assert value(text, "omega_worker_cpu_seconds_total", worker="0") == 40
    assert value(text, "omega_worker_resident_memory_bytes", worker="0") == 64_000_000
    assert value(text, "omega_worker_open_fds", worker="0") == 44
    assert value(text, "omega_worker_restarts_total") == 2
    assert [s.labels["worker"] for s in samples(text) if s.name == "omega_worker_cpu_seconds_total"] == ["0"]
    assert "omega_worker" not in scrape(snapshot(workers=[]))


def test_the_process_has_the_names_that_every_client_library_uses() -> None:
    """So that ready-made dashboards work."""
    text = scrape(snapshot())
    assert value(text, "process_cpu_seconds_total") == 12.5
    assert value(text, "process_resident_memory_bytes") == 64_000_000
    assert value(text, "process_open_fds") == 44
    assert value(text, "process_max_fds") == 20_000
    assert value(text, "process_start_time_seconds") == NOW_NS / 1e9 - 3600


def test_series_are_there_before_their_first_event() -> None:
    """A rate over a series that appears with its first event misses it."""
    text = scrape(Snapshot(now_ns=NOW_NS, uptime=1.0))
    assert value(text, "omega_closes_total", code="4008") == 0
    assert value(text, "omega_client_errors_total", code="rate_limited") == 0
    assert value(text, "omega_handshake_refusals_total", reason="capacity") == 0
    assert value(text, "omega_handshakes_total", transport="wss") == 0


def test_states_are_one_series_each_and_one_of_them_is_1() -> None:
    """So that a rule can ask for one by name."""
    text = scrape(snapshot(price_state="degraded"))
    states = {s.labels["state"]: s.value for s in samples(text) if s.name == "omega_price_state"}
    assert states == {"live": 0, "degraded": 1, "stale": 0, "simulated": 0}
    venue = {
        s.labels["state"]: s.value
        for s in samples(text)
        if s.name == "omega_venue_state" and s.labels["venue"] == "kraken"
    }
    assert venue.pop("live") == 1
    assert set(venue.values()) == {0}


def test_histograms_are_cumulative_and_end_with_all() -> None:
    """As Prometheus defines them."""
    text = scrape(snapshot())
    buckets = [
        (float(s.labels["le"]), s.value)
        for s in samples(text)
        if s.name == "omega_latency_seconds_bucket" and s.labels["stage"] == "publish_to_write"
    ]
    assert buckets == sorted(buckets)
    counts = dict(buckets)
    assert counts[50e-6] == 0
    assert counts[100e-6] == 990
    assert counts[0.005] == 1000
    assert counts[float("inf")] == 1000
    assert value(text, "omega_latency_seconds_count", stage="publish_to_write") == 1000
    total = value(text, "omega_latency_seconds_sum", stage="publish_to_write")
    assert total == pytest.approx(990 * 90e-6 + 10 * 0.004)


def test_a_client_cannot_make_series() -> None:
    """Close codes are chosen by peers; those that are not of the contract share one label."""
    text = scrape(snapshot(closes=dict.fromkeys(range(3000, 5000), 1) | {1006: 4}))
    codes = {s.labels["code"]: s.value for s in samples(text) if s.name == "omega_closes_total"}
    assert len(codes) < 25
    assert codes["1006"] == 4
    assert codes["4008"] == 1
    assert sum(codes.values()) == 2004


def test_what_a_process_does_not_have_is_left_out() -> None:
    """No certificate, no price, no loop lag: no series, rather than a wrong zero."""
    text = scrape(Snapshot(now_ns=NOW_NS, uptime=1.0))
    names = {sample.name for sample in samples(text)}
    assert "omega_certificate_remaining_seconds" not in names
    assert "omega_price_age_seconds" not in names
    assert "omega_loop_lag_seconds_count" not in names
    assert {s.value for s in samples(text) if s.name == "omega_price_state"} == {0}


def test_registries_are_apart() -> None:
    """Two feeds in one process do not share, and making one takes no reading."""
    calls = []

    def read() -> Snapshot:
        calls.append(1)
        return snapshot()

    one, two = make_registry(read), make_registry(lambda: snapshot(messages_sent=7))
    assert calls == []
    assert value(generate_latest(two).decode(), "omega_messages_sent_total") == 7
    assert value(generate_latest(one).decode(), "omega_messages_sent_total") == 123_456
    assert calls == [1]


def test_openmetrics_is_valid_too() -> None:
    """By the reference parser, which is strict."""
    families = list(parse_openmetrics(generate_openmetrics(make_registry(snapshot)).decode()))
    assert "omega_messages_sent" in {family.name for family in families}


def test_every_metric_is_documented_and_none_else(root: Path) -> None:
    """``docs/metrics.md`` against a full scrape."""
    exposed = {
        family.name if family.type != "counter" else f"{family.name}_total"
        for family in text_string_to_metric_families(scrape(snapshot()))
        if family.name.startswith("omega_")
    }
    documented = set(re.findall(r"^\| `(omega_\w+)", (root / "docs/metrics.md").read_text(), re.MULTILINE))
    assert documented == exposed


def test_promtool_finds_nothing_to_complain_of() -> None:
    """Prometheus' own linter."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool: apt install prometheus")
    run = subprocess.run(
        [promtool, "check", "metrics"], input=scrape(snapshot()), capture_output=True, text=True
    )
    assert (run.returncode, run.stdout + run.stderr) == (0, "")


async def test_a_real_prometheus_scrapes_it(tmp_path: Path) -> None:
    """Its own query language gives the figures back."""
    prometheus = shutil.which("prometheus")
    if prometheus is None:
        pytest.skip("needs Prometheus: apt install prometheus")
    view = FakeView()
    view.reading = snapshot()
    runner = await start_http(make_app(view), "127.0.0.1", 0)
    config = tmp_path / "prometheus.yml"
    config.write_text(
        json.dumps(  # JSON is YAML
            {
                "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"},
                "scrape_configs": [
                    {"job_name": "omega", "static_configs": [{"targets": [f"127.0.0.1:{runner.port}"]}]}
                ],
            }
        )
    )
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        prometheus,
        f"--config.file={config}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    )
    try:
        median = "histogram_quantile(0.5, sum by (le) (omega_latency_seconds_bucket))"
        result = await ask(port, median)
        assert 50e-6 < float(result[0]["value"][1]) <= 100e-6
        assert (await ask(port, 'omega_connections{transport="ws"}'))[0]["value"][1] == "40"
        assert (await ask(port, "up"))[0]["value"][1] == "1"
    finally:
        process.terminate()
        await process.wait()
        await runner.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def ask(port: int, query: str) -> list[dict[str, list[str]]]:
    """The instant query's result, once there is one."""
    async with asyncio.timeout(30), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(
                    f"http://127.0.0.1:{port}/api/v1/query", params={"query": query}
                ) as response:
                    body = await response.json(content_type=None)
                    found: list[dict[str, list[str]]] = body.get("data", {}).get("result", [])
                    if found:
                        return found
            except (aiohttp.ClientError, ValueError):
                pass  # it is still starting
            await asyncio.sleep(0.1)
