"""OpenTelemetry traces of a price's way, one price in so many; an extra (``omega-btc-ai[otel]``).

Nothing about a trace is on the wire. Which prices are traced, and the ids of their traces, follow from the
price's own ``epoch`` and ``seq``, so that the process that publishes it and every process that sends it to
clients add their spans to the same trace without a word between them:

``price``      from the venue's frame (or the publication) to the broker's answer: the process that publishes
``  take_in``  from the venue's frame to the publication: the parser, the index
``  broker``   from the publication to its return from the broker
``  write``    from there to the last write on clients' sockets: each process that has clients

Where traces go is said by the standard's environment: ``OTEL_EXPORTER_OTLP_ENDPOINT`` and so on.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from omega_ai import __version__
from omega_ai.core.clock import Clock
from omega_ai.core.timestamps import parse_utc
from omega_ai.data_feed.broker.base import Publication
from omega_ai.data_feed.websocket.venue_delivery import received_at

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

CHANNEL = "btc_price"
CLOSE_SECONDS = 3.0
"""So long the last spans may take to leave when the feed stops."""

_PUBLISHED = b'"timestamp":"'


class TracesUnavailable(ValueError):
    """What is needed for traces is not installed; the text says how to get it."""


class TraceIds(NamedTuple):
    """The ids of a price's trace and of its root span, the same in every process."""

    trace: int
    root: int


def ids_of(epoch: str, seq: int) -> TraceIds:
    """See the module's text. Never 0, which OpenTelemetry takes for none."""
    digest = hashlib.sha256(f"{CHANNEL}/{epoch}/{seq}".encode()).digest()
    return TraceIds(int.from_bytes(digest[:16]) or 1, int.from_bytes(digest[16:24]) or 1)


class PriceTraces:
    """Told by the hub of each price that is traced (``arrived``), and of the end of its turn (``written``).

    Args:
        provider: of OpenTelemetry's SDK, made with ``ids``.
        ids: gives the root span the ids of its price.
        every: one price in so many is traced.
        publishes: this process publishes prices, so it tells of the root.
        serves: it has clients of its own.
    """

    def __init__(
        self, provider: TracerProvider, ids: _Ids, *, clock: Clock, every: int, publishes: bool, serves: bool
    ) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("omega_ai", __version__)
        self._ids = ids
        self._clock = clock
        self._publishes = publishes
        self._serves = serves
        self._waiting: tuple[Publication, int] | None = None
        self.every = every

    def arrived(self, publication: Publication, market: bytes | None) -> None:
        """A price came from the broker; ``market`` is the trade or quote of the same turn, if any."""
        now = self._clock.time_ns()
        if self._publishes:
            self._tell_of_the_way_in(publication, market, now)
        if self._serves:
            self._waiting = publication, now

    def written(self) -> None:
        """What arrived in this turn is on its way to all clients."""
        if self._waiting is not None:
            (publication, arrived), self._waiting = self._waiting, None
            self._span("write", publication, arrived, self._clock.time_ns())

    def _tell_of_the_way_in(self, publication: Publication, market: bytes | None, now: int) -> None:
        published = _published_at(publication.message)
        if published is None:
            return
        received = None if market is None else received_at(market)
        begin = published if received is None or received > published else received
        ids = ids_of(publication.epoch, publication.seq)
        self._ids.next = ids
        root = self._tracer.start_span(
            "price", context=_no_context(), start_time=begin, attributes=_attributes(publication)
        )
        self._ids.next = None
        root.end(max(now, begin))
        if begin < published:
            self._span("take_in", publication, begin, published)
        self._span("broker", publication, published, max(now, published))

    def _span(self, name: str, publication: Publication, begin: int, end: int) -> None:
        context = _child_of(ids_of(publication.epoch, publication.seq))
        attributes = _attributes(publication)
        self._tracer.start_span(name, context=context, start_time=begin, attributes=attributes).end(end)

    async def close(self) -> None:
        """Send what waits, within a bound of time; the rest is lost."""
        # Its exporter tries again and again where nobody listens, and not on the event loop.
        closing = asyncio.get_running_loop().run_in_executor(None, self._provider.shutdown)
        await asyncio.wait([closing], timeout=CLOSE_SECONDS)


def open_traces(
    every: int, *, clock: Clock, publishes: bool, serves: bool, exporter: SpanExporter | None = None
) -> PriceTraces:
    """Begin to trace one price in ``every``; by default to where the environment says.

    Raises:
        TracesUnavailable: OpenTelemetry is not installed.
    """
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        if exporter is None:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            exporter = OTLPSpanExporter()
    except ImportError:
        raise TracesUnavailable(
            "--trace-every needs OpenTelemetry: pip install 'omega-btc-ai[otel]'"
        ) from None
    resource = Resource.create(
        {
            "service.name": os.environ.get("OTEL_SERVICE_NAME", "omega-feed"),
            "service.version": __version__,
            "process.pid": os.getpid(),
        }
    )
    ids = _Ids()
    provider = TracerProvider(resource=resource, id_generator=_generator(ids), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return PriceTraces(provider, ids, clock=clock, every=every, publishes=publishes, serves=serves)


class _Ids:
    """What the next root span is to be called."""

    next: TraceIds | None = None


def _generator(ids: _Ids) -> Any:
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class Generator(RandomIdGenerator):
        def generate_trace_id(self) -> int:
            return super().generate_trace_id() if ids.next is None else ids.next.trace

        def generate_span_id(self) -> int:
            return super().generate_span_id() if ids.next is None else ids.next.root

    return Generator()


def _no_context() -> Any:
    from opentelemetry.context import Context

    return Context()


def _child_of(ids: TraceIds) -> Any:
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    parent = SpanContext(ids.trace, ids.root, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return set_span_in_context(NonRecordingSpan(parent), _no_context())


def _attributes(publication: Publication) -> dict[str, str | int]:
    return {"omega.channel": CHANNEL, "omega.epoch": publication.epoch, "omega.seq": publication.seq}


def _published_at(message: bytes) -> int | None:
    start = message.find(_PUBLISHED)
    if start < 0:
        return None
    start += len(_PUBLISHED)
    try:
        return parse_utc(message[start : message.find(b'"', start)].decode())
    except ValueError:
        return None
