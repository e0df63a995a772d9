"""What a running feed's metrics say: of two workers, over a Valkey, fed by a venue; as Prometheus sees it."""

from __future__ import annotations

import asyncio
import json
import random
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from websockets.asyncio.client import ClientConnection, connect

from omega_ai.core.clock import SystemClock
from omega_ai.data_feed.exchanges.detect import VENUES
from omega_ai.data_feed.exchanges.standin.exchange import StandIn
from omega_ai.data_feed.exchanges.standin.market import GeneratedMarket
from omega_ai.data_feed.feed import Feed
from omega_ai.data_feed.settings import FeedSettings
from omega_ai.tests.unit.data.observability.test_metrics import ask, free_port

CLOCK = SystemClock()


pytestmark = pytest.mark.asyncio(loop_scope="module")  # one feed for all


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def feed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Feed]:
    """Two workers, and a stand-in for Coinbase that trades fifty times a second."""
    folder = tmp_path_factory.mktemp("feed")
    market = GeneratedMarket(VENUES["coinbase"], 1, CLOCK.time_ns(), rate=50.0)
    exchange = StandIn(VENUES["coinbase"], market, clock=CLOCK, rng=random.Random(1))
    await exchange.start()
    settings = FeedSettings(
        port=0,
        tls_port=None,
        http_port=0,
        source="live",
        venues=("coinbase",),
        workers=2,
        broker=f"embedded:{folder / 'v'}",
    )
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_STATE_HOME", str(folder / "state"))
            patch.setenv("WSS_URL_COINBASE", exchange.url)
            patch.setenv("REST_URL_COINBASE", exchange.rest_url)
            async with Feed(settings, clock=CLOCK) as running:
                yield running
    finally:
        await exchange.close()


class Scrape:
    """One answer of ``/metrics``."""

    def __init__(self, text: str) -> None:
        self.samples: list[Sample] = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]

    def __call__(self, name: str, **labels: str) -> float:
        """The sum over all series with these labels; 0 without any."""
        return sum(
            s.value for s in self.samples if s.name == name and labels.items() <= (s.labels or {}).items()
        )

    @property
    def names(self) -> set[str]:
        """All names of samples."""
        return {sample.name for sample in self.samples}


async def scrape(http: aiohttp.ClientSession) -> Scrape:
    async with http.get("/metrics") as response:
        return Scrape(await response.text())


async def read_all(client: ClientConnection) -> None:
    async for _ in client:
        pass


async def test_every_figure_of_a_running_feed_is_fed(feed: Feed, root: Path) -> None:
    """Each metric that the documentation names is there; those that count what happens have counted it."""
    assert feed.endpoints is not None
    ws, http_url = str(feed.endpoints.ws), str(feed.endpoints.http)
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession(http_url))
        clients = [await stack.enter_async_context(connect(f"{ws}/?channels=trades")) for _ in range(8)]
        await clients[0].send('{"type":"nonsense"}')
        readers = [asyncio.create_task(read_all(client)) for client in clients]
        stack.callback(lambda: [reader.cancel() for reader in readers])
        async with asyncio.timeout(20):
            while True:
                found = await scrape(http)
                if (
                    found("omega_latency_seconds_count", stage="venue_to_write") >= 5
                    and found("omega_client_errors_total", code="unknown_type") == 1
                    and found("omega_worker_connections") == 8
                ):
                    break
                await asyncio.sleep(0.1)
    assert found("omega_connections", transport="ws") == 8
    assert found("omega_handshakes_total", transport="ws") == 8
    assert found("omega_messages_sent_total") > 20
    assert found("omega_published_messages_total", channel="trades") > 5
    assert found("omega_latency_seconds_count", stage="publish_to_write") > 5
    assert found("omega_latency_seconds_count", stage="broker") > 5
    assert found("omega_latency_seconds_sum", stage="broker") > 0
    assert 0 < found("omega_latency_seconds_sum", stage="venue_to_write") < 60
    assert found("omega_broker_up") == 1
    assert found("omega_venue_messages_total", venue="coinbase") > 5
    assert found("omega_venue_state", venue="coinbase", state="live") == 1
    for place in ("0", "1"):
        assert found("omega_worker_up", worker=place) == 1
        assert found("omega_worker_cpu_seconds_total", worker=place) > 0
        assert found("omega_worker_resident_memory_bytes", worker=place) > 1 << 20
    assert found("process_cpu_seconds_total") > 0
    documented = set(re.findall(r"`((?:omega|process)_\w+)`", (root / "docs/metrics.md").read_text()))
    elsewhere = {"omega_certificate_remaining_seconds", "omega_leading"}  # no TLS here, and one process alone
    present = found.names | {name.removesuffix("_count") for name in found.names}
    assert documented - elsewhere - present == set()


async def test_a_real_prometheus_scrapes_a_real_feed(feed: Feed, tmp_path: Path) -> None:
    """And its query language gives the figures back, per worker and per venue."""
    prometheus = shutil.which("prometheus")
    if prometheus is None:
        pytest.skip("needs Prometheus: apt install prometheus")
    assert feed.endpoints is not None
    target = str(feed.endpoints.http).removeprefix("http://")
    config = {
        "global": {"scrape_interval": "250ms", "scrape_timeout": "250ms"},
        "scrape_configs": [{"job_name": "omega", "static_configs": [{"targets": [target]}]}],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        prometheus,
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    )
    try:
        assert (await ask(port, "sum(omega_worker_up)"))[0]["value"][1] == "2"
        live = await ask(port, 'omega_venue_state{venue="coinbase",state="live"} == 1')
        assert live[0]["value"][1] == "1"
        assert await ask(port, 'rate(omega_published_messages_total{channel="trades"}[5s]) > 5')
    finally:
        process.terminate()
        await process.wait()
