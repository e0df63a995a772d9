"""Traces of a price's way; with OpenTelemetry where it is installed (``omega-btc-ai[otel]``)."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest
from aiohttp import web

from omega_ai.core.clock import ManualClock
from omega_ai.core.timestamps import format_utc
from omega_ai.data_feed.observability.tracing import TracesUnavailable, ids_of, open_traces
from omega_ai.data_feed.settings import SettingsError
from omega_ai.tests.feed_server import FeedThread, quiet_settings
from omega_ai.tests.unit.data.websocket.conversation import World


def test_every_process_finds_the_same_ids_for_a_price_and_others_for_another() -> None:
    """So nothing about a trace has to be on the wire; sizes are those of the W3C's trace context."""
    assert ids_of("k3zq7m2p", 7) == ids_of("k3zq7m2p", 7)
    many = {ids_of(epoch, seq) for epoch in ("a", "b") for seq in range(1000)}
    assert len({ids.trace for ids in many}) == len({ids.root for ids in many}) == 2000
    assert all(0 < ids.trace < 1 << 128 and 0 < ids.root < 1 << 64 for ids in many)


def test_without_opentelemetry_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a feed that traces nothing does not look for it."""
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(TracesUnavailable, match=r"omega-btc-ai\[otel\]"):
        open_traces(1, clock=ManualClock(), publishes=True, serves=True)
    with pytest.raises(SettingsError, match="--trace-every needs OpenTelemetry"):
        FeedThread(quiet_settings(trace_every=1)).__enter__()
    with FeedThread(quiet_settings()):
        pass


class Traced:
    """A hub in this process, and the spans that it gave."""

    def __init__(self, every: int, *, publishes: bool = True, serves: bool = True) -> None:
        memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
        self.exporter = memory.InMemorySpanExporter()
        self.world = World()
        self.traces = open_traces(
            every, clock=self.world.clock, publishes=publishes, serves=serves, exporter=self.exporter
        )
        self.world.hub.trace(self.traces)

    def price(self) -> None:
        """A trade came in 2 ms ago, the price was published 1 ms ago, and is written a millisecond later."""
        clock = self.world.clock
        received = clock.time_ns()
        clock.advance(0.001)
        published = clock.time_ns()
        clock.advance(0.001)
        at = format_utc(received).encode()
        self.world.publish("trades", b'{"type":"trades","received_at":"%b"}' % at)
        body = b'{"type":"btc_price","timestamp":"%b"}' % format_utc(published).encode()
        self.world.publish("btc_price", body)
        clock.advance(0.0005)
        self.world.scheduler.run()

    async def spans(self) -> list[Any]:
        await self.traces.close()
        return list(self.exporter.get_finished_spans())


async def test_one_price_in_so_many_is_a_trace_from_the_venues_frame_to_the_write() -> None:
    """Root and children fit together, with their times."""
    traced = Traced(every=5)
    traced.world.client()
    for _ in range(12):
        traced.price()
    spans = await traced.spans()
    assert sorted({span.attributes["omega.seq"] for span in spans}) == [5, 10]
    tenth = {span.name: span for span in spans if span.attributes["omega.seq"] == 10}
    assert set(tenth) == {"price", "take_in", "broker", "write"}
    ids = ids_of(traced.world.epoch, 10)
    root = tenth.pop("price")
    assert (root.context.trace_id, root.context.span_id) == ids
    assert root.parent is None
    assert [(span.context.trace_id, span.parent.span_id) for span in tenth.values()] == [tuple(ids)] * 3
    lengths = {name: round((span.end_time - span.start_time) / 1e6, 2) for name, span in tenth.items()}
    assert lengths == {"take_in": 1.0, "broker": 1.0, "write": 0.5}
    assert tenth["take_in"].end_time == tenth["broker"].start_time
    assert tenth["broker"].end_time == tenth["write"].start_time == root.end_time


async def test_a_process_tells_only_of_its_own_part() -> None:
    """A worker of the write, a main process of the way in; without clients nothing is written."""
    worker = Traced(every=1, publishes=False)
    worker.world.client()
    worker.price()
    assert [span.name for span in await worker.spans()] == ["write"]
    main = Traced(every=1, serves=False)
    main.price()
    assert [span.name for span in await main.spans()] == ["price", "take_in", "broker"]
    idle = Traced(every=1, publishes=False)
    idle.price()
    assert await idle.spans() == []


async def test_spans_of_a_real_feed_arrive_at_a_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over OTLP and HTTP, to where the standard's environment says."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    decode = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    received: asyncio.Queue[bytes] = asyncio.Queue()

    async def take(request: web.Request) -> web.Response:
        await received.put(await request.read())
        return web.Response()

    collector = web.Application()
    collector.router.add_post("/v1/traces", take)
    runner = web.AppRunner(collector)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{runner.addresses[0][1]}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    feed = FeedThread(quiet_settings(source="simulated", trace_every=1, price_interval_ms=100))
    await asyncio.to_thread(feed.__enter__)
    await asyncio.sleep(0.5)
    await asyncio.to_thread(feed.__exit__, None, None, None)
    async with asyncio.timeout(20):
        request = decode.ExportTraceServiceRequest.FromString(await received.get())
    await runner.cleanup()
    (resource,) = request.resource_spans
    names = {span.name for scope in resource.scope_spans for span in scope.spans}
    assert {"price", "broker"} <= names
    facts = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
    assert facts["service.name"] == "omega-feed"
