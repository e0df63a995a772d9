"""A client as a good one is: it notices a dead connection, backs off, comes back, asks for what it missed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Final

from omega_ai.testkit.case import CaseEnded
from omega_ai.testkit.connection import ConnectFailed, Connection, is_data
from omega_ai.testkit.context import Context
from omega_ai.testkit.history import NOT_RECOVERED, RECOVERED, Happening
from omega_ai.testkit.profile import field_of, fill
from omega_ai.testkit.reading import Position, understand

PING_EVERY_S: Final = 0.5
CONNECT_WITHIN_S: Final = 3.0


class Backoff:
    """Full jitter: up to 0.1 s, 0.2 s, ... 1 s; short, since an experiment is."""

    def __init__(self, rng: random.Random, first_s: float = 0.1, longest_s: float = 1.0) -> None:
        self._rng = rng
        self._first = first_s
        self._longest = longest_s
        self._failures = 0

    def next_s(self) -> float:
        """How long to wait before the next attempt."""
        ceiling = min(self._longest, self._first * 2 ** min(self._failures, 20))
        self._failures += 1
        return self._rng.uniform(0.02, ceiling)

    def reset(self) -> None:
        """It went well."""
        self._failures = 0


class NoBackoff(Backoff):
    """What the zoo has for a client: again, and at once."""

    def next_s(self) -> float:
        """See the class."""
        return 0.004


class Visitor:
    """One client through the proxy, over all its connections."""

    def __init__(
        self,
        context: Context,
        name: str,
        url: Callable[[], str],
        *,
        listens: bool,
        patience_s: float,
        backoff: Backoff,
    ) -> None:
        self.context = context
        self.name = name
        self.connection: Connection | None = None
        self.attempts: list[float] = []
        """When it tried to connect, by the clock."""
        self.ready = False
        """It has a connection, and is served on it."""
        self._url = url
        self._listens = listens
        self._patience_s = patience_s
        self._backoff = backoff
        self._looked_at = 0
        self._position: Position | None = None
        self._stopping = False

    async def run(self) -> None:
        """Until it is told to leave."""
        while not self._stopping:
            self.attempts.append(self.context.clock.monotonic())
            try:
                self.connection = await self._arrive()
                self.ready = True
                await self._stay(self.connection)
            except (ConnectFailed, CaseEnded):
                pass  # what was seen is in the history; it is tried again
            finally:
                self.ready = False
            if self.connection is not None and not self.connection.over:
                self.connection.abort()
            if not self._stopping:
                await asyncio.sleep(self._backoff.next_s())

    def leave(self) -> None:
        """Come back no more."""
        self._stopping = True

    async def _arrive(self) -> Connection:
        context, resume = self.context, self.context.profile.resume
        position = self._last_position()
        options = {"url": self._url(), "within": CONNECT_WITHIN_S, "must": False}
        if not self._listens:
            return await context.connect(self.name, **options)  # type: ignore[arg-type]
        if resume is None or position is None:
            return await context.connect(self.name, listen=True, **options)  # type: ignore[arg-type]
        connection = await context.connect(self.name, **options)  # type: ignore[arg-type]
        self.connection = connection
        epoch, sequence = position.epoch, position.sequence
        values = context.values(epoch=epoch, sequence=sequence, stream=position.stream)
        connection.send(fill(resume.send, values))
        answer = await context.receive_match(connection, resume.answer, CONNECT_WITHIN_S)
        if answer is None:
            connection.abort()
            raise ConnectFailed("resume", "no answer to the wish to resume")
        recovered = resume.recovered is None or field_of(answer, resume.recovered) is True
        connection.event(Happening.SUBSCRIBED, RECOVERED if recovered else NOT_RECOVERED, by_us=True)
        return connection

    async def _stay(self, connection: Connection) -> None:
        number = 0
        while connection.open and not self._stopping:
            number += 1
            pong = await connection.ping(b"%d" % number, self._patience_s)
            if connection.over:
                return
            if pong is None:
                connection.event(Happening.NOTE, "nothing came any more: taken for dead", by_us=True)
                connection.abort()
                return
            self._backoff.reset()
            await connection.wait_ended(PING_EVERY_S)

    def _last_position(self) -> Position | None:
        """The newest place in the stream that can be resumed."""
        profile = self.context.profile
        if profile.resume is None:
            return None
        client = self.context.history.client(self.name)
        while self._looked_at < len(client.received):
            index = self._looked_at
            self._looked_at += 1
            item = client.received[index]
            seen = (
                understand(self.name, index, item, self.context.history.run, profile)
                if is_data(item)
                else None
            )
            if seen is not None and seen.position is not None:
                at = seen.position
                if at.stream == profile.resume.stream and self._newer(at):
                    self._position = at
        return self._position

    def _newer(self, at: Position) -> bool:
        known = self._position
        return known is None or known.epoch != at.epoch or at.sequence > known.sequence
