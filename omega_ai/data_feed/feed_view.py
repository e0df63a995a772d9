"""What the HTTP side is shown of a running feed; see ``http.view.FeedView``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import Struct, structs

from omega_ai import __version__
from omega_ai.data_feed.access import utc
from omega_ai.data_feed.broker.base import Broker, History, Position
from omega_ai.data_feed.fallback import Fallback
from omega_ai.data_feed.history_reader import HistoryReader
from omega_ai.data_feed.http.view import Check, LatestPrice
from omega_ai.data_feed.lease import RedundantPublisher
from omega_ai.data_feed.market import PriceState
from omega_ai.data_feed.observability.loop_lag import LoopLag
from omega_ai.data_feed.observability.merge import merge_snapshots
from omega_ai.data_feed.observability.process import read_process
from omega_ai.data_feed.observability.snapshot import (
    BROKER,
    DELIVERY,
    VENUE_DELIVERY,
    BrokerFigures,
    Snapshot,
)
from omega_ai.data_feed.pipeline import Pipeline
from omega_ai.data_feed.publishing import Publishing
from omega_ai.data_feed.settings import FeedSettings
from omega_ai.data_feed.sources.base import Source
from omega_ai.data_feed.websocket.asyncapi import encode_document
from omega_ai.data_feed.websocket.hub import Hub
from omega_ai.data_feed.websocket.server import FeedServer
from omega_ai.data_feed.websocket.tls import ReloadableContext
from omega_ai.data_feed.workers import WorkerPool

if TYPE_CHECKING:
    from omega_ai.data_feed.feed import Feed


class Parts(NamedTuple):
    """What is looked at. ``server`` and ``pool`` exclude each other; the role ``ingest`` has neither."""

    broker: Broker
    hub: Hub
    reader: HistoryReader
    pipeline: Pipeline
    fallback: Fallback | None
    source: Source | None
    tls: ReloadableContext | None
    lag: LoopLag
    server: FeedServer | None
    pool: WorkerPool | None
    publishing: Publishing
    leader: RedundantPublisher | None


class _State(Struct):
    """What is read of a ``btc_price`` message."""

    state: PriceState


_decode_state = msgspec.json.Decoder(_State).decode


class View:
    """Reads the feed's parts; changes none."""

    def __init__(self, feed: Feed, parts: Parts, port: int | None, tls_port: int | None) -> None:
        self._feed = feed
        self._clock = feed.clock
        self._parts = parts
        self._broker = parts.broker
        self._hub = parts.hub
        self._pipeline = parts.pipeline
        self._source = parts.source
        self._tls = parts.tls
        self._port = port
        self._tls_port = tls_port
        self._asyncapi: bytes | None = None
        self._started = feed.clock.monotonic()

    @property
    def _settings(self) -> FeedSettings:
        return self._feed.settings  # they may change

    def readiness(self) -> Sequence[Check]:
        """See ``FeedView``."""
        status = self._broker.status()
        checks = [Check("broker", status.connected, status.detail)]
        if self._source is None:
            detail = "taken in elsewhere" if self._settings.role == "edge" else "none: clients publish"
            checks.append(Check("source", ok=True, detail=detail))
        else:
            checks.append(self._source_check(self._source))
        if self._feed.draining:
            checks.append(Check("draining", ok=False, detail="clients are sent away: this process will stop"))
        pool = self._parts.pool
        if pool is not None:
            running = sum(worker.running for worker in pool.figures())
            detail = f"{running} of {pool.count} running"
            checks.append(Check("workers", ok=running > 0, detail=detail))
        return checks

    def _source_check(self, source: Source) -> Check:
        fallback = self._parts.fallback
        simulating = fallback is not None and fallback.active
        statuses = self._pipeline.statuses()
        live = [status.venue for status in statuses if status.state == "live"]
        if live:
            return Check("source", ok=True, detail=f"{source.name}: {', '.join(sorted(live))}")
        if source.simulated:
            # A recording that is over is no fault of the server.
            return Check("source", ok=True, detail=f"{source.name}: nothing more to play")
        why = "; ".join(f"{s.venue}: {s.detail or s.state}" for s in statuses) or "no venue has answered yet"
        now = "prices are simulated meanwhile" if simulating else "still trying"
        return Check("source", ok=False, detail=f"no venue can be reached, {now} ({why})")

    def latest_price(self) -> LatestPrice | None:
        """See ``FeedView``."""
        message = self._hub.newest_message("btc_price")
        if message is None:
            return None
        return LatestPrice(message, self._hub.age("btc_price"))

    async def history(self, channel: str, since: Position | None, limit: int | None) -> History:
        """See ``FeedView``."""
        return await self._broker.history(channel, since, limit)

    def snapshot(self) -> Snapshot:
        """See ``FeedView``; with workers, of all processes together."""
        pool = self._parts.pool
        own = self._own_snapshot()
        if pool is None:
            return own
        merged = merge_snapshots(own, pool.snapshots())
        return structs.replace(merged, workers=pool.figures(), worker_restarts=pool.restarts)

    def now_ns(self) -> int:
        """See ``FeedView``."""
        return self._clock.time_ns()

    def uptime(self) -> float:
        """See ``FeedView``."""
        return self._clock.monotonic() - self._started

    def _own_snapshot(self) -> Snapshot:
        status = self._broker.status()
        publishing, leader = self._parts.publishing, self._parts.leader
        now = self._clock.monotonic()
        fallback = self._parts.fallback
        simulating = fallback is not None and fallback.active
        pipeline = fallback.pipeline if fallback is not None and fallback.active else self._pipeline
        price_at = pipeline.price_at
        state, age = self._price_from_elsewhere() if price_at is None else (None, None)
        snapshot = Snapshot(
            now_ns=self.now_ns(),
            uptime=self.uptime(),
            max_connections=self._settings.max_connections,
            published=dict(publishing.published),
            publish_refused=publishing.refused,
            leading=None if leader is None else leader.leading,
            broker=BrokerFigures(
                connected=status.connected,
                detail=status.detail,
                buffered=status.buffered,
                reconnects=status.reconnects,
            ),
            sources=[*self._pipeline.statuses(), *(pipeline.statuses() if simulating else [])],
            price_state=pipeline.price_state or state,
            price_age=age if price_at is None else now - price_at,
            certificate_left=self._certificate_left(),
            latencies={} if status.latency is None else {BROKER: status.latency},
            loop_lag=self._parts.lag.read(),
            process=read_process(),
        )
        server = self._parts.server
        if server is None:
            return snapshot
        sent, stats = self._hub.stats, server.stats
        return structs.replace(
            snapshot,
            connections=server.connections_by_transport(),
            handshakes=dict(stats.handshakes),
            refusals=Counter(stats.refusals) + Counter(server.gate.refusals),
            messages_received=stats.messages_in,
            messages_sent=sent.deliveries,
            bytes_received=stats.bytes_in,
            bytes_sent=sent.bytes,
            outbox_bytes=server.outbox_bytes(),
            conflated=sent.conflated,
            closes=dict(stats.closes),
            errors=dict(server.context.errors),
            resumes=dict(server.context.resumes),
            replays_active=len(self._hub.replays),
            replays=dict(self._hub.replays.begun),
            backlog_bytes=self._hub.backlog_bytes,
            history_requests=self._parts.reader.requests,
            history_reads=self._parts.reader.reads,
            inlet_waiting=len(server.inlet),
            inlet_deferred=server.inlet.deferred,
            latencies={
                DELIVERY: sent.delivery.read(),
                VENUE_DELIVERY: self._hub.venue_delivery,
                **snapshot.latencies,
            },
        )

    def _price_from_elsewhere(self) -> tuple[PriceState | None, float | None]:
        """State and age of a price that another process or a client published; of an edge, its only one."""
        latest = self.latest_price()
        if latest is None:
            return None, None
        return _decode_state(latest.message).state, None if math.isinf(latest.age) else latest.age

    def _certificate_left(self) -> float | None:
        if self._tls is None:
            return None
        now = utc(self._clock)
        return (self._tls.info(now).not_after - now).total_seconds()

    def websocket_url(self, port: int | None, *, secure: bool = False) -> str | None:
        """Where clients connect; the development certificate names ``localhost``."""
        if port is None:
            return None
        host = self._settings.host
        shown = f"[{host}]" if ":" in host else host
        if secure:
            return f"wss://{'localhost' if self._settings.loopback_only else shown}:{port}"
        return f"ws://{shown}:{port}"

    def websocket_urls(self) -> Sequence[str]:
        """See ``FeedView``."""
        if self._settings.public_urls:
            return self._settings.public_urls
        urls = self.websocket_url(self._port), self.websocket_url(self._tls_port, secure=True)
        return [url for url in urls if url is not None]

    def asyncapi(self) -> bytes | None:
        """See ``FeedView``. Made once: it does not change while we run."""
        if self._asyncapi is None:
            urls = {url.partition("://")[0]: url for url in self.websocket_urls()}
            names = {"ws": "plain", "wss": "secure"}
            servers = {names[scheme]: url for scheme, url in urls.items()}
            self._asyncapi = encode_document(version=__version__, servers=servers)
        return self._asyncapi
