"""Looking at a server while something else goes on."""

from __future__ import annotations

import asyncio
import http.server
import os
import threading
from collections.abc import Iterator

import pytest

from omega_ai.testkit.load.prometheus_side import PrometheusPage
from omega_ai.testkit.load.server_side import Reading, Unseen, process_source
from omega_ai.testkit.load.watching import Watch


class Fading:
    """Can be read ``times`` times."""

    def __init__(self, times: int) -> None:
        self.absent: dict[str, str] = {"pss": "nobody asked"}
        self.left = times

    def read(self) -> Reading:
        """See ``Source``."""
        self.left -= 1
        if self.left < 0:
            raise Unseen("it went away")
        return Reading(gauges={"rss": 1.0}, counters={"cpu": 1.0})


async def test_a_process_is_watched_until_the_end() -> None:
    """This one. The last look is at the end, so that even a short run has two."""
    async with Watch(process_source(os.getpid()), interval_s=0.02) as watch:
        sum(n * n for n in range(200_000))
        while len(watch.series()[0].points) < 3:
            await asyncio.sleep(0.01)
    series = {item.name: item for item in watch.series()}
    assert series["rss"].points[-1][1] > 10_000_000
    assert max(value for _, value in series["cpu"].points) > 0.1
    assert watch.trouble is None


async def test_what_cannot_be_seen_is_absent() -> None:
    """And said at once, not after the run."""
    async with Watch(Fading(0)) as watch:
        assert watch.trouble == "it went away"
    assert watch.absent["rss"] == "it went away"
    assert watch.absent["pss"] == "nobody asked"
    assert watch.series() == []


async def test_what_was_seen_stays_when_the_server_goes() -> None:
    """A soak whose server died after hours has its series."""
    async with Watch(Fading(3), interval_s=0.005) as watch:
        async with asyncio.timeout(20):
            while watch.trouble is None:
                await asyncio.sleep(0.005)
    assert len({item.name: item for item in watch.series()}["rss"].points) == 3
    assert watch.absent == {"pss": "nobody asked"}


@pytest.fixture
def metrics_page() -> Iterator[str]:
    """A page that counts how often it was read."""
    reads = 0

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            nonlocal reads
            reads += 1
            body = f"process_resident_memory_bytes {1000 * reads}\nhits_total {reads * 5}\n".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/metrics"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_a_metrics_page_is_watched(metrics_page: str) -> None:
    """Over HTTP, with a metric that was chosen."""
    source = PrometheusPage(metrics_page, ["hits_total"])
    async with Watch(source, interval_s=0.02) as watch:
        while len(watch.series()[0].points) < 3:
            await asyncio.sleep(0.01)
    series = {item.name: item for item in watch.series()}
    assert [value for _, value in series["rss"].points][:3] == [1000, 2000, 3000]
    assert series["hits_total"].unit == "1/s"
    assert watch.absent["descriptors"] == "the metrics page does not have it"
