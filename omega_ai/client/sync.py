"""The client for plain code: a thread with an event loop of its own, behind calls that block.

    with connect("ws://localhost:8765", channels=["btc_price"]) as feed:
        for price in feed:
            print(price.symbol, price.price)

Nothing is lost between the thread and the program: messages are handed over in order from the one bounded
queue that the feed has, and when it is full, the socket is not read.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections import deque
from collections.abc import Coroutine, Mapping
from decimal import Decimal
from types import TracebackType
from typing import Any, TypeVar, Unpack

from omega_ai.client import messages as wire
from omega_ai.client.connection import Url
from omega_ai.client.errors import FeedClosed, MessagesLost
from omega_ai.client.events import Gap, NotRecovered, Position
from omega_ai.client.feed import Feed
from omega_ai.client.link import Item
from omega_ai.client.messages import Mode
from omega_ai.client.settings import ClientSettings, Options

BATCH = 256
"""Messages handed over from the thread at once: crossing over costs more than a message does."""

_T = TypeVar("_T")


class SyncFeed:
    """As ``feed.Feed``, method by method, without ``async``. May be used from several threads."""

    def __init__(self, url: str, settings: ClientSettings) -> None:
        Url(url)  # what is wrong with it is told here, and not in the thread
        self._url = url
        self._settings = settings
        self._batch: deque[Item] = deque()
        self._feed: Feed | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._started: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    # Life

    def start(self) -> None:
        """See ``Feed.start``. ``with`` does it."""
        if self._thread is not None:
            raise FeedClosed("a feed is started once")
        # A daemon, so that a program that forgets to close can still end.
        self._thread = threading.Thread(target=self._main, name=f"omega feed {self._url}", daemon=True)
        self._thread.start()
        try:
            self._started.result()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """See ``Feed.aclose``; returns when the thread has ended."""
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(stop.set)
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> SyncFeed:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def connected(self) -> bool:
        """Whether a connection stands at this moment."""
        return self._feed is not None and self._feed.connected

    def position(self, channel: str) -> Position | None:
        """See ``Feed.position``."""
        return None if self._feed is None else self._feed.position(channel)

    # Receiving

    def __iter__(self) -> SyncFeed:
        return self

    def __next__(self) -> Any:
        """See ``Feed.__anext__``."""
        item = self._next(None)
        if item is None:
            raise StopIteration
        return item

    def receive(self, timeout: float | None = None) -> Any:
        """See ``Feed.receive``."""
        item = self._next(timeout)
        if item is None:
            raise FeedClosed("the feed was closed")
        return item

    def _next(self, timeout: float | None) -> Item | None:
        with self._lock:
            if not self._batch:
                self._batch.extend(self._call(self._running().take(BATCH, timeout)))
            if not self._batch:
                return None
            item = self._batch.popleft()
        if not self._settings.events and isinstance(item, Gap | NotRecovered):
            raise MessagesLost(item)
        return item

    # Sending

    def send(self, message: Mapping[str, Any], *, timeout: float | None = None) -> None:
        """See ``Feed.send``."""
        self._call(self._running().send(message, timeout=timeout))

    def request(self, message: Mapping[str, Any], *, timeout: float | None = None) -> Any:
        """See ``Feed.request``."""
        return self._call(self._running().request(message, timeout=timeout))

    def ping(self, *, timeout: float | None = None) -> float:
        """See ``Feed.ping``."""
        return self._call(self._running().ping(timeout=timeout))

    def history(
        self, channel: str, *, since: tuple[str, int] | None = None, limit: int | None = None
    ) -> wire.History:
        """See ``Feed.history``."""
        return self._call(self._running().history(channel, since=since, limit=limit))

    def authenticate(self, token: str) -> wire.Authenticated:
        """See ``Feed.authenticate``."""
        return self._call(self._running().authenticate(token))

    def subscribe(self, *channels: str, mode: Mode = "all", interval_ms: int = 0) -> None:
        """See ``Feed.subscribe``."""
        self._call(self._running().subscribe(*channels, mode=mode, interval_ms=interval_ms))

    def unsubscribe(self, *channels: str) -> None:
        """See ``Feed.unsubscribe``."""
        self._call(self._running().unsubscribe(*channels))
        gone = frozenset(channels)
        with self._lock:
            self._batch = deque(item for item in self._batch if getattr(item, "channel", None) not in gone)

    def publish_price(
        self,
        price: Decimal | int | str,
        volume: Decimal | int | str,
        *,
        timestamp: str | None = None,
        symbol: str = "BTC-USD",
        timeout: float | None = None,
    ) -> None:
        """See ``Feed.publish_price``."""
        feed = self._running()
        self._call(feed.publish_price(price, volume, timestamp=timestamp, symbol=symbol, timeout=timeout))

    def broadcast(self, fields: Mapping[str, Any], *, timeout: float | None = None) -> None:
        """See ``Feed.broadcast``."""
        self._call(self._running().broadcast(fields, timeout=timeout))

    # The thread

    def _main(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as error:
            if not self._started.done():
                self._started.set_exception(error)

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        feed = Feed(self._url, self._settings)
        # Starting is called off by ``close`` as well: a thread that was told to stop does not go on
        # connecting.
        starting = asyncio.create_task(feed.start())
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                self._feed = feed
                self._started.set_result(None)
                await stopped
        finally:
            starting.cancel()
            stopped.cancel()
            await feed.aclose()

    def _running(self) -> Feed:
        if self._feed is None:
            raise FeedClosed("the feed was not started")
        return self._feed

    def _call(self, work: Coroutine[Any, Any, _T]) -> _T:
        loop = self._loop
        if loop is None or loop.is_closed():
            work.close()
            raise FeedClosed("the feed was closed")
        try:
            future = asyncio.run_coroutine_threadsafe(work, loop)
        except RuntimeError:  # closed between the question and the call
            work.close()
            raise FeedClosed("the feed was closed") from None
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise FeedClosed("the feed was closed") from None
        except BaseException:
            future.cancel()  # Ctrl-C: nobody waits any more
            raise


def connect(url: str = "ws://localhost:8765", **options: Unpack[Options]) -> SyncFeed:
    """A feed at ``url``, to be used as ``with connect(...) as feed: for message in feed: ...``.

    ``options`` are those of ``omega_ai.client.connect``. Raises ``ValueError`` if one of them is wrong.
    """
    return SyncFeed(url, ClientSettings(**options))
