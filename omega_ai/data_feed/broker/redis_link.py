"""Keeps one connection to Redis open: opens it, watches it, opens it again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from omega_ai.data_feed.broker.base import BrokerError, BrokerUnreachable
from omega_ai.data_feed.broker.redis_connection import RedisConnection, explain, open_connection
from omega_ai.data_feed.broker.redis_place import Place

_FIRST_DELAY = 0.05
_LONGEST_DELAY = 2.0
_FIND_SECONDS = 1.0
"""How long a sentinel or a node may take to tell where the primary is, before another is asked."""


class Link:
    """One connection, again and again.

    Args:
        place: finds the server, anew for each connection.
        name: how it shows in ``CLIENT LIST``.
        timeout: seconds for connecting, and for an answer before the connection is given up.
        rng: spreads the attempts of many processes.
        greet: called with each new connection before it is used; may raise what refuses it.
        up: called when it may be used.
        down: called when it ended, with the reason for people.
        on_push: gets what arrives after SUBSCRIBE.
        follow: look now and then whether the server is still the right one, and leave it when it is not.
    """

    def __init__(
        self,
        place: Place,
        *,
        name: str,
        timeout: float,
        rng: random.Random,
        up: Callable[[RedisConnection], None],
        down: Callable[[str], None],
        greet: Callable[[RedisConnection], Any] | None = None,
        on_push: Callable[[list[Any]], None] | None = None,
        follow: bool = False,
    ) -> None:
        self._place = place
        self._follow = follow
        self._name = name
        self._timeout = timeout
        self._rng = rng
        self._greet = greet
        self._up = up
        self._down = down
        self._on_push = on_push
        self._task: asyncio.Task[None] | None = None
        self.connection: RedisConnection | None = None
        """The present one, or None while there is none."""
        self.reconnects = 0
        """Times it was opened again."""

    async def start(self) -> None:
        """Connect for the first time, then keep connected.

        Raises:
            BrokerUnreachable: the first attempt failed, and why.
        """
        connection = await self._open()
        self._task = asyncio.get_running_loop().create_task(self._keep(connection))

    async def close(self) -> None:
        """Disconnect and stay so."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self.connection is not None:
            connection, self.connection = self.connection, None
            await connection.close()

    async def _open(self) -> RedisConnection:
        address = await self._place.find(min(self._timeout, _FIND_SECONDS))
        connection = await open_connection(
            address, timeout=self._timeout, name=self._name, on_push=self._on_push
        )
        try:
            if self._greet is not None:
                async with asyncio.timeout(self._timeout):
                    await self._greet(connection)
        except BaseException as error:
            connection.abort()
            if isinstance(error, TimeoutError):
                raise BrokerUnreachable(explain(error, address, self._timeout)) from error
            raise
        self.connection = connection
        self._up(connection)
        return connection

    async def _keep(self, connection: RedisConnection) -> None:
        delay = _FIRST_DELAY
        while True:
            await self._watch(connection)
            self.connection = None
            self._down(f"the connection to Redis at {self._place.address} was lost; trying again")
            while True:
                # Full jitter: after a restart of Redis not every process comes at the same moment.
                await asyncio.sleep(self._rng.uniform(0, delay))
                try:
                    connection = await self._open()
                except BrokerError as error:
                    self._down(str(error))
                    delay = min(delay * 2, _LONGEST_DELAY)
                else:
                    delay = _FIRST_DELAY
                    self.reconnects += 1
                    break

    async def _watch(self, connection: RedisConnection) -> None:
        """Return when the connection has ended; end it when it is silent though asked."""
        step = self._timeout / 2
        while True:
            # Not wait_for: in Python 3.11 it swallows a cancellation that comes with the future's end.
            await asyncio.wait([connection.lost], timeout=step)
            if connection.lost.done():
                return
            dead = connection.waited() > self._timeout or connection.silent() > 2.5 * step
            if dead or (self._follow and await self._place.moved(connection.address, _FIND_SECONDS)):
                connection.abort()
            elif self._on_push is not None:
                connection.write("PING")
            elif connection.waited() == 0.0:
                connection.pipeline([("PING",)], lambda _: None)
