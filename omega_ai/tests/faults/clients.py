"""Many clients in one process, on the WebSocket engine alone: no client library's own care hides a fault."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import random
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from omega_ai.core.scheduler import LoopScheduler
from omega_ai.core.websocket.client import ClientProtocol, Opening
from omega_ai.core.websocket.endpoint import OPEN, Options
from omega_ai.core.websocket.handshake import HandshakeError, new_key
from omega_ai.tests.faults.record import Place, Witness

CHANNELS = (b"trades", b"btc_price", b"broadcast")

_HEAD = re.compile(rb'\{"type":"([a-z_]+)"(?:,"epoch":"([^"]*)","seq":(\d+))?')


class _Connection(ClientProtocol):
    __slots__ = ("_client",)

    def __init__(self, options: Options, opening: Opening, client: Client) -> None:
        super().__init__(options, opening)
        self._client = client

    def on_open(self) -> None:
        self._client.opened(self)

    def on_text(self, data: bytes) -> None:
        self._client.received(data)

    def on_refused(self, error: HandshakeError) -> None:
        self._client.lost(self)

    def on_disconnected(self) -> None:
        self._client.lost(self)


class Client:
    """Connects to one address after the other, resumes, and tells its witness all that it sees.

    Args:
        witness: checks what comes.
        addresses: host and port of every server; changes are seen at the next attempt.
        rng: spreads its attempts and chooses servers.
        publishes: if not 0, it broadcasts as well, numbered from there.
    """

    def __init__(
        self, witness: Witness, addresses: Sequence[str], rng: random.Random, *, publishes: int = 0
    ) -> None:
        self.witness = witness
        self._addresses = addresses
        self._rng = rng
        self._publishes = publishes
        self._sent = 0
        self._number = publishes
        self._options = Options(
            scheduler=LoopScheduler(asyncio.get_running_loop()), mask_key=lambda: os.urandom(4)
        )
        self._connection: _Connection | None = None
        self._gone = asyncio.Event()
        self.connects = 0

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                self._gone.clear()
                address = urlsplit(self._rng.choice(self._addresses))
                host = f"{address.hostname}:{address.port}"
                opening = Opening(host=host, target="/?channels=", key=new_key(os.urandom(16)))
                try:
                    await self._connect(address.hostname or "", address.port or 0, opening)
                    while not self._gone.is_set():
                        try:
                            async with asyncio.timeout(0.3 if self._publishes else None):
                                await self._gone.wait()
                        except TimeoutError:
                            self._broadcast()
                except OSError:
                    pass
                await asyncio.sleep(self._rng.uniform(0.02, 0.6))
        finally:
            self.cut()

    async def _connect(self, host: str, port: int, opening: Opening) -> None:
        # asyncio's types want its own Protocol; what is called is the same.
        factory: Any = functools.partial(_Connection, self._options, opening, self)
        await asyncio.get_running_loop().create_connection(factory, host, port)

    @property
    def connected(self) -> bool:
        """Whether a connection stands."""
        return self._connection is not None

    def opened(self, connection: _Connection) -> None:
        """Ask for all channels from where each was left."""
        self._connection = connection
        self.connects += 1
        self.resume()

    def resume(self) -> None:
        """Subscribe (again): both are legal at any moment."""
        connection = self._connection
        if connection is None or connection.state != OPEN:
            return
        self._sent += 1
        since = {name: {"epoch": p.epoch.decode(), "seq": p.seq} for name, p in self._since().items()}
        names = [name.decode() for name in CHANNELS]
        request = {"type": "subscribe", "id": self._sent, "channels": names, "since": since}
        for name in CHANNELS:
            self.witness.asked(name, self._sent)
        connection.send_text(json.dumps(request).encode())

    def received(self, data: bytes) -> None:
        """A message."""
        found = _HEAD.match(data)
        if found is None:
            self.witness.complain(data[:300])
            return
        kind, epoch, seq = found.groups()
        if epoch is not None and kind in CHANNELS:
            self.witness.message(kind, Place(epoch, int(seq)), data)
        elif kind == b"subscribed":
            said = json.loads(data)
            top = Place(said["epoch"].encode(), said["seq"])
            self.witness.subscribed(said["channel"].encode(), said.get("id"), top, said["recovered"])
        elif kind == b"error":
            if b'"temporary":true' not in data:
                self.witness.complain(data[:300])
            self.cut()  # what was asked for is not given now: come again

    def lost(self, connection: _Connection) -> None:
        """The connection is over, or never was."""
        if self._connection in (connection, None):
            self._connection = None
            self.witness.disconnected()
            self._gone.set()

    def quiet(self) -> None:
        """Publish nothing more."""
        self._publishes = 0

    def cut(self) -> None:
        """Cut the connection without a word."""
        if self._connection is not None:
            self._connection.abort()

    def pause(self, seconds: float) -> None:
        """Stop reading for a while: what TCP cannot hold waits at the server."""
        connection = self._connection
        if connection is None or connection.state != OPEN:
            return
        transport = connection.transport
        transport.pause_reading()

        def go_on() -> None:
            if not transport.is_closing():
                transport.resume_reading()

        asyncio.get_running_loop().call_later(seconds, go_on)

    def _since(self) -> dict[str, Place]:
        return {name.decode(): place for name, place in self.witness.since().items()}

    def _broadcast(self) -> None:
        connection = self._connection
        if connection is not None and connection.state == OPEN:
            self._number += 1
            text = b'{"type":"broadcast","timestamp":"2026-01-01T00:00:00Z","n":%d}' % self._number
            connection.send_text(text)
