"""One reading for several processes: totals add up, what one process alone has is taken from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from msgspec import structs

from omega_ai.data_feed.observability.histogram import HistogramReading
from omega_ai.data_feed.observability.snapshot import Snapshot

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
        outbox_bytes=sum(s.outbox_bytes for s in everyone),
        conflated=sum(s.conflated for s in everyone),
        closes=_sum(s.closes for s in everyone),
        errors=_sum(s.errors for s in everyone),
        resumes=_sum(s.resumes for s in everyone),
        latencies=_latencies(everyone),
        loop_lag=_histograms([s.loop_lag for s in everyone if s.loop_lag is not None]),
    )


def _sum(counts: Iterable[Mapping[_K, int]]) -> dict[_K, int]:
    total: dict[_K, int] = {}
    for mapping in counts:
        for key, value in mapping.items():
            total[key] = total.get(key, 0) + value
    return total


def _latencies(snapshots: Sequence[Snapshot]) -> dict[str, HistogramReading]:
    stages = dict.fromkeys(stage for snapshot in snapshots for stage in snapshot.latencies)
    merged = {
        stage: _histograms([s.latencies[stage] for s in snapshots if stage in s.latencies])
        for stage in stages
    }
    return {stage: reading for stage, reading in merged.items() if reading is not None}


def _histograms(readings: Sequence[HistogramReading]) -> HistogramReading | None:
    """Buckets add up exactly; all histograms of a stage have the same bounds."""
    if not readings:
        return None
    counts = tuple(sum(column) for column in zip(*(r.counts for r in readings), strict=True))
    return HistogramReading(readings[0].bounds, counts, sum(r.total for r in readings))
