"""A server that echoes or broadcasts, and misbehaves on demand, counting exactly how often it did."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

from omega_ai.core.scheduler import LoopScheduler
from omega_ai.core.websocket.endpoint import Options
from omega_ai.core.websocket.handshake import Refusal, check_upgrade
from omega_ai.core.websocket.server import ServerProtocol


@dataclass
class Behaviour:
    """What it does wrong, and how often it did. Chances are of one message, at most one fault each."""

    lose: float = 0.0
    double: float = 0.0
    swap: float = 0.0
    corrupt: float = 0.0
    seed: int = 1
    refuse_first: int = 0
    """Handshakes answered with HTTP 503."""
    close_after: int | None = None
    """Messages after which each connection is closed with 1012."""
    garbage: bytes = b""
    """Sent once to everybody, raw, on opening."""
    extra: bytes = b""
    """A text message sent once to everybody, on opening."""

    lost: int = 0
    doubled: int = 0
    swapped: int = 0
    corrupted: int = 0
    messages: int = 0
    connections: int = 0
    paths: list[str] = field(default_factory=list)

    @property
    def any(self) -> float:
        return self.lose + self.double + self.swap + self.corrupt


class Peer(ServerProtocol):
    """One connection."""

    __slots__ = ("held", "site", "taken")

    def __init__(self, options, site):
        super().__init__(options)
        self.site, self.held, self.taken = site, None, 0

    def connection_made(self, transport):
        super().connection_made(transport)
        self.site.peers.add(self)

    def on_request(self, request):
        behaviour = self.site.behaviour
        behaviour.paths.append(request.target)
        if behaviour.refuse_first > 0:
            behaviour.refuse_first -= 1
            raise Refusal(503, "full")
        if "listen" in request.target:
            self.site.listeners.append(self)
        return check_upgrade(request)

    def on_open(self):
        self.site.behaviour.connections += 1
        if self.site.behaviour.garbage:
            self.write(self.site.behaviour.garbage)
        if self.site.behaviour.extra:
            self.send_text(self.site.behaviour.extra)

    def on_text(self, data):
        site = self.site
        site.behaviour.messages += 1
        self.taken += 1
        for peer in list(site.listeners) if site.broadcasts else [self]:
            peer.give(data)
        if site.behaviour.close_after is not None and self.taken >= site.behaviour.close_after:
            self.close(1012, "restart")

    def give(self, data):
        behaviour, rng = self.site.behaviour, self.site.rng
        if self.held is not None:
            self.send_text(data)
            self.send_text(self.held)
            self.held = None
            behaviour.swapped += 1
            return
        chance = rng.random() if behaviour.any else 1.0
        if chance < behaviour.lose:
            behaviour.lost += 1
            return
        chance -= behaviour.lose
        if chance < behaviour.double:
            behaviour.doubled += 1
            self.send_text(data)
        elif chance < behaviour.double + behaviour.swap:
            self.held = data
            return
        elif chance < behaviour.double + behaviour.swap + behaviour.corrupt:
            behaviour.corrupted += 1
            place = rng.randrange(len(data))
            data = data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :]
        self.send_text(data)

    def connection_lost(self, exc):
        super().connection_lost(exc)
        self.site.held += self.held is not None
        self.site.peers.discard(self)
        if self in self.site.listeners:
            self.site.listeners.remove(self)


class Site:
    """The server."""

    def __init__(self, behaviour: Behaviour, broadcasts: bool):
        self.behaviour, self.broadcasts = behaviour, broadcasts
        self.rng = random.Random(behaviour.seed)
        self.listeners: list[Peer] = []
        self.peers: set[Peer] = set()
        self.held = 0
        """Messages held back to be swapped with a next one that never came: lost."""


@asynccontextmanager
async def serving(
    behaviour: Behaviour | None = None, *, broadcasts: bool = False, tls=None
) -> AsyncIterator[tuple[str, Site]]:
    """Run one; gives its URL."""
    site = Site(behaviour or Behaviour(), broadcasts)
    loop = asyncio.get_running_loop()
    options = Options(scheduler=LoopScheduler(loop), close_timeout=1.0)

    server = await loop.create_server(
        lambda: cast(asyncio.BaseProtocol, Peer(options, site)), "127.0.0.1", 0, ssl=tls, backlog=1000
    )
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"{'wss' if tls else 'ws'}://127.0.0.1:{port}/", site
    finally:
        server.close()
        for peer in list(site.peers):
            peer.abort()
        while site.peers:
            await asyncio.sleep(0.01)
        await server.wait_closed()


async def _serve_until_told() -> None:
    """As a process of its own: says where it is, and ends when standard input does."""
    async with serving() as (url, _):
        print(url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve_until_told())
