"""A client of another library whose history the test kit judges: it shares no code with the server."""

from __future__ import annotations

import time
from typing import Any, cast

from omega_ai.core.websocket.frames import TEXT
from omega_ai.testkit.connection import Connection
from omega_ai.testkit.context import Context
from omega_ai.testkit.history import Event, Happening, Received, Sent
from omega_ai.testkit.profile import fill
from omega_ai.testkit.stamp import Stamp, read_stamp
from omega_ai.tests.unit.data.websocket.recording import Client, Json, parse


class Witness:
    """Sends stamped broadcasts, and notes all that comes, in the history of ``context``."""

    def __init__(self, client: Client, name: str, context: Context) -> None:
        self.client = client
        self.history = context.history.client(name)
        self._context = context
        self._sent = 0
        for kind in (Happening.OPEN, Happening.SUBSCRIBED):
            self.history.events.append(Event(context.now_ns(), 0, kind, by_us=True))

    def next_number(self) -> int:
        """For the next stamp."""
        self._sent += 1
        return self._sent - 1

    async def publish(self) -> None:
        """Send a stamped message that is to reach all."""
        context = self._context
        number, intended, stamp = context.stamp(cast(Connection, self))
        assert context.profile.publish is not None
        text = fill(context.profile.publish.send, context.values(stamp=stamp))
        self.history.sent.append(Sent(context.now_ns(), intended, 0, TEXT, text, number, published=True))
        await self.client.send(text.decode())

    async def hear(self, count: int) -> list[Json]:
        """Receive until ``count`` stamped messages of this run have come; what else comes is noted too."""
        heard: list[Json] = []
        while len(heard) < count:
            heard += self.note(await self.client.receive_text())
        return heard

    async def hear_the_rest(self) -> list[Json]:
        """What the server had sent before it answered a ping."""
        mark = f"rest-{self.history.number}"
        await self.client.send({"type": "ping", "id": mark})
        rest: list[Json] = []
        while parse(text := await self.client.receive_text()).get("id") != mark:
            rest += self.note(text)
        return rest

    def note(self, text: str) -> list[Any]:
        """Into the history; the message, if it is one of this run's."""
        data = text.encode()
        self.history.receive(Received(self._context.now_ns(), time.time_ns(), 0, TEXT, data))
        stamp = read_stamp(data)
        return [parse(text)] if isinstance(stamp, Stamp) and stamp.run == self._context.history.run else []
