"""The feed's figures for Prometheus, read at scrape time from a ``Snapshot``.

Nothing here is called per message. Names follow the Prometheus naming rules: prefix ``omega_``, base units,
``_total`` for counters. Labels take their values from fixed sets only, so a client cannot grow the series.
``docs/metrics.md`` says what each is for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar, get_args

from prometheus_client import CollectorRegistry, GCCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from omega_ai import __version__
from omega_ai.data_feed.market import PriceState, SourceState, SourceStatus
from omega_ai.data_feed.observability.families import HistogramFamily
from omega_ai.data_feed.observability.histogram import HistogramReading
from omega_ai.data_feed.observability.process import ProcessFigures
from omega_ai.data_feed.observability.snapshot import Snapshot, WorkerFigures
from omega_ai.data_feed.websocket.admission import Kind
from omega_ai.data_feed.websocket.backlog import Origin
from omega_ai.data_feed.websocket.close_codes import CloseCode
from omega_ai.data_feed.websocket.errors import ErrorCode

ReadSnapshot = Callable[[], Snapshot]

_PRICE_STATES: tuple[str, ...] = get_args(PriceState)
_SOURCE_STATES: tuple[str, ...] = get_args(SourceState)
# 1005 and 1006 never cross the wire; they stand for an empty close and for none at all (RFC 6455, 7.4.1).
_CODES = frozenset({*CloseCode, 1005, 1006})
# Series that are there from the start: a rate over one that appears with its first event misses that event.
_NO_CLOSES = {str(int(code)): 0 for code in sorted(_CODES)}
_NO_REFUSALS: dict[str, int] = dict.fromkeys((*get_args(Kind), "handshake"), 0)
_NO_ERRORS: dict[str, int] = dict.fromkeys(ErrorCode, 0)
_NO_REPLAYS: dict[str, int] = dict.fromkeys(get_args(Origin), 0)
_NO_TRANSPORTS = {"ws": 0, "wss": 0}


def make_registry(read: ReadSnapshot) -> CollectorRegistry:
    """A registry of its own for one feed: its figures, and the garbage collector's of this process."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(FeedCollector(read))
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
        yield from _feed(snapshot)
        if snapshot.process is not None:
            yield from _process(snapshot.process)
        yield from _workers(snapshot)
        yield from _connections(snapshot)
        yield from _past(snapshot)
        yield from _traffic(snapshot)
        yield from _latencies(snapshot)
        yield from _broker(snapshot)
        yield from _price(snapshot)
        yield from _venues(snapshot.sources)


def _process(figures: ProcessFigures) -> Iterator[Metric]:
    """The names that every client library uses. Not its own collector: that one lists all descriptors."""
    yield CounterMetricFamily(
        "process_cpu_seconds", "User and system CPU time spent.", value=figures.cpu_seconds
    )
    for name, text, value in (
        ("process_resident_memory_bytes", "Resident memory.", figures.resident_bytes),
        ("process_virtual_memory_bytes", "Virtual memory.", figures.virtual_bytes),
        ("process_open_fds", "Open file descriptors.", figures.open_fds),
        ("process_max_fds", "File descriptors that may be open.", figures.max_fds),
        ("process_start_time_seconds", "Start, since the Unix epoch.", figures.start_time),
    ):
        if value is not None:
            yield _gauge(name, text, value)


def _workers(snapshot: Snapshot) -> Iterator[Metric]:
    """Each worker by its place, so that one that stands still or has all the clients can be told."""
    workers = snapshot.workers
    if not workers:
        return
    up = GaugeMetricFamily(
        "omega_worker_up", "1 while a worker answers, 0 while it is away or stands still.", labels=["worker"]
    )
    clients = GaugeMetricFamily("omega_worker_connections", "Connections of a worker.", labels=["worker"])
    for worker in workers:
        up.add_metric([str(worker.place)], int(worker.running))
        clients.add_metric([str(worker.place)], worker.connections)
    yield up
    yield clients
    yield _of_workers(
        CounterMetricFamily(
            "omega_worker_cpu_seconds", "CPU time of the process that is this worker now.", labels=["worker"]
        ),
        workers,
        lambda figures: figures.cpu_seconds,
    )
    yield _of_workers(
        GaugeMetricFamily(
            "omega_worker_resident_memory_bytes", "Resident memory of a worker.", labels=["worker"]
        ),
        workers,
        lambda figures: figures.resident_bytes,
    )
    yield _of_workers(
        GaugeMetricFamily("omega_worker_open_fds", "Open file descriptors of a worker.", labels=["worker"]),
        workers,
        lambda figures: figures.open_fds,
    )
    yield _counter(
        "omega_worker_restarts", "Workers started anew because one had died.", snapshot.worker_restarts
    )


_Family = TypeVar("_Family", CounterMetricFamily, GaugeMetricFamily)


def _of_workers(
    family: _Family, workers: Sequence[WorkerFigures], part: Callable[[ProcessFigures], float | None]
) -> _Family:
    for worker in workers:
        value = None if worker.process is None else part(worker.process)
        if value is not None:
            family.add_metric([str(worker.place)], value)
    return family


def _feed(snapshot: Snapshot) -> Iterator[Metric]:
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
    open_now = _NO_TRANSPORTS | dict(snapshot.connections)
    yield _gauges("omega_connections", "WebSocket connections open now.", "transport", open_now)
    yield _gauge("omega_connections_max", "WebSocket connections allowed at once.", snapshot.max_connections)
    handshakes = _NO_TRANSPORTS | dict(snapshot.handshakes)
    yield _counters("omega_handshakes", "Upgrades that succeeded.", "transport", handshakes)
    refusals = _NO_REFUSALS | dict(snapshot.refusals)
    yield _counters("omega_handshake_refusals", "Upgrades refused before they began.", "reason", refusals)
    closes = dict(_NO_CLOSES)
    for code, count in snapshot.closes.items():
        label = str(int(code)) if code in _CODES else "other"  # peers may send any code from 3000 to 4999
        closes[label] = closes.get(label, 0) + count
    yield _counters("omega_closes", "Connections ended, by close code.", "code", closes)
    yield _counter(
        "omega_slow_closes",
        "Connections ended because the client read too slowly.",
        snapshot.closes.get(CloseCode.SLOW_CONSUMER, 0),
    )
    errors = _NO_ERRORS | dict(snapshot.errors)
    yield _counters("omega_client_errors", "Error messages sent to clients.", "code", errors)
    yield _counters(
        "omega_resumes",
        "Subscriptions from a position: recovered whole, or not.",
        "outcome",
        {"recovered": 0, "unrecovered": 0} | dict(snapshot.resumes),
    )


def _past(snapshot: Snapshot) -> Iterator[Metric]:
    """What those who come back cost, and whether what arrives has to wait."""
    yield _gauge(
        "omega_replays_active", "Clients that are being brought up to date.", snapshot.replays_active
    )
    yield _counters(
        "omega_replays",
        "Clients that began to be brought up to date, by where what they had missed came from.",
        "origin",
        _NO_REPLAYS | dict(snapshot.replays),
    )
    yield _gauge("omega_backlog_bytes", "Messages held for those who resume.", snapshot.backlog_bytes)
    yield _counter("omega_history_requests", "Looks back that clients asked for.", snapshot.history_requests)
    yield _counter("omega_history_reads", "Reads of the broker's history for them.", snapshot.history_reads)
    yield _gauge(
        "omega_inlet_waiting", "Connections whose messages wait for their turn.", snapshot.inlet_waiting
    )
    yield _counter(
        "omega_inlet_deferred",
        "Arrivals that waited for another turn of the event loop.",
        snapshot.inlet_deferred,
    )


def _traffic(snapshot: Snapshot) -> Iterator[Metric]:
    yield _counter("omega_messages_received", "Messages from clients.", snapshot.messages_received)
    yield _counter("omega_messages_sent", "Messages to clients.", snapshot.messages_sent)
    yield _counter("omega_received_bytes", "Payload from clients.", snapshot.bytes_received)
    yield _counter("omega_sent_bytes", "Payload to clients.", snapshot.bytes_sent)
    yield _counters(
        "omega_published_messages", "Messages handed to the broker.", "channel", snapshot.published
    )
    yield _counter(
        "omega_publish_refused_messages",
        "Messages that the broker, away for too long, did not take.",
        snapshot.publish_refused,
    )
    if snapshot.leading is not None:
        yield _gauge(
            "omega_leading", "1 while this process publishes, 0 while it stands by.", int(snapshot.leading)
        )
    yield _gauge("omega_outbox_bytes", "What waits to be sent, all clients together.", snapshot.outbox_bytes)
    yield _counter(
        "omega_conflated_messages",
        "Messages replaced by a newer one for clients in mode latest.",
        snapshot.conflated,
    )


def _latencies(snapshot: Snapshot) -> Iterator[Metric]:
    text = "How long each stage of a price's way took."
    family = HistogramFamily("omega_latency_seconds", text, ("stage",))
    for stage, reading in snapshot.latencies.items():
        family.add((stage,), reading)
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
    family = HistogramFamily(name, text)
    family.add((), reading)
    return family
