"""Keeps one conversation going over as many connections as it takes; owns task, queue and sockets."""

# ruff: noqa: ASYNC109 - see feed.py

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import TypeVar

from omega_ai.client import messages as wire
from omega_ai.client.connection import Connection, Url, client_options, open_connection
from omega_ai.client.conversation import Conversation
from omega_ai.client.errors import (
    ClientError,
    ConnectError,
    ConnectionClosed,
    ConnectionLost,
    FeedClosed,
    HandshakeRejected,
    ReconnectFailed,
    RequestFailed,
    RequestTimeout,
    TlsError,
)
from omega_ai.client.events import Connected, Disconnected, Event, Gap, NotRecovered, Position, Recovered
from omega_ai.client.messages import Message, RequestId
from omega_ai.client.retry import Backoff, may_reconnect, may_retry_status
from omega_ai.client.settings import ClientSettings
from omega_ai.core.certificates import CertificateError
from omega_ai.core.client_tls import client_context
from omega_ai.core.websocket.close import ABNORMAL
from omega_ai.core.websocket.endpoint import OPEN, Options

Item = Message | Event
_T = TypeVar("_T")

_log = logging.getLogger("omega_ai.client")


class Link:
    """See the module's text. Implements ``port.Port``."""

    def __init__(self, url: Url, settings: ClientSettings) -> None:
        self.url = url
        self.settings = settings
        channels = settings.channels
        if channels is None:
            channels = url.channels if url.channels is not None else wire.DEFAULT_CHANNELS
        self.conversation = Conversation(
            self,
            settings.clock,
            channels=channels,
            mode=settings.mode,
            interval_ms=settings.interval_ms,
            heartbeat_timeout=settings.heartbeat_timeout,
            ping_interval=settings.ping_interval,
            pong_timeout=settings.pong_timeout,
            answer_timeout=settings.open_timeout,
        )
        self.conversation.resume_from({name: Position(*since) for name, since in settings.since.items()})
        self.failure: ClientError | None = None
        self.connection: Connection | None = None
        self._backoff = Backoff(settings.rng, settings.first_delay, settings.longest_delay)
        self._items: deque[Item] = deque()
        self._arrived = asyncio.Event()
        self._up = asyncio.Event()
        self._paused = False
        self._waiters: dict[RequestId, asyncio.Future[Message]] = {}
        self._joining: dict[asyncio.Future[None], frozenset[str]] = {}
        self._started = False  # subscriptions have been confirmed once
        self._confirmed = False  # and on the present connection
        self._runner: asyncio.Task[None] | None = None

    # Life

    async def start(self) -> None:
        """Connect and subscribe; see ``Feed.start``."""
        if self._runner is not None:
            raise FeedClosed("a feed is started once")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._joining[future] = frozenset(self.conversation.channels)
        self._runner = asyncio.create_task(self._run(), name=f"omega feed {self.url.text}")
        try:
            await asyncio.wait({self._runner, future}, return_when=asyncio.FIRST_COMPLETED)
            if future.done():
                future.result()
            if self.failure is not None:
                raise self.failure
        except BaseException:
            await self.close()
            raise
        finally:
            del self._joining[future]

    async def close(self) -> None:
        """See ``Feed.aclose``."""
        if self.failure is None:
            self.failure = FeedClosed("the feed was closed")
        runner = self._runner
        if runner is not None and not runner.done():
            runner.cancel()
            # A close that is itself called off must still leave nothing behind.
            await asyncio.shield(asyncio.wait({runner}))

    async def _run(self) -> None:
        try:
            await self._stay_connected()
        except ClientError as error:
            self._fail(error)
        except Exception as error:
            _log.exception("the client failed")
            failure = ClientError(f"the client failed: {error!r}")
            failure.__cause__ = error
            self._fail(failure)
        finally:
            self._fail(FeedClosed("the feed was closed"))

    async def _stay_connected(self) -> None:
        """Connect, again and again; ends by raising what the user is to be told."""
        settings, clock = self.settings, self.settings.clock
        options = client_options(settings.max_message_size, settings.open_timeout, settings.close_timeout)
        give_up_start = clock.monotonic() + self.settings.start_timeout
        attempt = 0
        while True:
            attempt += 1
            try:
                connection = await self._open(options)
            except ConnectError as error:
                failure: ClientError = error
                permanent = _is_permanent(error)
                code, reason, ours = ABNORMAL, str(error), False
                wait = error.retry_after if isinstance(error, HandshakeRejected) else None
            else:
                self._deliver_event(Connected(url=self.url.text, attempt=attempt, first=not self._started))
                code, reason, ours = await self._talk(connection)
                failure, wait = ConnectionClosed(code, reason), None
                # What we close ourselves (garbage, silence) may be the network's doing: that is worth
                # coming back.
                permanent = not (ours or may_reconnect(code))
                if self.conversation.data_seen:
                    self._backoff.reset()
                if self._confirmed:
                    attempt = 0
            if self.failure is not None:
                raise self.failure
            delay = self._backoff.next_delay(wait)
            if not self._started:
                if permanent or clock.monotonic() + delay > give_up_start:
                    raise failure
            elif permanent or not self.settings.reconnect:
                self._deliver_event(Disconnected(code=code, reason=reason, retry_in=None))
                raise failure
            elif self.settings.max_attempts is not None and attempt >= self.settings.max_attempts:
                self._deliver_event(Disconnected(code=code, reason=reason, retry_in=None))
                raise ReconnectFailed(attempt, failure) from failure
            _log.info("%s: %s %s; back in %.1f s", self.url.text, code, reason, delay)
            self._deliver_event(Disconnected(code=code, reason=reason, retry_in=delay))
            await asyncio.sleep(delay)

    async def _open(self, options: Options) -> Connection:
        settings = self.settings
        headers = dict(settings.headers)
        if settings.token is not None:
            token = settings.token if isinstance(settings.token, str) else settings.token()
            headers["Authorization"] = f"Bearer {token}"
        tls = settings.tls
        if self.url.secure and not isinstance(tls, ssl.SSLContext):
            # Read anew for each connection, so that a renewed authority is found.
            try:
                tls = client_context(Path(tls) if tls is not None else None, host=self.url.host)
            except CertificateError as error:
                raise TlsError(self.url.text, str(error)) from None
        return await open_connection(
            self.url,
            options,
            clock=settings.clock,
            on_message=self.conversation.received,
            on_life=self.conversation.heard,
            tls=tls if isinstance(tls, ssl.SSLContext) else None,
            headers=headers,
            compression=settings.compression,
            open_timeout=settings.open_timeout,
        )

    async def _talk(self, connection: Connection) -> tuple[int, str, bool]:
        """One connection, from its opening to its end."""
        self.connection = connection
        self._paused = self._confirmed = False
        try:
            self.conversation.connected()
            self._up.set()
            while not connection.ended.done():
                deadline = self.conversation.deadline()
                wait = None if deadline is None else max(deadline - self.settings.clock.monotonic(), 0.0)
                if self._paused or wait is None:
                    # Whatever sets a deadline where there was none comes without a wake-up.
                    wait = 1.0
                await asyncio.wait({connection.ended}, timeout=wait)
                if not connection.ended.done():
                    self.conversation.tick()
        finally:
            self._up.clear()
            self.connection = None
            self.conversation.disconnected()
            self._lose_requests()
            if not connection.ended.done():
                connection.pause_reading(False)
                connection.close()
                await asyncio.shield(connection.ended)
        return connection.ended.result()

    # Receiving

    async def next_items(self, limit: int) -> list[Item]:
        """At least one item, at most ``limit``; none when the feed was closed by this program.

        Raises what ended the feed otherwise.
        """
        items = self._items
        while not items:
            if self.failure is not None:
                if isinstance(self.failure, FeedClosed):
                    return []
                raise self.failure
            self._arrived.clear()
            await self._arrived.wait()
        taken = [items.popleft() for _ in range(min(limit, len(items)))]
        if self._paused and len(items) <= self.settings.queue_size // 2:
            self._pause(False)
        return taken

    def drop(self, channels: frozenset[str]) -> None:
        """Forget what is queued from ``channels``."""
        kept = [item for item in self._items if getattr(item, "channel", None) not in channels]
        self._items.clear()
        self._items.extend(kept)

    def _pause(self, paused: bool) -> None:
        self._paused = paused
        self.conversation.pause(paused)
        if self.connection is not None:
            self.connection.pause_reading(paused)

    # Sending

    async def transmit(self, texts: Sequence[bytes], timeout: float | None) -> None:
        """Send, waiting for a connection and for the kernel."""
        await self._in_time(self._transmit(texts), timeout)

    async def exchange(
        self, texts: Sequence[bytes], ids: Sequence[RequestId], timeout: float | None
    ) -> Message:
        """Send, and wait for the first answer to one of ``ids``."""
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        for request_id in ids:
            if request_id in self._waiters:
                raise ValueError(f"a request with id {request_id!r} is under way")
        self._waiters.update((request_id, future) for request_id in ids)

        async def both() -> Message:
            await self._transmit(texts)
            return await future

        try:
            return await self._in_time(both(), timeout)
        finally:
            future.cancel()
            for request_id in ids:
                del self._waiters[request_id]

    async def joined(self, channels: frozenset[str], timeout: float | None) -> None:
        """Wait until every subscription stands."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._joining[future] = channels

        async def confirmed() -> None:
            await future

        try:
            await self._in_time(confirmed(), timeout)
        finally:
            future.cancel()
            del self._joining[future]

    async def _transmit(self, texts: Sequence[bytes]) -> None:
        while (connection := self.connection) is None or connection.state != OPEN:
            if self.failure is not None:
                raise self.failure
            if connection is None:
                await self._up.wait()
            else:  # it is closing: what was sent on it would be lost without a word
                await asyncio.shield(connection.ended)
                await asyncio.sleep(0)
        for text in texts:
            connection.send_text(text)
        await connection.drain()

    async def _in_time(self, work: Awaitable[_T], timeout: float | None) -> _T:
        seconds = self.settings.request_timeout if timeout is None else timeout
        timer = asyncio.timeout(seconds)
        try:
            async with timer:
                return await work
        except TimeoutError:
            if not timer.expired():
                raise
            what = "no answer" if self.connection is not None else "no connection"
            raise RequestTimeout(f"{self.url.text}: {what} within {seconds:g} s") from None

    def _lose_requests(self) -> None:
        for future in set(self._waiters.values()):
            if not future.done():
                future.set_exception(
                    ConnectionLost(
                        "the connection was lost before the answer; whether it was acted on is unknown"
                    )
                )

    # What the conversation calls

    def send(self, text: bytes) -> None:
        """See ``Port``."""
        if self.connection is not None:
            self.connection.send_text(text)

    def ping(self) -> None:
        """See ``Port``."""
        if self.connection is not None:
            self.connection.ping()

    def give_up(self, code: int, reason: str) -> None:
        """See ``Port``."""
        if self.connection is not None:
            self.connection.give_up(code, reason)

    def deliver(self, item: Item) -> None:
        """See ``Port``."""
        if isinstance(item, Recovered):
            self._deliver_event(item)
            return
        if isinstance(item, Gap | NotRecovered):
            _log.warning("%s", item)
        self._items.append(item)
        self._arrived.set()
        if not self._paused and len(self._items) >= self.settings.queue_size:
            self._pause(True)

    def answer(self, request_id: RequestId, reply: Message) -> bool:
        """See ``Port``."""
        future = self._waiters.get(request_id)
        if future is None or future.done():
            return False
        if isinstance(reply, wire.ErrorMessage):
            future.set_exception(_request_failed(reply))
        else:
            future.set_result(reply)
        return True

    def settled(self) -> None:
        """See ``Port``."""
        self._started = self._confirmed = True
        for future in self._joining:
            if not future.done():
                future.set_result(None)

    def refused(self, channels: frozenset[str], error: wire.ErrorMessage) -> None:
        """See ``Port``. If nobody has just asked for the channels, the feed ends: it is not what it was."""
        asked = False
        for future, names in self._joining.items():
            if names & channels and not future.done():
                future.set_exception(_request_failed(error))
                asked = True
        if not asked:
            self._fail(_request_failed(error))
            self.give_up(1000, "")

    # Ends

    def _deliver_event(self, event: Event) -> None:
        if self.settings.events:
            self._items.append(event)
            self._arrived.set()

    def _fail(self, error: ClientError) -> None:
        if self.failure is None:
            self.failure = error
        self._arrived.set()
        self._up.set()  # whoever waits for a connection must learn that there will be none
        for future in self._joining:
            if not future.done():
                future.set_exception(self.failure)


def _request_failed(error: wire.ErrorMessage) -> RequestFailed:
    return RequestFailed(error.code, error.message, error.field, error.temporary, error.retry_after_ms)


def _is_permanent(error: ConnectError) -> bool:
    """Whether trying again cannot help: a refusal on purpose, or TLS that is not trusted."""
    if isinstance(error, HandshakeRejected):
        return not may_retry_status(error.status)
    return isinstance(error, TlsError)
