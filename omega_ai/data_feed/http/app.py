"""The HTTP listener: puts the handlers together and owns the socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import cast

import platformdirs
import prometheus_client.exposition
from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry

from omega_ai.data_feed.http.api import Api
from omega_ai.data_feed.http.candle_book import CandleBook
from omega_ai.data_feed.http.guard import guard
from omega_ai.data_feed.http.last_report import LastReport
from omega_ai.data_feed.http.page import Page
from omega_ai.data_feed.http.view import FeedView
from omega_ai.data_feed.observability.alerts import Alert
from omega_ai.data_feed.observability.metrics import make_registry
from omega_ai.data_feed.observability.protobuf import CONTENT_TYPE, accepts_protobuf, encode_families
from omega_ai.data_feed.settings import is_loopback
from omega_ai.data_feed.websocket.origins import HostPolicy

MAX_CONNECTIONS = 256
"""At once. People, scrapers and health checks; prices go over WebSocket."""

IDLE_TIMEOUT = 30.0
"""Seconds that a connection may take to send a request, the first as well as the next."""

MAX_HEADER = 8190
"""Bytes of a request line, and of a header field."""


def make_app(
    view: FeedView,
    *,
    host: str = "127.0.0.1",
    hostnames: Iterable[str] = (),
    registry: CollectorRegistry | None = None,
    alerts: Callable[[], Sequence[Alert]] = list,
    reports: Path | None = None,
) -> web.Application:
    """The application over ``view``.

    ``host`` is where it will be bound and, with ``hostnames``, decides to which names it answers (see
    ``guard``). ``registry`` is what ``/metrics`` shows; without it, one is made over ``view.snapshot``.
    ``alerts`` gives those that are on now, for the page; ``reports`` is where results of ``omega test`` lie.

    Raises:
        ValueError: one of ``hostnames`` is not a host.
    """
    # The guard's clock stamps error answers, also when the view itself is what failed.
    app = web.Application(
        middlewares=[guard(HostPolicy(hostnames, loopback_only=is_loopback(host)), time.time_ns)],
        client_max_size=1024,  # no end point takes a body
    )
    book = CandleBook(view.history)
    app.cleanup_ctx.append(_while_it_runs(book))
    app.add_routes(Api(view, book, alerts).routes())
    app.add_routes(Page(view).routes())
    app.add_routes(LastReport(reports or default_reports()).routes())
    app.router.add_get("/metrics", _Metrics(registry or make_registry(view.snapshot)).handle)
    return app


def default_reports() -> Path:
    """Where results of ``omega test`` are looked for, unless told: ``reports`` in the state directory."""
    return Path(platformdirs.user_state_dir("omega-btc-ai", appauthor=False)) / "reports"


def _while_it_runs(book: CandleBook) -> Callable[[web.Application], AsyncIterator[None]]:
    async def keep(_app: web.Application) -> AsyncIterator[None]:
        task = asyncio.get_running_loop().create_task(book.run())
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    return keep


class _Metrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    async def handle(self, request: web.Request) -> web.Response:
        """All figures, in the format that the scraper asks for: text, OpenMetrics, or protobuf."""
        accept = request.headers.get(hdrs.ACCEPT, "")
        if accepts_protobuf(accept):
            return web.Response(
                body=encode_families(self._registry.collect()),
                headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"},
            )
        encode, content_type = prometheus_client.exposition.choose_encoder(accept)
        return web.Response(
            body=encode(self._registry), headers={"Content-Type": content_type, "Cache-Control": "no-store"}
        )


class _Full(asyncio.Protocol):
    """Answers a connection over the cap, and ends it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast(asyncio.Transport, transport)  # a TCP listener makes no other kind
        stream.write(
            b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n"
            b"Content-Length: 0\r\nConnection: close\r\n\r\n"
        )
        stream.close()


class Runner:
    """A listening HTTP server; made by ``start_http``."""

    def __init__(self, runner: web.AppRunner, server: asyncio.Server, host: str) -> None:
        self._runner = runner
        self._server = server
        self.host = host
        self.port: int = server.sockets[0].getsockname()[1]
        """The real port, also when 0 was asked for."""

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    async def close(self) -> None:
        """Stop listening, let running requests finish (2 s at most), end all connections."""
        self._server.close()
        await self._runner.cleanup()


async def start_http(
    app: web.Application, host: str, port: int, *, max_connections: int = MAX_CONNECTIONS
) -> Runner:
    """Listen on ``host`` and ``port`` (0: any free one).

    Raises:
        OSError: the address cannot be bound (``errno.EADDRINUSE``: somebody has the port).
    """
    runner = web.AppRunner(
        app,
        access_log=None,
        keepalive_timeout=IDLE_TIMEOUT,
        max_line_size=MAX_HEADER,
        max_field_size=MAX_HEADER,
        lingering_time=1.0,
        shutdown_timeout=2.0,
    )
    await runner.setup()
    handlers = cast(web.Server, runner.server)  # setup() made it

    def accept() -> asyncio.Protocol:
        return handlers() if len(handlers.connections) < max_connections else _Full()

    try:
        server = await asyncio.get_running_loop().create_server(accept, host, port)
    except BaseException:
        await runner.cleanup()
        raise
    return Runner(runner, server, host)
