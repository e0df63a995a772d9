"""What the HTTP side is shown of a running feed; see ``http.view.FeedView``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from omega_ai.data_feed.broker.base import Broker, History, Position
from omega_ai.data_feed.http.view import Check, LatestPrice
from omega_ai.data_feed.observability.snapshot import DELIVERY, BrokerFigures, Snapshot
from omega_ai.data_feed.pipeline import Pipeline
from omega_ai.data_feed.sources.base import Source
from omega_ai.data_feed.websocket.hub import Hub
from omega_ai.data_feed.websocket.server import FeedServer
from omega_ai.data_feed.websocket.tls import ReloadableContext

if TYPE_CHECKING:
    from omega_ai.data_feed.feed import Feed


class View:
    """Reads the feed's parts; changes none."""

    def __init__(
        self,
        feed: Feed,
        broker: Broker,
        hub: Hub,
        server: FeedServer,
        pipeline: Pipeline,
        source: Source | None,
        tls: ReloadableContext | None,
        *,
        port: int,
        tls_port: int | None,
    ) -> None:
        self._settings = feed.settings
        self._clock = feed.clock
        self._broker = broker
        self._hub = hub
        self._server = server
        self._pipeline = pipeline
        self._source = source
        self._tls = tls
        self._port = port
        self._tls_port = tls_port
        self._started = feed.clock.monotonic()

    def readiness(self) -> Sequence[Check]:
        """See ``FeedView``."""
        status = self._broker.status()
        checks = [Check("broker", status.connected, status.detail)]
        if self._source is None:
            checks.append(Check("source", ok=True, detail="none: clients publish"))
        else:
            checks.append(self._source_check(self._source))
        return checks

    def _source_check(self, source: Source) -> Check:
        statuses = self._pipeline.statuses()
        live = [status.venue for status in statuses if status.state == "live"]
        if live:
            return Check("source", ok=True, detail=f"{source.name}: {', '.join(sorted(live))}")
        if source.simulated:
            # A recording that is over is no fault of the server.
            return Check("source", ok=True, detail=f"{source.name}: nothing more to play")
        why = "; ".join(f"{s.venue}: {s.detail or s.state}" for s in statuses) or "no venue has answered yet"
        return Check("source", ok=False, detail=f"no venue can be reached ({why}); see the status channel")

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
        """See ``FeedView``."""
        server, sent, stats = self._server, self._hub.stats, self._server.stats
        status = self._broker.status()
        now = self._clock.monotonic()
        price_at, price_state = self._pipeline.price_at, self._pipeline.price_state
        return Snapshot(
            now_ns=self._clock.time_ns(),
            uptime=now - self._started,
            connections=server.connections_by_transport(),
            max_connections=self._settings.max_connections,
            handshakes=dict(stats.handshakes),
            refusals={str(code): count for code, count in stats.refused.items()},
            messages_received=stats.messages_in,
            messages_sent=sent.deliveries,
            bytes_received=stats.bytes_in,
            bytes_sent=sent.bytes,
            published=dict(self._pipeline.published),
            outbox_bytes=server.outbox_bytes(),
            conflated=sent.conflated,
            closes=dict(stats.closes),
            errors=dict(server.context.errors),
            resumes=dict(server.context.resumes),
            broker=BrokerFigures(connected=status.connected, detail=status.detail, buffered=status.buffered),
            sources=self._pipeline.statuses(),
            price_state=price_state,
            price_age=None if price_at is None else now - price_at,
            latencies={DELIVERY: sent.delivery.read()},
            certificate_left=self._certificate_left(),
        )

    def _certificate_left(self) -> float | None:
        if self._tls is None:
            return None
        now = datetime.fromtimestamp(self._clock.time_ns() / 1e9, tz=UTC)
        return (self._tls.info(now).not_after - now).total_seconds()

    def websocket_urls(self) -> Sequence[str]:
        """See ``FeedView``."""
        host = self._settings.host
        shown = f"[{host}]" if ":" in host else host
        urls = [f"ws://{shown}:{self._port}"]
        if self._tls_port is not None:
            urls.append(f"wss://{'localhost' if self._settings.loopback_only else shown}:{self._tls_port}")
        return urls

    def asyncapi(self) -> bytes | None:
        """See ``FeedView``."""
        return None
