"""What proxies did, for Prometheus: Toxiproxy's counters, and how many connections there are."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from omega_ai.testkit.faults.model import STREAMS
from omega_ai.testkit.proxy.collection import ProxyCollection

LABELS = ("direction", "proxy", "listener", "upstream")


class Figures(Collector):
    """Reads the proxies when asked."""

    def __init__(self, collection: ProxyCollection) -> None:
        self._collection = collection

    def collect(self) -> Iterator[Metric]:
        """Bytes received and sent in each direction, and connections."""
        received = CounterMetricFamily(
            "toxiproxy_proxy_received_bytes", "Bytes read from the sender.", labels=LABELS
        )
        sent = CounterMetricFamily(
            "toxiproxy_proxy_sent_bytes", "Bytes handed to the receiver.", labels=LABELS
        )
        accepted = CounterMetricFamily(
            "omega_proxy_accepted", "Connections accepted from clients.", labels=("proxy",)
        )
        now = GaugeMetricFamily(
            "omega_proxy_connections", "Connections open, or being opened.", labels=("proxy",)
        )
        toxics = GaugeMetricFamily("omega_proxy_toxics", "Toxics placed.", labels=("proxy",))
        for proxy in self._collection.proxies.values():
            volume = proxy.volume
            for stream in STREAMS:
                labels = (stream, proxy.name, proxy.listen, proxy.upstream)
                received.add_metric(labels, volume[stream].received)
                sent.add_metric(labels, volume[stream].sent)
            accepted.add_metric((proxy.name,), proxy.accepted)
            now.add_metric((proxy.name,), proxy.connections)
            toxics.add_metric((proxy.name,), len(proxy.toxics))
        yield from (received, sent, accepted, now, toxics)
