"""What a load run looks like while it goes on, for Prometheus: a page that is made anew at each scrape."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Final

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from omega_ai.core.histogram import Histogram
from omega_ai.testkit.load.tally import Window, add_window, empty_window

BOUNDS_S: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Upper bounds of the buckets of a latency, in seconds."""

_COUNTERS: Final = {
    "intended": ("messages_due", "Messages that were to be sent."),
    "sent": ("messages_sent", "Messages that were sent."),
    "unsent": ("messages_unsent", "Messages that could not be sent, as their client had no connection."),
    "received": ("messages_received", "Messages that came."),
    "duplicated": ("messages_duplicated", "Messages that came again."),
    "reordered": ("messages_reordered", "Messages that came after a later one."),
    "corrupted": ("messages_corrupted", "Messages that came damaged."),
    "unexpected": ("messages_unexpected", "Messages that nobody sent."),
    "connected": ("connections", "Connections that came about."),
    "refused": ("connections_refused", "Connections that did not come about."),
    "dropped": ("connections_dropped", "Connections that ended and should not have."),
}


class LiveMetrics(Collector):
    """Holds what was seen so far. Windows come from one thread, scrapes from others."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._total = empty_window(0.0, 0.0)
        self._server: dict[str, float] = {}

    def add(self, window: Window, server: dict[str, float] | None = None) -> None:
        """One more window; ``server``: the newest of what was seen of the server."""
        with self._lock:
            add_window(self._total, window)
            self._total.duration_s = window.start_s + window.duration_s
            if server is not None:
                self._server = dict(server)

    def describe(self) -> Iterable[Metric]:
        """Nothing: a registry must not take a reading just to learn the names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        with self._lock:
            families = list(self._families())
        yield from families

    def _families(self) -> Iterator[Metric]:
        total = self._total
        for field, (name, text) in _COUNTERS.items():
            yield CounterMetricFamily(f"omega_load_{name}", text, value=getattr(total.counts, field))
        yield GaugeMetricFamily(
            "omega_load_messages_missing",
            "Messages skipped over when a later one came, and not come since.",
            value=max(0, total.counts.missing),
        )
        yield GaugeMetricFamily("omega_load_open_connections", "Connections open now.", value=total.open)
        yield GaugeMetricFamily("omega_load_seconds", "Since the run began.", value=total.duration_s)
        yield CounterMetricFamily(
            "omega_load_generator_cpu_seconds", "Processor time of the generator.", value=total.cpu_s
        )
        yield _family("latency", "From when a message was to be sent until it came.", total.latency)
        yield _family("connect", "From when a connection was to be made until it was.", total.connect)
        yield _family("send_lag", "How late the generator itself sent.", total.send_lag)
        for name, value in self._server.items():
            yield GaugeMetricFamily(
                f"omega_load_server_{_plain(name)}", f"Of the server: {name}.", value=value
            )


def _plain(name: str) -> str:
    return "".join(char if char.isalnum() and char.isascii() else "_" for char in name)


def _family(name: str, text: str, histogram: Histogram) -> Metric:
    buckets: list[tuple[str, float]] = []
    cells = list(histogram.buckets())
    place, seen = 0, 0
    for bound in BOUNDS_S:
        while place < len(cells) and cells[place][0] <= bound * 1e9:
            seen += cells[place][1]
            place += 1
        buckets.append((f"{bound:g}", seen))
    buckets.append(("+Inf", histogram.count))
    family = HistogramMetricFamily(f"omega_load_{name}_seconds", text)
    family.add_metric([], buckets, histogram.total / 1e9)
    return family


class MetricsServer:
    """The page, in a thread of its own. ``with`` it."""

    def __init__(self, metrics: LiveMetrics, port: int, host: str = "127.0.0.1") -> None:
        self._metrics, self._port, self._host = metrics, port, host

    def __enter__(self) -> MetricsServer:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self._metrics)
        self._server, self._thread = start_http_server(self._port, self._host, registry)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{self._host}:{self._server.server_port}/metrics"
