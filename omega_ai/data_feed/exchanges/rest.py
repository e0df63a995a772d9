"""A venue's public REST interface, asked for trades that the stream did not bring."""

from __future__ import annotations

import asyncio
from email.utils import parsedate_to_datetime

import aiohttp
import structlog

from omega_ai.core.clock import Clock
from omega_ai.data_feed.exchanges.base import RestTrades
from omega_ai.data_feed.exchanges.sequence import Gap
from omega_ai.data_feed.market import Trade

_BODY_LIMIT = 8 << 20
_TIMEOUT_S = 5.0
_PAUSE_S = 30.0
_MARGIN_NS = 1_000_000_000
_PAUSE_AT_MOST_S = 600.0

log = structlog.get_logger(__name__)


class TradeHistory:
    """One venue's REST trades, asked for within its limits. Close it when done."""

    def __init__(self, venue: str, rest: RestTrades, url: str, clock: Clock) -> None:
        self._venue = venue
        self._rest = rest
        self._url = url.rstrip("/")
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._not_before = 0.0
        self._by_our_clock = True
        self._use_other = False

    async def trades(self, gap: Gap) -> list[Trade] | None:
        """The venue's trades about ``gap``, oldest first; None if it cannot be asked now, or did not say."""
        wait = self._not_before - self._clock.monotonic()
        if wait > _TIMEOUT_S:
            return None
        if wait > 0:
            await asyncio.sleep(wait)
        self._not_before = self._clock.monotonic() + 1.0 / self._rest.requests_per_s
        try:
            body = await self._get(self._url + self._path(gap))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.warning(
                "trades cannot be asked for", venue=self._venue, error=str(error) or type(error).__name__
            )
            return None
        if body is None:
            return None
        events = self._rest.parse(body, self._clock.time_ns())
        trades = [event for event in events if isinstance(event, Trade)]
        for event in events:
            if not isinstance(event, Trade):
                log.warning("trades refused", venue=self._venue, answer=str(event)[:300])
        return trades if trades or not events else None

    async def close(self) -> None:
        """Let go of the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _path(self, gap: Gap) -> str:
        limit = self._rest.limit
        # A venue's clock may be off, and then put right: its own time and ours are tried in turn.
        self._by_our_clock = not self._by_our_clock
        path = self._rest.other_path if self._use_other and self._rest.other_path else self._rest.path
        return path.format(
            first=gap.first or 0,
            # Where a page ends with an id rather than beginning with one, ask for the first page of the gap.
            next=min(gap.last or 0, (gap.first or 0) + limit - 1) + 1,
            since_ns=(gap.received_ns if self._by_our_clock else gap.since_ns) - _MARGIN_NS,
            limit=limit,
        )

    async def _get(self, url: str) -> bytes | None:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S))
        async with self._session.get(url, allow_redirects=False) as response:
            if response.status in (418, 429, 503):
                pause = _retry_after(response.headers.get("Retry-After"), self._clock)
                self._not_before = self._clock.monotonic() + pause
                log.warning("asked too often", venue=self._venue, status=response.status, pause_s=pause)
                return None
            if response.status != 200:
                self._use_other = not self._use_other
                log.warning("trades refused", venue=self._venue, status=response.status, url=url)
                return None
            body = bytearray()
            async for chunk in response.content.iter_chunked(1 << 16):
                body += chunk
                if len(body) > _BODY_LIMIT:
                    log.warning("answer too large", venue=self._venue, limit=_BODY_LIMIT)
                    return None
            return bytes(body)


def _retry_after(text: str | None, clock: Clock) -> float:
    """Seconds to wait (RFC 9110 section 10.2.3: a number of seconds, or a date)."""
    if text is None:
        return _PAUSE_S
    if text.isascii() and text.isdigit() and len(text) < 10:
        return min(float(text), _PAUSE_AT_MOST_S)
    try:
        wait = parsedate_to_datetime(text).timestamp() - clock.time_ns() / 1e9
    except (ValueError, TypeError):
        return _PAUSE_S
    return min(max(wait, 0.0), _PAUSE_AT_MOST_S)
