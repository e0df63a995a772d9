"""The feed's figures for Prometheus, read at scrape time from a ``Snapshot``.

Nothing here is called per message. Names follow the Prometheus naming rules: prefix ``omega_``, base units,
``_total`` for counters. Labels take their values from fixed sets only, so a client cannot grow the series.
``docs/metrics.md`` says what each is for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import get_args

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from omega_ai import __version__
from omega_ai.data_feed.market import PriceState, SourceState, SourceStatus
from omega_ai.data_feed.observability.histogram import HistogramReading
from omega_ai.data_feed.observability.snapshot import Snapshot
from omega_ai.data_feed.websocket.close_codes import CloseCode

ReadSnapshot = Callable[[], Snapshot]

_PRICE_STATES: tuple[str, ...] = get_args(PriceState)
_SOURCE_STATES: tuple[str, ...] = get_args(SourceState)
# 1005 and 1006 never cross the wire; they stand for an empty close and for none at all (RFC 6455, 7.4.1).
_CODES = frozenset({*CloseCode, 1005, 1006})


def make_registry(read: ReadSnapshot) -> CollectorRegistry:
    """A registry of its own for one process's feed: its figures, and the interpreter's."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(FeedCollector(read))
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class FeedCollector(Collector):
    """Turns one ``Snapshot`` into metric families, at each scrape."""

    def __init__(self, read: ReadSnapshot) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """Nothing: a registry must not take a reading just to learn the names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every family; those of parts that the process does not have are left out."""
        snapshot = self._read()
        yield from _process(snapshot)
        yield from _connections(snapshot)
        yield from _traffic(snapshot)
        yield from _latencies(snapshot)
        yield from _broker(snapshot)
        yield from _price(snapshot)
        yield from _venues(snapshot.sources)


def _process(snapshot: Snapshot) -> Iterator[Metric]:
    yield _gauges("omega_build_info", "The version that runs; always 1.", "version", {__version__: 1})
    yield _gauge("omega_uptime_seconds", "Since the feed started.", snapshot.uptime)
    if snapshot.loop_lag is not None:
        yield _histogram("omega_loop_lag_seconds", "How late the event loop ran a timer.", snapshot.loop_lag)
    if snapshot.certificate_left is not None:
        yield _gauge(
            "omega_certificate_remaining_seconds",
            "Until the served certificate ends; negative when it has.",
            snapshot.certificate_left,
        )


def _connections(snapshot: Snapshot) -> Iterator[Metric]:
    yield _gauges("omega_connections", "WebSocket connections open now.", "transport", snapshot.connections)
    yield _gauge("omega_connections_max", "WebSocket connections allowed at once.", snapshot.max_connections)
    yield _counters("omega_handshakes", "Upgrades that succeeded.", "transport", snapshot.handshakes)
    yield _counters(
        "omega_handshake_refusals", "Upgrades refused before they began.", "reason", snapshot.refusals
    )
    closes: dict[str, int] = {}
    for code, count in snapshot.closes.items():
        label = str(int(code)) if code in _CODES else "other"  # peers may send any code from 3000 to 4999
        closes[label] = closes.get(label, 0) + count
    yield _counters("omega_closes", "Connections ended, by close code.", "code", closes)
    yield _counter(
        "omega_slow_closes",
        "Connections ended because the client read too slowly.",
        snapshot.closes.get(CloseCode.SLOW_CONSUMER, 0),
    )
    yield _counters("omega_client_errors", "Error messages sent to clients.", "code", snapshot.errors)
    yield _counters(
        "omega_resumes",
        "Subscriptions from a position: recovered whole, or not.",
        "outcome",
        {"recovered": 0, "unrecovered": 0} | dict(snapshot.resumes),
    )


def _traffic(snapshot: Snapshot) -> Iterator[Metric]:
    yield _counter("omega_messages_received", "Messages from clients.", snapshot.messages_received)
    yield _counter("omega_messages_sent", "Messages to clients.", snapshot.messages_sent)
    yield _counter("omega_received_bytes", "Payload from clients.", snapshot.bytes_received)
    yield _counter("omega_sent_bytes", "Payload to clients.", snapshot.bytes_sent)
    yield _counters(
        "omega_published_messages", "Messages published by this process.", "channel", snapshot.published
    )
    yield _gauge("omega_outbox_bytes", "What waits to be sent, all clients together.", snapshot.outbox_bytes)
    yield _counter(
        "omega_conflated_messages",
        "Messages replaced by a newer one for clients in mode latest.",
        snapshot.conflated,
    )


def _latencies(snapshot: Snapshot) -> Iterator[Metric]:
    family = HistogramMetricFamily(
        "omega_latency_seconds", "How long each stage of a price's way took.", labels=["stage"]
    )
    for stage, reading in snapshot.latencies.items():
        family.add_metric([stage], _buckets(reading), reading.total)
    yield family


def _broker(snapshot: Snapshot) -> Iterator[Metric]:
    broker = snapshot.broker
    yield _gauge("omega_broker_up", "1 while the broker answers.", int(broker.connected))
    yield _gauge("omega_broker_buffered_messages", "Publications that wait for the broker.", broker.buffered)
    yield _counter("omega_broker_reconnects", "Times the broker was lost and found.", broker.reconnects)


def _price(snapshot: Snapshot) -> Iterator[Metric]:
    yield _gauges(
        "omega_price_state",
        "1 for the state of the newest price, 0 for the others; all 0 before the first.",
        "state",
        {state: int(state == snapshot.price_state) for state in _PRICE_STATES},
    )
    if snapshot.price_age is not None:
        yield _gauge("omega_price_age_seconds", "Since the newest price was published.", snapshot.price_age)


def _venues(sources: Iterable[SourceStatus]) -> Iterator[Metric]:
    state = GaugeMetricFamily(
        "omega_venue_state", "1 for a venue's present state, 0 for the others.", labels=["venue", "state"]
    )
    age = GaugeMetricFamily("omega_venue_age_seconds", "Since a venue's newest message.", labels=["venue"])
    counters = {
        name: CounterMetricFamily(f"omega_venue_{name}", text, labels=["venue"])
        for name, text in (
            ("messages", "Messages from a venue."),
            ("gaps", "Gaps in a venue's sequence."),
            ("reconnects", "Times a venue's connection was made anew."),
            ("refused", "Messages from a venue that could not be used."),
        )
    }
    for source in sources:
        for name in _SOURCE_STATES:
            state.add_metric([source.venue, name], int(source.state == name))
        if source.age_ms is not None:
            age.add_metric([source.venue], source.age_ms / 1000)
        for name, family in counters.items():
            family.add_metric([source.venue], getattr(source, name))
    yield state
    yield age
    yield from counters.values()


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, value: int) -> Metric:
    return CounterMetricFamily(name, text, value=value)


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _counters(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([str(key)], value)
    return family


def _histogram(name: str, text: str, reading: HistogramReading) -> Metric:
    return HistogramMetricFamily(name, text, buckets=_buckets(reading), sum_value=reading.total)


def _buckets(reading: HistogramReading) -> list[tuple[str, float]]:
    """Prometheus buckets are cumulative and end with ``+Inf``."""
    found: list[tuple[str, float]] = []
    seen = 0
    for bound, count in zip((*reading.bounds, float("inf")), reading.counts, strict=True):
        seen += count
        found.append(("+Inf" if bound == float("inf") else repr(bound), seen))
    return found
