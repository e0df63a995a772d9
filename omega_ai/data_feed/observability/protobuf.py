"""Metrics in Prometheus' protobuf format: the only one in which a scraper takes native histograms.

Written by hand, since prometheus-client has no such encoder and the five message types that are needed are a
page. Fields and numbers: ``io/prometheus/client/metrics.proto`` of github.com/prometheus/client_model; native
histograms: prometheus.io/docs/specs/native_histograms.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from prometheus_client.core import Metric
from prometheus_client.samples import Sample

from omega_ai.data_feed.observability.families import HistogramFamily
from omega_ai.data_feed.observability.histogram import HistogramReading, native_buckets

CONTENT_TYPE = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"

_COUNTER, _GAUGE, _UNTYPED, _HISTOGRAM = 0, 1, 3, 4
_TYPES = {"counter": _COUNTER, "gauge": _GAUGE}

_VARINT, _FIXED64, _BYTES = 0, 1, 2


def accepts_protobuf(accept: str) -> bool:
    """Whether a scraper with this ``Accept`` header wants protobuf at least as much as anything else."""
    ours, others = 0.0, 0.0
    for entry in accept.split(","):
        name, *parameters = (part.strip().lower() for part in entry.split(";"))
        given = dict(part.partition("=")[::2] for part in parameters)
        try:
            quality = float(given.get("q", "1"))
        except ValueError:
            continue
        if name != "application/vnd.google.protobuf":
            others = max(others, quality)
        elif (
            given.get("proto") == "io.prometheus.client.metricfamily" and given.get("encoding") == "delimited"
        ):
            ours = max(ours, quality)
    return ours > 0.0 and ours >= others


def encode_families(families: Iterable[Metric]) -> bytes:
    """Each family with its length before it."""
    return b"".join(_delimited(_family(family)) for family in families)


def _family(family: Metric) -> bytes:
    if isinstance(family, HistogramFamily):
        metrics = [_labels(labels) + _bytes(7, _histogram(reading)) for labels, reading in family.readings]
        return _head(family.name, family.documentation, _HISTOGRAM, metrics)
    kind = _TYPES.get(family.type, _UNTYPED)
    # As in the text format, a counter's name ends in _total; when it was created is not told.
    name = f"{family.name}_total" if kind == _COUNTER else family.name
    field = {_COUNTER: 3, _GAUGE: 2, _UNTYPED: 5}[kind]
    metrics = [
        _labels(sample.labels or {}) + _bytes(field, _double(1, float(sample.value)))
        for sample in _of_name(family.samples, name)
    ]
    return _head(name, family.documentation, kind, metrics)


def _of_name(samples: Iterable[Sample], name: str) -> list[Sample]:
    return [sample for sample in samples if sample.name == name]


def _head(name: str, text: str, kind: int, metrics: Sequence[bytes]) -> bytes:
    return (
        _text(1, name) + _text(2, text) + _number(3, kind) + b"".join(_bytes(4, metric) for metric in metrics)
    )


def _labels(labels: dict[str, str]) -> bytes:
    return b"".join(_bytes(1, _text(1, name) + _text(2, value)) for name, value in labels.items())


def _histogram(reading: HistogramReading) -> bytes:
    """Classic buckets for scrapers that take no others, and native ones."""
    coarse = reading.coarse()
    parts = [_number(1, reading.count), _double(2, reading.total)]
    seen = 0
    for bound, count in zip((*coarse.bounds, float("inf")), coarse.counts, strict=True):
        seen += count
        parts.append(_bytes(3, _number(1, seen) + _double(2, bound)))
    native = native_buckets(reading)
    parts += [_number(5, _zigzag(native.schema)), _double(6, native.zero_threshold)]
    parts.append(_number(7, native.zero_count))
    spans, deltas = _spans(native.counts)
    parts += [_bytes(12, span) for span in spans]
    # Without any span Prometheus would take it for a classic histogram.
    parts.append(_bytes(13, deltas) if deltas else _bytes(12, _number(1, 0) + _number(2, 0)))
    return b"".join(parts)


def _spans(counts: dict[int, int]) -> tuple[list[bytes], bytes]:
    """Runs of neighbouring buckets, and the counts as differences, each from the one before it."""
    spans: list[tuple[int, int]] = []
    deltas = b""
    end, before = 0, 0
    for index in sorted(counts):
        if spans and index == end:
            spans[-1] = spans[-1][0], spans[-1][1] + 1
        else:
            spans.append((index - end, 1))
        deltas += _varint(_zigzag(counts[index] - before))
        end, before = index + 1, counts[index]
    return [_number(1, _zigzag(offset)) + _number(2, length) for offset, length in spans], deltas


# The wire format of protobuf: protobuf.dev/programming-guides/encoding


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _zigzag(value: int) -> int:
    return value * 2 if value >= 0 else -value * 2 - 1


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(value)


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | _FIXED64) + struct.pack("<d", value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | _BYTES) + _delimited(value)


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _delimited(value: bytes) -> bytes:
    return _varint(len(value)) + value
