"""A whole feed: source, price, broker, hub, WebSocket server or workers, and the HTTP side; put together and
taken apart in the right order.
"""

from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog
from msgspec import structs

from omega_ai.core.clock import Clock
from omega_ai.core.scheduler import LoopScheduler
from omega_ai.core.websocket.ring import open_ring
from omega_ai.data_feed.access import Certificate, Context, Gate, certificate, token_keys, utc
from omega_ai.data_feed.broker import open_broker
from omega_ai.data_feed.broker.base import Broker, LeasedBroker
from omega_ai.data_feed.fallback import Fallback
from omega_ai.data_feed.feed_view import Parts, View
from omega_ai.data_feed.history_reader import HistoryReader
from omega_ai.data_feed.lease import RedundantPublisher
from omega_ai.data_feed.observability.alert_sinks import AlertMonitor, open_sinks
from omega_ai.data_feed.observability.logs import set_level
from omega_ai.data_feed.observability.loop_lag import LoopLag
from omega_ai.data_feed.observability.snapshot import Snapshot
from omega_ai.data_feed.pipeline import Pipeline, Publish
from omega_ai.data_feed.price_index import PriceIndex, PublishPolicy
from omega_ai.data_feed.publishing import Publishing
from omega_ai.data_feed.settings import RELOADABLE, FeedSettings, SettingsError, changed
from omega_ai.data_feed.sources import open_source
from omega_ai.data_feed.sources.base import Source, SourceError
from omega_ai.data_feed.websocket.auth import Authenticator
from omega_ai.data_feed.websocket.close_codes import CloseCode
from omega_ai.data_feed.websocket.development_certificate import CertificatePaths
from omega_ai.data_feed.websocket.hub import TAIL_MESSAGES, Hub
from omega_ai.data_feed.websocket.messages import PUBLISHED_CHANNELS
from omega_ai.data_feed.websocket.server import FeedServer, PortBusy, ServerSettings, bind
from omega_ai.data_feed.workers import WorkerPool

if TYPE_CHECKING:
    from omega_ai.data_feed.http.app import Runner

_log = structlog.get_logger(__name__)


class Endpoints(NamedTuple):
    """What listens where, once it does. ``ws`` is None in the role ``ingest``."""

    ws: str | None
    wss: str | None
    http: str | None
    certificate: CertificatePaths | None
    source: str
    broker: str


class Reconfigured(NamedTuple):
    """What new settings came to, by the settings' names."""

    applied: dict[str, Any]
    """Those that hold now, with their values."""
    restart: list[str]
    """Those that differ from what runs, and will until a restart."""


class _Ports(NamedTuple):
    ws: int | None = None
    wss: int | None = None


class Feed:
    """``async with Feed(settings) as feed`` runs it; ``feed.endpoints`` says where.

    ``shared_port``: other processes listen on the same ports (``--workers``).

    Raises, on entering:
        SettingsError, SourceError, CertificateError, KeyConfigError, BrokerError, WorkerFailed, PortBusy,
        OSError: each with one sentence that says what is wrong and what to do; nothing is left running.
    """

    def __init__(self, settings: FeedSettings, *, clock: Clock, shared_port: bool = False) -> None:
        self.settings = settings.validate()
        self.clock = clock
        self.endpoints: Endpoints | None = None
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done with an exception when a part dies that the feed cannot do without."""
        self.draining = False
        self.server: FeedServer | None = None
        self.pool: WorkerPool | None = None
        self._certificate: Certificate | None = None
        self._fallback: Fallback | None = None
        self._gate: Gate | None = None
        self._context: Context | None = None
        self._shared_port = shared_port
        self._stack = AsyncExitStack()
        self._rng = random.Random(settings.seed)
        self._view: View

    async def __aenter__(self) -> Feed:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
        if not self.failed.done():
            self.failed.cancel()

    # While it runs

    def snapshot(self) -> Snapshot:
        """A reading of all figures, those of the workers included."""
        return self._view.snapshot()

    def reload_certificate(self) -> None:
        """Read the certificate again; connections that stand keep theirs, and nobody is dropped."""
        if self._certificate is None:
            return
        result = self._certificate.tls.reload(utc(self.clock))
        if result.error is not None:
            _log.error("certificate_not_reloaded", error=str(result.error))
            return
        if result.listen_again and self.server is not None:
            self._task(self.server.listen_again(self._certificate.tls.context))
        if self.pool is not None:
            self.pool.reload()
        _log.info("certificate_reloaded", changed=result.changed, not_after=str(result.info.not_after))

    def reconfigure(self, wanted: FeedSettings) -> Reconfigured:
        """Take what is reloadable of ``wanted``, here and in every worker; nobody is dropped.

        Raises:
            SettingsError: a value is bad; nothing has changed.
        """
        names = changed(self.settings, wanted.validate())
        applied = {name: getattr(wanted, name) for name in names if name in RELOADABLE}
        settings = structs.replace(self.settings, **applied).validate()
        if self._gate is not None:
            self._gate.reconfigure(settings)
        else:  # what workers are told must be right: they have nobody to complain to
            Gate(structs.replace(settings, require_token=False), None, clock=self.clock, rng=self._rng)
        if self._context is not None:
            self._context.reconfigure(settings)
        if "log_level" in applied:
            set_level(settings.log_level)
        self.settings = settings
        if self.pool is not None and applied:
            shares = structs.replace(settings, **_shares(settings))
            self.pool.reconfigure(
                structs.replace(self.pool.settings, **{name: getattr(shares, name) for name in RELOADABLE})
            )
        return Reconfigured(applied, [name for name in names if name not in RELOADABLE])

    async def roll(self, seconds: float) -> None:
        """Replace the workers one by one; without workers there is nothing to replace."""
        if self.pool is not None:
            await self.pool.roll(seconds)

    async def retire(self, seconds: float) -> None:
        """Send clients away with 1012, spread over ``seconds``, and take no new ones."""
        if self.server is not None:
            await self.server.retire(seconds, self._rng)

    async def drain(self, seconds: float) -> None:
        """Before the end: not ready any more, no new clients, and those that are here leave over ``seconds``.

        Prices go on meanwhile; whoever has to leave may go on elsewhere from the last position it has seen.
        """
        self.draining = True
        await self.retire(seconds)
        if self.pool is not None:
            await self.pool.drain(seconds)

    # Starting

    async def _start(self) -> None:
        settings = self.settings
        source = open_source(settings, clock=self.clock) if settings.role != "edge" else None
        keys = token_keys(settings, clock=self.clock, rng=self._rng)
        if settings.role != "ingest":
            self._certificate = certificate(settings, clock=self.clock)
        if keys.cache is not None:
            await keys.cache.refresh()
            self._task(keys.cache.run())
        broker = open_broker(
            settings.broker,
            clock=self.clock,
            history_messages=settings.history_messages,
            history_seconds=settings.history_seconds,
        )
        # Registered first, closed last: clients leave before what they were fed from goes.
        self._stack.push_async_callback(broker.close)
        await broker.start()
        reader = HistoryReader(broker)
        self._stack.push_async_callback(reader.close)
        hub = await self._hub(broker, reader)
        self._trace(hub)
        publishing = Publishing(broker.publish)
        leader = await self._leader(broker, publishing)
        publish = publishing if leader is None else leader.publish
        self._fallback = self._fall_back(publish, source)
        pipeline = self._pipeline(
            publish,
            simulated=source is not None and source.simulated,
            on_live=None if self._fallback is None else self._fallback.venue_is_live,
        )
        lag = LoopLag(self.clock, LoopScheduler(asyncio.get_running_loop()))
        lag.start()
        self._stack.callback(lag.stop)
        ports = _Ports()
        if settings.role != "ingest":
            ports = await self._serve(hub, broker, keys.authenticator, publishing)
        tls = None if self._certificate is None else self._certificate.tls
        self._view = View(
            self,
            Parts(
                broker,
                hub,
                reader,
                pipeline,
                self._fallback,
                source,
                tls,
                lag,
                self.server,
                self.pool,
                publishing,
                leader,
            ),
            ports.ws,
            ports.wss,
        )
        alerts = self._alerts()
        runner = await self._http(self._view, alerts)
        self._play(source, pipeline, broker)
        ws, wss = self._view.websocket_url(ports.ws), self._view.websocket_url(ports.wss, secure=True)
        self.endpoints = Endpoints(
            ws=ws,
            wss=wss,
            http=None if runner is None else runner.url,
            certificate=None if self._certificate is None else self._certificate.paths,
            source=settings.source,
            broker=broker.status().detail,
        )

    async def _hub(self, broker: Broker, reader: HistoryReader) -> Hub:
        loop = asyncio.get_running_loop()
        ring = open_ring()
        if ring is not None:
            self._stack.callback(ring.close)
        hub = Hub(self.clock, LoopScheduler(loop), reader.look_back, ring=ring)
        reader.reached = hub.position
        hub.start(await broker.subscribe(PUBLISHED_CHANNELS, hub.deliver))
        for channel in PUBLISHED_CHANNELS:
            hub.prime(await broker.history(channel, limit=TAIL_MESSAGES))
        return hub

    async def _serve(
        self, hub: Hub, broker: Broker, authenticator: Authenticator | None, publish: Publish
    ) -> _Ports:
        """Listen here, or have workers listen."""
        settings = self.settings
        if settings.workers > 1:
            return await self._start_workers(broker)
        self._gate = gate = Gate(settings, authenticator, clock=self.clock, rng=self._rng)
        self._context = context = Context(
            settings, hub, broker, authenticator, clock=self.clock, publish=publish
        )
        self.server = server = FeedServer(
            ServerSettings(
                max_message_size=settings.max_message_size,
                outbox_limit=settings.outbox_limit,
                ping_interval=settings.ping_interval,
                pong_timeout=settings.pong_timeout,
                handshake_timeout=settings.handshake_timeout,
                close_timeout=settings.close_timeout,
                shared_port=self._shared_port,
            ),
            context,
            hub,
            gate,
            clock=self.clock,
        )
        self._stack.push_async_callback(server.close, CloseCode.GOING_AWAY, "the server is stopping")
        with _Binding(settings.host, settings.port):
            port = await server.listen(settings.host, settings.port)
        if self._certificate is None or settings.tls_port is None:
            return _Ports(port)
        with _Binding(settings.host, settings.tls_port, "--tls-port"):
            tls_port = await server.listen(
                settings.host, settings.tls_port, tls=self._certificate.tls.context
            )
        return _Ports(port, tls_port)

    async def _start_workers(self, broker: Broker) -> _Ports:
        settings = self.settings
        ports: list[int | None] = []
        for port, option in ((settings.port, "--port"), (settings.tls_port, "--tls-port")):
            if port is None:
                ports.append(None)
                continue
            with _Binding(settings.host, port, option):
                # A socket of ours that never listens keeps the port from others and gets no connections.
                bind(settings.host, port, listen=True).close()
                held = bind(settings.host, port, shared=True)
            self._stack.callback(held.close)
            ports.append(held.getsockname()[1])
        self.pool = pool = WorkerPool(
            structs.replace(
                settings,
                workers=1,
                role="edge",
                port=ports[0] or 0,
                tls_port=ports[1],
                http_port=None,
                broker=getattr(broker, "url", settings.broker),
                **_shares(settings),
            ),
            settings.workers,
        )
        self._stack.push_async_callback(pool.close)
        await pool.start()
        return _Ports(*ports)

    def _trace(self, hub: Hub) -> None:
        """Trace one price in so many, if that was asked for."""
        settings = self.settings
        if not settings.trace_every:
            return
        from omega_ai.data_feed.observability.tracing import TracesUnavailable, open_traces  # an extra

        try:
            traces = open_traces(
                settings.trace_every,
                clock=self.clock,
                publishes=settings.role != "edge",
                serves=settings.role != "ingest" and settings.workers == 1,
            )
        except TracesUnavailable as error:
            raise SettingsError(str(error)) from None
        self._stack.push_async_callback(traces.close)
        hub.trace(traces)

    async def _leader(self, broker: Broker, publish: Publish) -> RedundantPublisher | None:
        """Of several processes that take prices in, one at a time publishes them; None when there is one."""
        if self.settings.role != "ingest" or not isinstance(broker, LeasedBroker):
            return None
        publisher = RedundantPublisher(broker, clock=self.clock, publish=publish)
        self._stack.push_async_callback(publisher.close)
        await publisher.start()
        return publisher

    def _pipeline(
        self, publish: Publish, *, simulated: bool, on_live: Callable[[], None] | None = None
    ) -> Pipeline:
        pipeline = Pipeline(
            publish,
            PriceIndex(simulated=simulated),
            PublishPolicy(min_interval_ms=min(self.settings.price_interval_ms, 1000)),
            clock=self.clock,
            scheduler=LoopScheduler(asyncio.get_running_loop()),
            simulated=simulated,
            on_live=on_live,
        )
        self._stack.callback(pipeline.stop)
        return pipeline

    def _fall_back(self, publish: Publish, source: Source | None) -> Fallback | None:
        """Simulated prices for as long as no venue has been reached, if that was asked for."""
        if source is None or source.simulated or self.settings.fallback != "simulated":
            return None
        simulation = open_source(structs.replace(self.settings, source="simulated"), clock=self.clock)
        if simulation is None:
            return None
        return Fallback(simulation, self._pipeline(publish, simulated=True))

    def _alerts(self) -> AlertMonitor:
        """Watch over the figures; those of workers are in their parent's, which watches for all."""
        settings = self.settings
        monitor = AlertMonitor(
            self.snapshot, open_sinks(settings.alert_webhook, settings.alert_command), clock=self.clock
        )
        if not self._shared_port:
            self._task(monitor.run())
        return monitor

    async def _http(self, view: View, alerts: AlertMonitor) -> Runner | None:
        settings = self.settings
        if settings.http_port is None:
            return None
        from omega_ai.data_feed.http.app import make_app, start_http  # workers start without it, and sooner

        app = make_app(
            view,
            host=settings.http_host,
            hostnames=settings.hostnames,
            alerts=alerts.active,
            reports=settings.report_dir,
        )
        with _Binding(settings.http_host, settings.http_port, "--http-port"):
            runner = await start_http(app, settings.http_host, settings.http_port)
        self._stack.push_async_callback(runner.close)
        return runner

    def _play(self, source: Source | None, pipeline: Pipeline, broker: Broker) -> None:
        if source is None:
            return
        pipeline.start()
        playing = source

        async def play() -> None:
            try:
                await playing.run(pipeline.emit, pipeline.report, broker.flush)
                _log.info("source_ended", source=playing.name)
            except SourceError as error:
                if not self.failed.done():
                    self.failed.set_exception(error)

        self._task(play())
        if self._fallback is not None:
            self._task(self._fallback.run(broker.flush))

    def _task(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` until the feed ends; should it fail, so does the feed."""
        task = asyncio.get_running_loop().create_task(work)

        def ended(done: asyncio.Task[None]) -> None:
            if not done.cancelled() and (error := done.exception()) is not None and not self.failed.done():
                self.failed.set_exception(error)

        task.add_done_callback(ended)

        async def end() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self._stack.push_async_callback(end)


def _shares(settings: FeedSettings) -> dict[str, Any]:
    """What each worker has of the whole."""
    return {
        "max_connections": max(1, settings.max_connections // settings.workers),
        "connection_rate": settings.connection_rate / settings.workers,
        "connection_burst": max(1, settings.connection_burst // settings.workers),
    }


class _Binding:
    """Turns what can go wrong with an address into a sentence that names the option to change."""

    def __init__(self, host: str, port: int = 0, option: str = "--port") -> None:
        self._where = f"{host}:{port}" if port else host
        self._option = option

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            if isinstance(error, PortBusy) or error.errno == errno.EADDRINUSE:
                text = f"{self._where} is in use: stop what listens there, or change {self._option}"
                raise PortBusy(errno.EADDRINUSE, text) from None
            text = f"cannot listen on {self._where} ({self._option}): {error.strerror}"
            raise OSError(error.errno, text) from None
