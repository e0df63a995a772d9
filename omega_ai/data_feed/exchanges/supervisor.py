"""Sockets for one ``VenueMachine``: it decides, this connects, sends, asks and closes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from urllib.parse import urlsplit

import structlog

from omega_ai.core.clock import Clock
from omega_ai.core.scheduler import LoopScheduler
from omega_ai.core.websocket.client import ClientProtocol, Opening
from omega_ai.core.websocket.endpoint import CONNECTING, Options, Transport
from omega_ai.core.websocket.handshake import HandshakeError, new_key
from omega_ai.data_feed.exchanges.base import Venue
from omega_ai.data_feed.exchanges.conversation import Patience
from omega_ai.data_feed.exchanges.machine import VenueMachine
from omega_ai.data_feed.exchanges.rest import TradeHistory
from omega_ai.data_feed.exchanges.sequence import Gap
from omega_ai.data_feed.exchanges.trust import Trust
from omega_ai.data_feed.market import MarketEvent, SourceStatus

_CLOSE_TIMEOUT_S = 1.0
_T = TypeVar("_T")

log = structlog.get_logger(__name__)


class VenueSupervisor:
    """Follows one venue until cancelled; see ``machine`` for what it does when.

    ``url`` is a ``ws://`` or ``wss://`` URL; ``rest_url`` (scheme and host) takes the place of the venue's
    own. ``trust`` gives the contexts of ``wss://``; venues that share one read the system's authorities once.
    """

    def __init__(
        self,
        venue: Venue,
        url: str,
        emit: Callable[[MarketEvent], None],
        report: Callable[[SourceStatus], None],
        *,
        clock: Clock,
        rng: random.Random,
        rest_url: str | None = None,
        patience: Patience | None = None,
        trust: Trust | None = None,
    ) -> None:
        self._venue = venue
        self._url = urlsplit(url)
        self._emit = emit
        self._report = report
        self._clock = clock
        self._rng = rng
        self._patience = patience if patience is not None else Patience()
        self._trust = trust if trust is not None else Trust()
        self._history = (
            TradeHistory(venue.name, venue.rest, rest_url or venue.rest.url, clock)
            if venue.rest is not None
            else None
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._connecting: dict[int, asyncio.Task[None]] = {}
        self._lines: dict[int, _Line] = {}
        self._alive: set[_Line] = set()
        self._all_parted: asyncio.Event | None = None
        self.machine: VenueMachine

    async def run(self) -> None:
        """Follow the venue.

        Raises:
            Exception: what ``emit`` or ``report`` raised; nothing that the venue or the network does.
        """
        loop = asyncio.get_running_loop()
        scheduler = LoopScheduler(loop)
        self._broken: asyncio.Future[None] = loop.create_future()
        self._options = Options(
            scheduler=scheduler,
            message_limit=self._venue.limits.max_frame,
            handshake_timeout=self._patience.connect_s,
            close_timeout=_CLOSE_TIMEOUT_S,
            mask_key=lambda: os.urandom(4),
        )
        self.machine = VenueMachine(
            self._venue,
            self,
            self._guarded(self._emit),
            self._guarded(self._report),
            clock=self._clock,
            scheduler=scheduler,
            rng=self._rng,
            patience=self._patience,
        )
        self.machine.start()
        try:
            await self._broken
        finally:
            self.machine.stop()
            await self._end()

    def _guarded(self, consumer: Callable[[_T], None]) -> Callable[[_T], None]:
        """What a consumer raises must end the source, and not be taken for a defect of a connection."""

        def call(item: _T) -> None:
            try:
                consumer(item)
            except Exception as error:
                if not self._broken.done():
                    self._broken.set_exception(error)

        return call

    # Actions: see ``machine.Actions``.

    def connect(self, line: int) -> None:
        """Open a connection."""
        self._connecting[line] = self._start(self._connect(line))

    def send(self, line: int, message: bytes) -> None:
        """Send a text message."""
        if (protocol := self._lines.get(line)) is not None:
            protocol.send_text(message)

    def send_ping(self, line: int) -> None:
        """Send a ping frame."""
        if (protocol := self._lines.get(line)) is not None:
            protocol.ping()

    def close(self, line: int, reason: str) -> None:
        """End a connection, whatever state it is in."""
        log.debug("closing connection", venue=self._venue.name, line=line, reason=reason)
        if (task := self._connecting.pop(line, None)) is not None:
            task.cancel()
        if (protocol := self._lines.pop(line, None)) is not None:
            protocol.leave()

    def fetch(self, gap: Gap) -> None:
        """Ask for the trades of a gap."""
        self._start(self._fetch(gap))

    # What a connection says of itself.

    def joined(self, line: int, protocol: _Line) -> None:
        """Its TCP (and TLS) connection stands."""
        self._lines[line] = protocol
        self._alive.add(protocol)

    def parted(self, line: int, protocol: _Line) -> None:
        """Its TCP connection is over."""
        self._alive.discard(protocol)
        if self._lines.get(line) is protocol:
            del self._lines[line]
        if not self._alive and self._all_parted is not None:
            self._all_parted.set()

    # Tasks

    async def _connect(self, line: int) -> None:
        url = self._url
        host = url.hostname or ""
        secure = url.scheme == "wss"
        port = url.port or (443 if secure else 80)
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        opening = Opening(host=url.netloc.rpartition("@")[2], target=target, key=new_key(os.urandom(16)))
        loop = asyncio.get_running_loop()
        try:
            tls = await self._trust.context(host) if secure else None
            # The engine does not import asyncio, so its protocols do not derive from asyncio's.
            await loop.create_connection(  # type: ignore[type-var]
                lambda: _Line(self, line, self._options, opening),
                host,
                port,
                ssl=tls,
            )
        except (OSError, UnicodeError) as error:
            words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self.machine.lost(line, f"cannot connect to {host}:{port}: {words}")
        finally:
            self._connecting.pop(line, None)

    async def _fetch(self, gap: Gap) -> None:
        trades = await self._history.trades(gap) if self._history is not None else None
        self.machine.filled(trades)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not self._broken.done():
            self._broken.set_exception(error)

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._alive:
            self._all_parted = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_parted.wait(), _CLOSE_TIMEOUT_S)
        for protocol in list(self._alive):
            protocol.abort()
        await asyncio.sleep(0)
        if self._history is not None:
            await self._history.close()


class _Line(ClientProtocol):
    """One connection; everything that it hears goes to the machine."""

    __slots__ = ("_left", "_number", "_owner")

    def __init__(self, owner: VenueSupervisor, number: int, options: Options, opening: Opening) -> None:
        super().__init__(options, opening)
        self._owner = owner
        self._number = number
        self._left = False

    def leave(self) -> None:
        """End it, from our side."""
        self._left = True
        if self.state == CONNECTING:
            self.abort()
        else:
            self.close()

    def connection_made(self, transport: Transport) -> None:
        self._owner.joined(self._number, self)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._owner.parted(self._number, self)

    def on_open(self) -> None:
        self._owner.machine.opened(self._number)

    def on_text(self, data: bytes) -> None:
        if not self._left:
            self._owner.machine.message(self._number, data)

    def on_binary(self, data: bytes) -> None:
        self._owner.machine.binary(self._number, data)

    def on_ping(self, payload: bytes) -> None:  # noqa: ARG002 - the engine's signature
        self._owner.machine.ping(self._number)

    def on_pong(self, payload: bytes) -> None:  # noqa: ARG002 - the engine's signature
        self._owner.machine.pong(self._number)

    def on_refused(self, error: HandshakeError) -> None:
        said = error.body[:100].decode("utf-8", "replace").strip()
        self._owner.machine.lost(self._number, f"{error}: {said}" if said else str(error))

    def on_close(self, code: int, reason: str) -> None:
        self._owner.machine.lost(self._number, f"the venue closed the connection: {code} {reason}".rstrip())

    def on_protocol_error(self, code: int, reason: str) -> None:
        self._owner.machine.lost(self._number, f"the venue broke the protocol: {reason} ({code})")

    def on_disconnected(self) -> None:
        self._owner.machine.lost(self._number, "the connection broke")
