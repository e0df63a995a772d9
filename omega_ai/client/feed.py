"""The feed as a program uses it: one object that outlives its connections."""

# ruff: noqa: ASYNC109 - the time-out is a part of the calls, as it is in their synchronous twins

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from types import TracebackType
from typing import Any, Unpack

from omega_ai.client import messages as wire
from omega_ai.client.connection import Url
from omega_ai.client.errors import FeedClosed, MessagesLost
from omega_ai.client.events import Gap, NotRecovered, Position
from omega_ai.client.link import Item, Link
from omega_ai.client.messages import Mode
from omega_ai.client.settings import ClientSettings, Options
from omega_ai.core.timestamps import format_utc


class Feed:
    """A subscription that heals itself. Make one with ``connect``; use it in one event loop.

    Iterate over it for messages. What sends waits for the connection if there is none at the moment.
    """

    def __init__(self, url: str, settings: ClientSettings) -> None:
        self._link = Link(Url(url), settings)
        self._clock = settings.clock
        self._events = settings.events

    # Life

    async def start(self) -> None:
        """Connect and subscribe; returns when every subscription is confirmed. ``async with`` does it.

        Raises:
            ConnectError, ConnectionClosed: no success within ``start_timeout`` (0: at the first attempt).
            RequestFailed: the server refuses a channel.
        """
        await self._link.start()

    async def aclose(self) -> None:
        """Close the connection, within ``close_timeout``, and let go of everything. May be called twice."""
        await self._link.close()

    async def __aenter__(self) -> Feed:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def connected(self) -> bool:
        """Whether a connection stands at this moment."""
        return self._link.connection is not None

    @property
    def channels(self) -> tuple[str, ...]:
        """What is subscribed to."""
        return self._link.conversation.channels

    def position(self, channel: str) -> Position | None:
        """The last position of a channel that has come; to resume in another run (``since=``), see ``docs``.

        It counts what waits in the queue: keep the ``epoch`` and ``seq`` of the last message that was dealt
        with if none may be skipped.
        """
        return self._link.conversation.position(channel)

    # Receiving

    def __aiter__(self) -> Feed:
        return self

    async def __anext__(self) -> Any:
        """The next message (with ``events``: or event), in order.

        Raises:
            MessagesLost: a ``mode: all`` channel has a hole (without ``events``); the next call goes on
                after it. ClientError: the feed has ended and does not come back.
        """
        items = await self._link.next_items(1)
        if not items:
            raise StopAsyncIteration
        item = items[0]
        if not self._events and isinstance(item, Gap | NotRecovered):
            raise MessagesLost(item)
        return item

    async def receive(self, timeout: float | None = None) -> Any:
        """One message, as iteration gives it; ``TimeoutError`` if none comes within ``timeout`` seconds."""
        async with asyncio.timeout(timeout):
            try:
                return await anext(self)
            except StopAsyncIteration:
                raise FeedClosed("the feed was closed") from None

    async def take(self, limit: int, timeout: float | None = None) -> list[Item]:
        """Up to ``limit`` items at once, holes among them as events; none when the feed was closed.

        Raises:
            TimeoutError: nothing came within ``timeout`` seconds.
        """
        async with asyncio.timeout(timeout):
            return await self._link.next_items(limit)

    # Sending

    async def send(self, message: Mapping[str, Any], *, timeout: float | None = None) -> None:
        """Send a message; waits for a connection, and for the kernel to take it.

        An error that the server answers comes as an ``ErrorMessage`` among the messages. JSON has no NaN and
        no infinities: as floats they become null.

        Raises:
            RequestTimeout: no connection, or a full one, for ``timeout`` seconds (``request_timeout``).
            TypeError, ValueError: a value that JSON cannot hold.
        """
        await self._link.transmit([wire.encode(message)], timeout)

    async def request(self, message: Mapping[str, Any], *, timeout: float | None = None) -> Any:
        """Send a message and wait for the answer with its ``id`` (one is given if there is none).

        Raises:
            RequestFailed: the server answered with an error.
            RequestTimeout, ConnectionLost: no answer; the outcome is unknown.
        """
        request_id = message.get("id")
        if request_id is None:
            request_id = self._link.conversation.new_id()
            message = {**message, "id": request_id}
        return await self._link.exchange([wire.encode(message)], [request_id], timeout)

    async def ping(self, *, timeout: float | None = None) -> float:
        """Round trip of a message in seconds."""
        start = self._clock.monotonic()
        await self.request({"type": "ping"}, timeout=timeout)
        return self._clock.monotonic() - start

    async def history(
        self, channel: str, *, since: tuple[str, int] | None = None, limit: int | None = None
    ) -> wire.History:
        """Past messages, oldest first: everything after ``since``, or the newest ``limit``.

        Raises:
            RequestFailed: ``unrecoverable_position`` if ``since`` is older than what is kept.
        """
        message: dict[str, Any] = {"type": "history", "channel": channel}
        if since is not None:
            message["since"] = {"epoch": since[0], "seq": since[1]}
        if limit is not None:
            message["limit"] = limit
        reply: wire.History = await self.request(message)
        return reply

    async def authenticate(self, token: str) -> wire.Authenticated:
        """Present a token on the present connection; a ``token=`` of ``connect`` does it on each.

        Raises:
            RequestFailed: ``unauthorized``.
        """
        reply: wire.Authenticated = await self.request({"type": "auth", "token": token})
        return reply

    async def subscribe(self, *channels: str, mode: Mode = "all", interval_ms: int = 0) -> None:
        """Add channels, or change how they come; returns when the server has confirmed them.

        Raises:
            RequestFailed: the server refuses a channel; none of ``channels`` is then subscribed to.
        """
        conversation = self._link.conversation
        self._check_open()
        conversation.subscribe(channels, mode, interval_ms)
        if not conversation.settled:
            await self._link.joined(frozenset(channels), None)

    async def unsubscribe(self, *channels: str) -> None:
        """Give channels up: no message of theirs comes once this has returned."""
        self._check_open()
        self._link.conversation.unsubscribe(channels)
        self._link.drop(frozenset(channels))

    async def publish_price(
        self,
        price: Decimal | int | str,
        volume: Decimal | int | str,
        *,
        timestamp: str | None = None,
        symbol: str = "BTC-USD",
        timeout: float | None = None,
    ) -> None:
        """Publish a price to all; returns when the server has accepted it. ``timestamp`` defaults to now.

        Raises:
            ValueError: ``price`` or ``volume`` is no finite number.
            RequestFailed: not allowed (``forbidden``), or a value out of bounds.
            RequestTimeout, ConnectionLost: no answer; whether it was published is unknown.
        """
        numbers = {"price": Decimal(price), "volume": Decimal(volume)}
        for name, number in numbers.items():
            if not number.is_finite():
                raise ValueError(f"{name} must be a finite number, not {number}")
        message = {
            "type": "btc_price",
            "symbol": symbol,
            **numbers,
            "timestamp": timestamp or format_utc(self._clock.time_ns()),
        }
        await self._publish(message, timeout)

    async def broadcast(self, fields: Mapping[str, Any], *, timeout: float | None = None) -> None:
        """Send ``fields``, with an ``id``, to all subscribers of ``broadcast``; see ``publish_price``."""
        message = {"timestamp": format_utc(self._clock.time_ns()), **fields, "type": "broadcast"}
        await self._publish(message, timeout)

    async def _publish(self, message: Mapping[str, Any], timeout: float | None) -> None:
        """The server answers a publication only to refuse it, but answers in order: a ``pong`` is the yes."""
        new_id = self._link.conversation.new_id
        own = message.get("id") or f"p{new_id()}"
        ping = f"a{new_id()}"
        texts = [wire.encode({**message, "id": own}), wire.encode({"type": "ping", "id": ping})]
        await self._link.exchange(texts, [own, ping], timeout)

    def _check_open(self) -> None:
        if self._link.failure is not None:
            raise self._link.failure


def connect(url: str = "ws://localhost:8765", **options: Unpack[Options]) -> Feed:
    """A feed at ``url``, to be used as ``async with connect(...) as feed: async for message in feed: ...``.

    ``options`` are explained in ``ClientSettings``; the most used are ``channels``, ``mode``, ``token`` and
    ``events``.

    Raises:
        ValueError: the URL or an option is wrong.
    """
    return Feed(url, ClientSettings(**options))
