"""A whole feed in one process: source, price, broker, hub, WebSocket server, HTTP side; put together and
taken apart in the right order."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from omega_ai.core.clock import Clock
from omega_ai.core.scheduler import LoopScheduler
from omega_ai.core.websocket.handshake import Refusal, Request
from omega_ai.data_feed.broker import open_broker
from omega_ai.data_feed.broker.base import Broker
from omega_ai.data_feed.feed_view import View
from omega_ai.data_feed.history_reader import HistoryReader
from omega_ai.data_feed.http.app import Runner, make_app, start_http
from omega_ai.data_feed.pipeline import Pipeline
from omega_ai.data_feed.price_index import PriceIndex
from omega_ai.data_feed.price_index import PublishPolicy as PricePolicy
from omega_ai.data_feed.settings import FeedSettings, SettingsError
from omega_ai.data_feed.sources import open_source
from omega_ai.data_feed.sources.base import Source, SourceError
from omega_ai.data_feed.websocket import admission
from omega_ai.data_feed.websocket.auth import Authenticator, AuthError, Identity, PublishPolicy
from omega_ai.data_feed.websocket.close_codes import CloseCode
from omega_ai.data_feed.websocket.development_certificate import CertificatePaths, development_certificate
from omega_ai.data_feed.websocket.errors import ErrorCode, MessageError
from omega_ai.data_feed.websocket.hub import TAIL_MESSAGES, Hub
from omega_ai.data_feed.websocket.jwks import JwksCache, jwks_fetch
from omega_ai.data_feed.websocket.messages import CHANNELS, DEFAULT_CHANNELS, PUBLISHED_CHANNELS
from omega_ai.data_feed.websocket.server import Admitted, FeedServer, PortBusy, ServerSettings
from omega_ai.data_feed.websocket.session import Identity as SessionIdentity
from omega_ai.data_feed.websocket.tls import ReloadableContext
from omega_ai.data_feed.websocket.token_keys import StaticKeys, public_key, read_key_file, secret_key

_log = structlog.get_logger(__name__)


class Endpoints(NamedTuple):
    """What listens where, once it does."""

    ws: str
    wss: str | None
    http: str | None
    certificate: CertificatePaths | None
    source: str
    broker: str


class Context:
    """What all sessions share; see ``session.Context``."""

    def __init__(
        self,
        settings: FeedSettings,
        hub: Hub,
        broker: Broker,
        authenticator: Authenticator | None,
        policy: PublishPolicy,
        *,
        clock: Clock,
    ) -> None:
        self.clock = clock
        self.channels = hub
        self.strict = settings.strict
        self.rate_limit = settings.effective_rate_limit
        self.errors: dict[str, int] = {}
        self.resumes: dict[str, int] = {}
        self.publish: Callable[[str, bytes], None] = broker.publish
        self._authenticator = authenticator
        self._policy = policy

    def authenticate(self, token: str, now_ns: int) -> Identity:
        """See ``session.Context``."""
        if self._authenticator is None:
            raise MessageError(ErrorCode.UNAUTHORIZED, "this server takes no tokens", field="token")
        try:
            return self._authenticator.verify(token, now_ns)
        except AuthError as error:
            code = ErrorCode.INTERNAL if error.temporary else ErrorCode.UNAUTHORIZED
            raise MessageError(code, error.reason, field="token") from None

    def may_publish(self, identity: SessionIdentity, channel: str) -> MessageError | None:
        """See ``session.Context``."""
        assert isinstance(identity, Identity)  # noqa: S101 - admission and authenticate give no other
        if self._policy.allows(identity, channel, self.clock.time_ns()):
            return None
        if identity.subject == "anonymous":
            text = f"publishing to '{channel}' needs a token that allows it: send an auth message first"
            return MessageError(ErrorCode.UNAUTHORIZED, text)
        return MessageError(ErrorCode.FORBIDDEN, f"your token does not allow publishing to '{channel}'")


class Feed:
    """``async with Feed(settings) as feed`` runs it; ``feed.endpoints`` says where.

    Raises, on entering:
        SettingsError, SourceError, CertificateError, KeyConfigError, BrokerUnreachable, PortBusy, OSError:
        each with one sentence that says what is wrong and what to do; nothing is left running.
    """

    def __init__(self, settings: FeedSettings, *, clock: Clock) -> None:
        self.settings = settings.validate()
        self.clock = clock
        self.endpoints: Endpoints | None = None
        self.server: FeedServer
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done with an exception when a part dies that the feed cannot do without."""
        self._stack = AsyncExitStack()
        self._rng = random.Random(settings.seed)

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

    async def _start(self) -> None:
        settings = self.settings
        source = open_source(settings, clock=self.clock)
        tls, certificate = self._certificate()
        authenticator = await self._authenticator()
        broker = open_broker(
            settings.broker,
            clock=self.clock,
            history_messages=settings.history_messages,
            history_seconds=settings.history_seconds,
        )
        # Registered first, closed last: clients leave before what they were fed from goes.
        self._stack.push_async_callback(broker.close)
        await broker.start()
        hub = await self._hub(broker)
        server = self.server = self._server(
            hub, broker, authenticator, live=source is not None and not source.simulated
        )
        pipeline = self._pipeline(broker, source)
        self._stack.push_async_callback(server.close, CloseCode.GOING_AWAY, "the server is stopping")
        port = await self._listen(server, settings.port, "--port", None)
        tls_port = None
        if settings.tls_port is not None and tls is not None:
            tls_port = await self._listen(server, settings.tls_port, "--tls-port", tls.context)
        view = View(self, broker, hub, server, pipeline, source, tls, port=port, tls_port=tls_port)
        runner = await self._http(view)
        self._play(source, pipeline, broker)
        host = _in_url(settings.host)
        tls_host = "localhost" if settings.loopback_only else host
        self.endpoints = Endpoints(
            ws=f"ws://{host}:{port}",
            wss=None if tls_port is None else f"wss://{tls_host}:{tls_port}",
            http=None if runner is None else runner.url,
            certificate=certificate,
            source=settings.source,
            broker=broker.status().detail,
        )

    def _certificate(self) -> tuple[ReloadableContext | None, CertificatePaths | None]:
        settings = self.settings
        if settings.tls_port is None:
            return None, None
        now = datetime.fromtimestamp(self.clock.time_ns() / 1e9, tz=UTC)
        paths: CertificatePaths | None = None
        cert: Path | None = settings.cert
        if cert is None:
            paths = development_certificate(now=now)
            context = ReloadableContext(paths.certificate, paths.key, now=now)
        else:
            context = ReloadableContext(cert, settings.key, now=now)
        return context, paths or context.paths

    async def _authenticator(self) -> Authenticator | None:
        settings = self.settings
        given = [settings.token_secret, settings.token_public_key, settings.token_jwks]
        if sum(item is not None for item in given) > 1:
            raise SettingsError("give only one of --token-secret, --token-public-key and --token-jwks")
        if settings.token_secret is not None:
            path = settings.token_secret
            return Authenticator(StaticKeys([secret_key(read_key_file(path), str(path))]))
        if settings.token_public_key is not None:
            path = settings.token_public_key
            return Authenticator(StaticKeys([public_key(read_key_file(path), str(path))]))
        if settings.token_jwks is not None:
            cache = JwksCache(jwks_fetch(settings.token_jwks), clock=self.clock, rng=self._rng)
            await cache.refresh()
            self._task(cache.run())
            return Authenticator(cache)
        if settings.require_token:
            raise SettingsError("--require-token needs --token-secret, --token-public-key or --token-jwks")
        return None

    async def _hub(self, broker: Broker) -> Hub:
        reader = HistoryReader(broker)
        self._stack.push_async_callback(reader.close)
        loop = asyncio.get_running_loop()
        hub = Hub(self.clock, LoopScheduler(loop), reader.look_back)
        hub.start(await broker.subscribe(PUBLISHED_CHANNELS, hub.deliver))
        for channel in PUBLISHED_CHANNELS:
            hub.prime(await broker.history(channel, limit=TAIL_MESSAGES))
        return hub

    def _server(
        self, hub: Hub, broker: Broker, authenticator: Authenticator | None, *, live: bool
    ) -> FeedServer:
        settings = self.settings
        gate = admission.Admission(
            admission.AdmissionSettings(
                known_channels=frozenset(CHANNELS),
                default_channels=DEFAULT_CHANNELS,
                loopback_only=settings.loopback_only,
                require_token=settings.require_token,
                origins=settings.origins,
                hosts=settings.hostnames,
                trusted_proxies=settings.trusted_proxies,
                max_connections=settings.max_connections,
                max_per_address=settings.effective_connections_per_address,
                max_per_user=settings.effective_connections_per_address,
            ),
            clock=self.clock,
            rng=self._rng,
            authenticator=authenticator,
        )

        def admit(request: Request, peer: str, *, secure: bool) -> admission.Admitted:
            asked = admission.UpgradeRequest.build(request.target, request.headers, peer, secure=secure)
            decision = gate.decide(asked)
            if isinstance(decision, admission.Refusal):
                raise Refusal(decision.status, decision.reason, decision.headers)
            return decision

        def release(admitted: Admitted) -> None:
            assert isinstance(admitted, admission.Admitted)  # noqa: S101 - admit gives no other
            gate.release(admitted)

        policy = PublishPolicy.default(loopback_only=settings.loopback_only, live_source=live)
        return FeedServer(
            ServerSettings(
                max_message_size=settings.max_message_size,
                outbox_limit=settings.outbox_limit,
                ping_interval=settings.ping_interval,
                pong_timeout=settings.pong_timeout,
                handshake_timeout=settings.handshake_timeout,
                close_timeout=settings.close_timeout,
            ),
            Context(settings, hub, broker, authenticator, policy, clock=self.clock),
            hub,
            admit,
            release,
            clock=self.clock,
        )

    def _pipeline(self, broker: Broker, source: Source | None) -> Pipeline:
        pipeline = Pipeline(
            broker.publish,
            PriceIndex(simulated=source is not None and source.simulated),
            PricePolicy(min_interval_ms=min(self.settings.price_interval_ms, 1000)),
            clock=self.clock,
            scheduler=LoopScheduler(asyncio.get_running_loop()),
        )
        self._stack.callback(pipeline.stop)
        return pipeline

    async def _listen(
        self, server: FeedServer, port: int, option: str, context: ssl.SSLContext | None
    ) -> int:
        host = self.settings.host
        try:
            return await server.listen(host, port, tls=context)
        except PortBusy as error:
            raise PortBusy(
                error.errno, f"{error.strerror}: stop what listens there, or choose another with {option}"
            ) from None
        except OSError as error:
            text = f"cannot listen on {host}:{port} ({option}): {error.strerror}"
            raise OSError(error.errno, text) from None

    async def _http(self, view: View) -> Runner | None:
        settings = self.settings
        if settings.http_port is None:
            return None
        app = make_app(view, host=settings.http_host, hostnames=settings.hostnames)
        try:
            runner = await start_http(app, settings.http_host, settings.http_port)
        except OSError as error:
            where = f"port {settings.http_port} on {settings.http_host}"
            text = f"{where} cannot be had: stop what listens there, or choose another with --http-port"
            raise PortBusy(error.errno, text) from None
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


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
