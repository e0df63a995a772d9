"""The JSON end points: is it alive, is it ready, what is the price, what was it, how does it fare."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Raw

from omega_ai import __version__
from omega_ai.core.timestamps import format_utc, parse_utc
from omega_ai.data_feed.broker.base import BrokerError, Position
from omega_ai.data_feed.http.candle_book import CandleBook
from omega_ai.data_feed.http.guard import asked_host, error_response, json_response
from omega_ai.data_feed.http.view import FeedView
from omega_ai.data_feed.observability.alerts import Alert
from omega_ai.data_feed.observability.histogram import HistogramReading
from omega_ai.data_feed.observability.snapshot import Snapshot
from omega_ai.data_feed.websocket.errors import ErrorCode, MessageError
from omega_ai.data_feed.websocket.messages import HISTORY_LIMIT, PUBLISHED_CHANNELS

STALE_AFTER = 5.0
"""Seconds. A live feed publishes at least once a second, so a price older than this is not the price."""

DEFAULT_LIMIT = 100

READS_AT_ONCE = 2
"""Of the broker's history; others wait. Each may be of all that is kept, and prices share the event loop."""

_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_SYMBOL = re.compile(r"[A-Z0-9]{2,10}-[A-Z0-9]{2,10}")
_SINCE = re.compile(r"(?P<epoch>[A-Za-z0-9_-]{1,64}):(?P<seq>[0-9]{1,16})")


class Api:
    """The handlers over one ``FeedView``."""

    def __init__(self, view: FeedView, book: CandleBook, alerts: Callable[[], Sequence[Alert]]) -> None:
        self._view = view
        self._book = book
        self._alerts = alerts
        self._reads = asyncio.Semaphore(READS_AT_ONCE)

    def routes(self) -> list[web.RouteDef]:
        """Path -> handler; GET and HEAD."""
        return [
            web.get("/healthz", self.healthz),
            web.get("/readyz", self.readyz),
            web.get("/api/price", self.price),
            web.get("/api/history", self.history),
            web.get("/api/candles", self.candles),
            web.get("/api/status", self.status),
            web.get("/asyncapi.json", self.asyncapi),
        ]

    async def healthz(self, _request: web.Request) -> web.Response:
        """200 as long as the event loop turns; when it does not answer, the process is to be restarted."""
        uptime = round(self._view.uptime(), 3)
        return json_response({"status": "ok", "version": __version__, "uptime_seconds": uptime})

    async def readyz(self, _request: web.Request) -> web.Response:
        """200 when clients can be served, else 503; each check with its reason."""
        checks = self._view.readiness()
        ready = all(check.ok for check in checks)
        return json_response(
            {"ready": ready, "checks": [check._asdict() for check in checks]},
            status=200 if ready else 503,
            headers=None if ready else {"Retry-After": "1"},
        )

    async def price(self, _request: web.Request) -> web.Response:
        """The newest ``btc_price`` message with ``age_ms`` and ``stale``; 503 before the first."""
        latest = self._view.latest_price()
        if latest is None:
            failing = [check.detail for check in self._view.readiness() if not check.ok]
            why = "; ".join(failing) or "no source has given one since the start"
            return self._error(
                503, "no_price", f"there is no price yet: {why}", temporary=True, headers={"Retry-After": "1"}
            )
        return json_response(aged(latest.message, latest.age, self._view.now_ns()))

    async def history(self, request: web.Request) -> web.Response:
        """Past messages of ``channel``: the newest ``limit``, or the first ``limit`` after ``since``."""
        try:
            channel, since, limit = history_query(request.query)
        except MessageError as error:
            return self._error(400, error.code.value, error.message, field=error.field)
        try:
            # Without ``since`` the broker cuts; with it, the answer is cut here, and ``more`` says so.
            async with self._reads:
                found = await self._view.history(channel, since, None if since else limit)
        except BrokerError as error:
            return self._error(503, ErrorCode.INTERNAL.value, str(error)[:300], temporary=True)
        if since is not None and not found.whole:
            return self._error(
                410,
                ErrorCode.UNRECOVERABLE_POSITION.value,
                f"{channel} no longer holds everything after {since.epoch}:{since.seq}; "
                "ask without 'since' and start anew",
                field="since",
            )
        publications = found.publications[:limit]
        return json_response(
            {
                "type": "history",
                "channel": channel,
                "epoch": found.position.epoch,
                "seq": found.position.seq,
                "more": len(publications) < len(found.publications),
                "messages": [Raw(publication.message) for publication in publications],
            }
        )

    async def candles(self, request: web.Request) -> web.Response:
        """One-minute candles of ``symbol``, of the last ``hours``, as they were published."""
        try:
            symbol, hours = candles_query(request.query)
        except MessageError as error:
            return self._error(400, error.code.value, error.message, field=error.field)
        messages = [Raw(message) for message in self._book.candles(symbol, hours * 60)]
        return json_response({"type": "candles", "symbol": symbol, "interval": "1m", "messages": messages})

    async def status(self, request: web.Request) -> web.Response:
        """How the feed fares, for people: what the page shows beside the price."""
        return json_response(
            status_fields(self._view.snapshot())
            | {
                "checks": [check._asdict() for check in self._view.readiness()],
                "alerts": list(self._alerts()),
                "websocket": public_urls(self._view.websocket_urls(), asked_host(request)),
            }
        )

    async def asyncapi(self, _request: web.Request) -> web.Response:
        """The machine-readable contract."""
        document = self._view.asyncapi()
        if document is None:
            raise web.HTTPNotFound
        return json_response(document)

    def _error(self, status: int, code: str, message: str, **rest: Any) -> web.Response:
        return error_response(status, code, message, self._view.now_ns(), **rest)


def aged(message: bytes, age: float, now_ns: int) -> dict[str, Raw]:
    """A published price as an answer to "what is it now": what was live when published may not be so now.

    Adds ``age_ms`` and ``stale``; an old price's ``state`` becomes ``stale``, unless it is ``simulated``,
    which is always said.
    """
    fields = _decode_fields(message)
    old = age > STALE_AFTER or fields.get("state") == Raw(b'"stale"')
    if old and fields.get("state") != Raw(b'"simulated"'):
        fields["state"] = Raw(b'"stale"')
    if math.isinf(age):  # from before this process: its own time stamp is all there is
        age = _age_by_timestamp(fields.get("timestamp"), now_ns)
    fields["age_ms"] = Raw(b"null") if math.isinf(age) else Raw(b"%d" % max(0, round(age * 1000)))
    fields["stale"] = Raw(b"true" if old else b"false")
    return fields


def _age_by_timestamp(timestamp: Raw | None, now_ns: int) -> float:
    try:
        return (now_ns - parse_utc(msgspec.json.decode(timestamp or b"", type=str))) / 1e9
    except ValueError:  # msgspec's errors are ValueErrors too
        return math.inf


def history_query(query: Mapping[str, str]) -> tuple[str, Position | None, int]:
    """``channel``, ``since`` (``epoch:seq``) and ``limit`` of a request for history.

    Raises:
        MessageError: naming the parameter and what it may be.
    """
    _check_names(query, "channel", "since", "limit")
    channel = query.get("channel")
    names = ", ".join(PUBLISHED_CHANNELS)
    if not channel:
        raise MessageError(
            ErrorCode.MISSING_FIELD, f"parameter 'channel' is required: {names}", field="channel"
        )
    if channel not in PUBLISHED_CHANNELS:
        raise MessageError(
            ErrorCode.UNKNOWN_CHANNEL,
            f"no channel '{channel[:64]}' has a history; there are {names}",
            field="channel",
        )
    since = None
    if (text := query.get("since")) is not None:
        if not (match := _SINCE.fullmatch(text)):
            raise MessageError(
                ErrorCode.INVALID_FIELD,
                "parameter 'since' must be epoch:seq, as a message carries them (k3zq7m2p:1042)",
                field="since",
            )
        since = Position(match["epoch"], int(match["seq"]))
    text = query.get("limit", str(HISTORY_LIMIT if since else DEFAULT_LIMIT))
    if not (text.isascii() and text.isdecimal() and len(text) <= 6 and 1 <= int(text) <= HISTORY_LIMIT):
        raise MessageError(
            ErrorCode.INVALID_FIELD, f"parameter 'limit' must be 1 to {HISTORY_LIMIT}", field="limit"
        )
    return channel, since, int(text)


def candles_query(query: Mapping[str, str]) -> tuple[str, int]:
    """``symbol`` and ``hours`` of a request for candles.

    Raises:
        MessageError: naming the parameter and what it may be.
    """
    _check_names(query, "symbol", "hours")
    symbol, hours = query.get("symbol", "BTC-USD"), query.get("hours", "24")
    if not _SYMBOL.fullmatch(symbol):
        raise MessageError(
            ErrorCode.INVALID_FIELD, "parameter 'symbol' must be of the form BTC-USD", field="symbol"
        )
    if not (hours.isascii() and hours.isdecimal() and len(hours) <= 2 and 1 <= int(hours) <= 24):
        raise MessageError(ErrorCode.INVALID_FIELD, "parameter 'hours' must be 1 to 24", field="hours")
    return symbol, int(hours)


def _check_names(query: Mapping[str, str], *known: str) -> None:
    for name in query:
        if name not in known:
            raise MessageError(
                ErrorCode.INVALID_FIELD,
                f"unknown parameter '{name[:50]}'; there are {', '.join(known)}",
                field=name[:50],
            )


def status_fields(snapshot: Snapshot) -> dict[str, Any]:
    """The figures that people look at, with plain names; all of them are on ``/metrics``."""
    return {
        "version": __version__,
        "timestamp": format_utc(snapshot.now_ns),
        "uptime_seconds": round(snapshot.uptime, 3),
        "price_state": snapshot.price_state,
        "price_age_ms": None if snapshot.price_age is None else round(snapshot.price_age * 1000),
        "clients": dict(snapshot.connections),
        "max_clients": snapshot.max_connections,
        "messages_sent": snapshot.messages_sent,
        "bytes_sent": snapshot.bytes_sent,
        "published": dict(snapshot.published),
        "delivery_ms": {stage: quantiles_ms(reading) for stage, reading in snapshot.latencies.items()},
        "broker": snapshot.broker,
        "sources": list(snapshot.sources),
        "workers": list(snapshot.workers),
        "worker_restarts": snapshot.worker_restarts,
    }


def quantiles_ms(reading: HistogramReading) -> dict[str, Any]:
    """Median and 99th percentile in milliseconds (upper bounds of buckets), and how many were measured."""
    marks = {name: reading.quantile(q) for name, q in (("p50", 0.5), ("p99", 0.99))}
    return {"count": reading.count} | {
        name: None if mark is None or mark == float("inf") else round(mark * 1000, 3)
        for name, mark in marks.items()
    }


def public_urls(urls: Sequence[str], host: str) -> list[str]:
    """WebSocket addresses as the asker can reach them (see ``FeedView.websocket_urls``)."""
    shown = f"[{host}]" if ":" in host else host
    return [_LOCAL.sub(lambda match: match["scheme"] + shown, url) for url in urls]


_LOCAL = re.compile(
    r"^(?P<scheme>wss?://)(?:localhost|127(?:\.\d{1,3}){3}|0\.0\.0\.0|\[::1?\])(?=[:/]|$)", re.IGNORECASE
)
