"""A day of one-minute candles at hand, for the chart's first picture.

The channel's history holds one-second candles too, so a few thousand messages of it reach back an hour or so,
and reading them anew for everybody who opens the page would hold up prices. So the book reads the history
once, and then every few seconds only what is new.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable

import msgspec
import structlog
from msgspec import Struct

from omega_ai.data_feed.broker.base import BrokerError, History, Position

MINUTES = 24 * 60
"""One-minute candles kept of each symbol."""

SYMBOLS_AT_MOST = 16
FIRST_READ = 10_000
EVERY = 5.0
"""Seconds between two looks for new candles; who is connected has them from the channel anyway."""

ReadHistory = Callable[[str, Position | None, int | None], Awaitable[History]]

_log = structlog.get_logger("omega.http")


class _Head(Struct):
    """What is read of a ``candles`` message."""

    interval: str
    symbol: str
    start: str


_decode = msgspec.json.Decoder(_Head).decode


class CandleBook:
    """One-minute candles by symbol. ``run`` keeps it up to date; ``candles`` answers from memory."""

    def __init__(self, read: ReadHistory) -> None:
        self._read = read
        self._position: Position | None = None
        self._starts: dict[str, list[str]] = {}
        self._messages: dict[str, dict[str, bytes]] = {}

    def candles(self, symbol: str, minutes: int = MINUTES) -> list[bytes]:
        """The newest ``minutes`` candles' messages, oldest first; a minute without trades has none."""
        messages = self._messages.get(symbol, {})
        return [messages[start] for start in self._starts.get(symbol, [])[-minutes:]]

    def add(self, message: bytes) -> None:
        """Take a ``candles`` message; a later one for the same minute replaces it."""
        if b'"interval":"1m"' not in message:  # the one-second ones are many: not worth decoding
            return
        head = _decode(message)
        if head.symbol not in self._starts:
            if len(self._starts) >= SYMBOLS_AT_MOST:
                return
            self._starts[head.symbol], self._messages[head.symbol] = [], {}
        starts, messages = self._starts[head.symbol], self._messages[head.symbol]
        if head.start not in messages:
            # Times of one form sort as text; almost always this is the newest.
            starts.insert(bisect_left(starts, head.start), head.start)
        messages[head.start] = message
        if len(starts) > MINUTES:
            del messages[starts.pop(0)]

    async def catch_up(self) -> None:
        """Read what the channel's history has that the book has not.

        Raises:
            BrokerError: it cannot be read now.
        """
        since = self._position
        history = await self._read("candles", since, None if since else FIRST_READ)
        if since is not None and not history.whole:
            history = await self._read("candles", None, FIRST_READ)
        for publication in history.publications:
            self.add(publication.message)
        self._position = history.position

    async def run(self) -> None:
        """Keep up until cancelled; a broker that is away is tried again."""
        while True:
            try:
                await self.catch_up()
            except BrokerError:
                pass  # readiness and metrics tell of it
            except Exception:
                _log.exception("candles_not_read")
            await asyncio.sleep(EVERY)
