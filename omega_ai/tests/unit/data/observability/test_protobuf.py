"""Metrics in protobuf, with native histograms: read back by a small decoder, and by a real Prometheus."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from omega_ai.data_feed.http.app import make_app, start_http
from omega_ai.data_feed.observability.histogram import LatencyHistogram, native_buckets
from omega_ai.data_feed.observability.metrics import make_registry
from omega_ai.data_feed.observability.protobuf import (
    CONTENT_TYPE,
    _histogram,
    accepts_protobuf,
    encode_families,
)
from omega_ai.data_feed.observability.snapshot import DELIVERY
from omega_ai.tests.unit.data.http.fake_view import FakeView
from omega_ai.tests.unit.data.observability.snapshots import snapshot
from omega_ai.tests.unit.data.observability.test_metrics import ask, free_port

PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
PROMETHEUS_2 = f"{PROTOBUF},application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5"
OPENMETRICS = "application/openmetrics-text;version=1.0.0"
PROMETHEUS_3 = f"{OPENMETRICS};q=0.6,{PROTOBUF};q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"

# ------------------------------------------- a decoder that shares nothing with the encoder


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
            yield key >> 3, value
        elif key & 7 == 1:
            yield key >> 3, struct.unpack("<d", data[at : at + 8])[0]
            at += 8
        else:
            assert key & 7 == 2
            length, at = varint(data, at)
            yield key >> 3, data[at : at + length]
            at += length


def messages(data: bytes) -> Iterator[dict[int, list[Any]]]:
    at = 0
    while at < len(data):
        length, at = varint(data, at)
        yield gathered(data[at : at + length])
        at += length


def gathered(data: bytes) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for number, value in fields(data):
        found.setdefault(number, []).append(value)
    return found


def signed(value: int) -> int:
    return value >> 1 if value % 2 == 0 else -(value >> 1) - 1


def native(histogram: dict[int, list[Any]]) -> dict[int, int]:
    """The counts by index, from spans and deltas."""
    deltas: list[int] = []
    for packed in histogram.get(13, []):
        at = 0
        while at < len(packed):
            value, at = varint(packed, at)
            deltas.append(signed(value))
    counts: dict[int, int] = {}
    index = count = 0
    for span in histogram.get(12, []):
        parts = gathered(span)
        index += signed(parts[1][0])
        for _ in range(parts[2][0]):
            count += deltas.pop(0)
            counts[index] = count
            index += 1
    assert deltas == []
    return counts


def labels(metric: dict[int, list[Any]]) -> dict[str, str]:
    pairs = [gathered(pair) for pair in metric.get(1, [])]
    return {pair[1][0].decode(): pair[2][0].decode() for pair in pairs}


# ---------------------------------------------------------------- the tests


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        (PROTOBUF, True),
        (PROMETHEUS_2, True),
        (PROMETHEUS_3, False),
        (PROTOBUF + ";q=0", False),
        (PROTOBUF + ";q=x", False),
        ("application/vnd.google.protobuf", False),
        (PROTOBUF.replace("delimited", "text"), False),
        (PROTOBUF.upper(), True),
    ],
)
def test_protobuf_is_for_those_who_ask_for_it_first(accept: str, wanted: bool) -> None:
    """The delimited form of the known message, at no lower quality than another format."""
    assert accepts_protobuf(accept) == wanted


def test_every_sample_is_that_of_the_text_format() -> None:
    """Counters, gauges and classic buckets, with names and labels; nothing more, nothing less."""
    registry = make_registry(snapshot)
    text: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            text[sample.name, frozenset((sample.labels or {}).items())] = sample.value
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for message in messages(encode_families(registry.collect())):
        name, kind = message[1][0].decode(), message[3][0]
        assert message[2][0]
        for metric in map(gathered, message.get(4, [])):
            of = labels(metric)
            if kind == 4:
                histogram = gathered(metric[7][0])
                for bucket in map(gathered, histogram[3]):
                    bound = bucket[2][0]
                    le = "+Inf" if bound == math.inf else repr(bound)
                    found[f"{name}_bucket", frozenset((of | {"le": le}).items())] = bucket[1][0]
                found[f"{name}_count", frozenset(of.items())] = histogram[1][0]
                found[f"{name}_sum", frozenset(of.items())] = histogram[2][0]
            else:
                (value,) = gathered(metric[{0: 3, 1: 2}[kind]][0])[1]
                found[name, frozenset(of.items())] = value
    assert {key: value for key, value in found.items() if not key[0].startswith("python_gc")} == {
        key: value for key, value in text.items() if not key[0].startswith("python_gc")
    }


@given(st.lists(st.floats(0, 40), max_size=60))
def test_native_buckets_come_back_from_spans_and_differences(values: list[float]) -> None:
    """Also none at all, and those next to nothing."""
    histogram = LatencyHistogram()
    for value in values:
        histogram.record(value)
    expected = native_buckets(histogram.read())
    decoded = gathered(_histogram(histogram.read()))
    assert native(decoded) == expected.counts
    assert signed(decoded[5][0]) == expected.schema
    assert decoded[7][0] == expected.zero_count
    assert decoded[12], "without a span it would be no native histogram"
    assert decoded[1][0] == len(values) == sum(expected.counts.values()) + expected.zero_count


async def test_a_real_prometheus_takes_native_histograms(tmp_path: Path) -> None:
    """Quantiles from them are within a bucket of a fifth, where classic ones are within a factor of two."""
    prometheus = shutil.which("prometheus")
    if prometheus is None:
        pytest.skip("needs Prometheus: apt install prometheus")
    view = FakeView()
    latency = LatencyHistogram()
    latency.record(0.0032, 1000)
    view.reading = snapshot(latencies={DELIVERY: latency.read()})
    runner = await start_http(make_app(view), "127.0.0.1", 0)
    config = {
        "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"},
        "scrape_configs": [
            {"job_name": "omega", "static_configs": [{"targets": [f"127.0.0.1:{runner.port}"]}]}
        ],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        prometheus,
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=native-histograms",
        "--log.level=error",
    )
    try:
        async with aiohttp.ClientSession() as http:
            url = f"http://127.0.0.1:{runner.port}/metrics"
            async with http.get(url, headers={"Accept": PROMETHEUS_2}) as response:
                assert response.headers["Content-Type"] == CONTENT_TYPE
        stage = '{stage="publish_to_write"}'
        found = await ask(port, f"histogram_quantile(0.5, omega_latency_seconds{stage})")
        median = float(found[0]["value"][1])
        assert 0.0032 / 1.19 <= median <= 0.0032 * 1.19
        count = await ask(port, f"histogram_count(omega_latency_seconds{stage})")
        assert count[0]["value"][1] == "1000"
        assert (await ask(port, 'omega_connections{transport="ws"}'))[0]["value"][1] == "40"
        assert (await ask(port, "omega_messages_sent_total"))[0]["value"][1] == "123456"
    finally:
        process.terminate()
        await process.wait()
        await runner.close()
