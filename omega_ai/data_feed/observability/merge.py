"""One reading for several processes: totals add up, what one process alone has is taken from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from msgspec import structs

from omega_ai.data_feed.observability.histogram import HistogramReading, merge_readings
from omega_ai.data_feed.observability.snapshot import BrokerFigures, Snapshot

_K = TypeVar("_K", str, int)


def merge_snapshots(own: Snapshot, workers: Sequence[Snapshot]) -> Snapshot:
    """``own`` (the process with source, broker and price) and its workers, as one."""
    if not workers:
        return own
    everyone = [own, *workers]
    return structs.replace(
        own,
        connections=_sum(s.connections for s in everyone),
        handshakes=_sum(s.handshakes for s in everyone),
        refusals=_sum(s.refusals for s in everyone),
        messages_received=sum(s.messages_received for s in everyone),
        messages_sent=sum(s.messages_sent for s in everyone),
        bytes_received=sum(s.bytes_received for s in everyone),
        bytes_sent=sum(s.bytes_sent for s in everyone),
        published=_sum(s.published for s in everyone),
        publish_refused=sum(s.publish_refused for s in everyone),
        outbox_bytes=sum(s.outbox_bytes for s in everyone),
        conflated=sum(s.conflated for s in everyone),
        closes=_sum(s.closes for s in everyone),
        errors=_sum(s.errors for s in everyone),
        resumes=_sum(s.resumes for s in everyone),
        replays_active=sum(s.replays_active for s in everyone),
        replays=_sum(s.replays for s in everyone),
        backlog_bytes=sum(s.backlog_bytes for s in everyone),
        history_requests=sum(s.history_requests for s in everyone),
        history_reads=sum(s.history_reads for s in everyone),
        inlet_waiting=sum(s.inlet_waiting for s in everyone),
        inlet_deferred=sum(s.inlet_deferred for s in everyone),
        broker=_broker([s.broker for s in everyone]),
        latencies=_latencies(everyone),
        loop_lag=merge_readings([s.loop_lag for s in everyone if s.loop_lag is not None]),
    )


def _sum(counts: Iterable[Mapping[_K, int]]) -> dict[_K, int]:
    total: dict[_K, int] = {}
    for mapping in counts:
        for key, value in mapping.items():
            total[key] = total.get(key, 0) + value
    return total


def _broker(figures: Sequence[BrokerFigures]) -> BrokerFigures:
    """Each process has its own connection: one that has lost it speaks for all."""
    spokesman = next((each for each in figures if not each.connected), figures[0])
    return structs.replace(
        spokesman,
        buffered=sum(each.buffered for each in figures),
        reconnects=sum(each.reconnects for each in figures),
    )


def _latencies(snapshots: Sequence[Snapshot]) -> dict[str, HistogramReading]:
    stages = dict.fromkeys(stage for snapshot in snapshots for stage in snapshot.latencies)
    merged = {
        stage: merge_readings([s.latencies[stage] for s in snapshots if stage in s.latencies])
        for stage in stages
    }
    return {stage: reading for stage, reading in merged.items() if reading is not None}
