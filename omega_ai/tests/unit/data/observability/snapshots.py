"""Readings for tests."""

from __future__ import annotations

from typing import Any

from omega_ai.data_feed.market import SourceStatus
from omega_ai.data_feed.observability.histogram import LatencyHistogram
from omega_ai.data_feed.observability.process import ProcessFigures
from omega_ai.data_feed.observability.snapshot import (
    BROKER,
    DELIVERY,
    VENUE_DELIVERY,
    Snapshot,
    WorkerFigures,
)

NOW_NS = 1_767_225_600_000_000_000


def process(cpu: float) -> ProcessFigures:
    """A process that has used ``cpu`` seconds."""
    return ProcessFigures(
        cpu_seconds=cpu,
        resident_bytes=64_000_000,
        virtual_bytes=640_000_000,
        open_fds=44,
        max_fds=20_000,
        start_time=NOW_NS / 1e9 - 3600,
    )


def snapshot(**changes: Any) -> Snapshot:
    """A healthy process's reading with every part filled in, but for ``changes``."""
    latency = LatencyHistogram()
    latency.record(90e-6, 990)
    latency.record(0.004, 10)
    lag = LatencyHistogram()
    lag.record(0.0002, 100)
    fields: dict[str, Any] = {
        "now_ns": NOW_NS,
        "uptime": 3600.0,
        "connections": {"ws": 40, "wss": 2},
        "max_connections": 1000,
        "handshakes": {"ws": 100, "wss": 7},
        "refusals": {"origin": 3},
        "messages_received": 11,
        "messages_sent": 123_456,
        "bytes_received": 999,
        "bytes_sent": 45_678_901,
        "published": {"btc_price": 5000, "trades": 700},
        "outbox_bytes": 2048,
        "conflated": 17,
        "closes": {1000: 50, 1001: 2, 4008: 3, 3123: 1, 4999: 1},
        "errors": {"invalid_json": 4},
        "resumes": {"recovered": 9, "unrecovered": 1},
        "replays_active": 4,
        "replays": {"tail": 8, "shared": 21},
        "backlog_bytes": 70_000,
        "history_requests": 30,
        "history_reads": 3,
        "inlet_waiting": 12,
        "inlet_deferred": 500,
        "sources": [
            SourceStatus("coinbase", "live", 40, 9000, 0, 1),
            SourceStatus("kraken", "live", 90, 4000, 2, 3, refused=5),
        ],
        "price_state": "live",
        "price_age": 0.25,
        "latencies": {stage: latency.read() for stage in (DELIVERY, VENUE_DELIVERY, BROKER)},
        "loop_lag": lag.read(),
        "process": process(cpu=12.5),
        "workers": [
            WorkerFigures(place=0, running=True, connections=30, process=process(cpu=40.0)),
            WorkerFigures(place=1, running=True, connections=12),
        ],
        "worker_restarts": 2,
        "publish_refused": 6,
        "leading": True,
        "certificate_left": 90 * 86_400.0,
    }
    return Snapshot(**(fields | changes))
