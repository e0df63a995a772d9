"""What all clients of a worker share: the poller, the clock, timers, doors to the server, what is noted."""

from __future__ import annotations

import contextlib
import heapq
import random
import socket
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

from omega_ai.core.client_tls import client_context
from omega_ai.core.clock import SystemClock
from omega_ai.core.websocket.handshake import build_request
from omega_ai.testkit.connection import Address
from omega_ai.testkit.load.detour import HOSTNAME, Detour
from omega_ai.testkit.load.link import Link
from omega_ai.testkit.load.plan import LoadPlan, Role
from omega_ai.testkit.load.poller import Poller
from omega_ai.testkit.load.recorder import Recorder
from omega_ai.testkit.load.stamps import MARK
from omega_ai.testkit.load.wire import IDLE, OPEN
from omega_ai.testkit.load.wording import Wording
from omega_ai.testkit.proxy.address import split_host_port

if TYPE_CHECKING:
    from omega_ai.testkit.load.clients import Client

CLOSE_TIMEOUT_NS: Final = 2_000_000_000
_KEY_PLACE: Final = "AAAAAAAAAAAAAAAAAAAAAA=="
_BIND_ADDRESS_NO_PORT: Final = 24  # ip(7): choose the port at connect, when it is known to whom


@dataclass(frozen=True, slots=True)
class Door:
    """Where a client connects, and what it asks for there."""

    family: int
    address: Any
    tls: ssl.SSLContext | None
    hostname: str
    head: bytes
    tail: bytes

    def request(self, key: bytes) -> bytes:
        """The handshake's request with this Sec-WebSocket-Key."""
        return self.head + key + self.tail


class Room:
    """One worker's."""

    def __init__(self, plan: LoadPlan, part: int, poller: Poller, detour: Detour | None = None) -> None:
        self.plan = plan
        self.detour = detour
        """Where connections go instead of straight to the server."""
        self.part = part
        """Which of all workers of all shards this is."""
        self.parts = plan.workers * plan.shards
        self.poller = poller
        self.recorder = Recorder(round(plan.window_s * 1e9))
        self.links: dict[int, Link] = {}
        """By descriptor."""
        self.rng = random.Random(f"{plan.seed}:load:{part}")
        self.clock = SystemClock()
        self.base = monotonic_ns()
        """``time.monotonic_ns`` at the start; every other time is counted from there."""
        self.utc_base = self.clock.time_ns()
        """Nanoseconds since the Unix epoch at the start: the wall clock is not looked at again."""
        self.run = plan.run
        self.mark = MARK + plan.run.encode("ascii") + b":"
        self.words = Wording(plan.profile, plan.run)
        self.subprotocols = plan.profile.connect.subprotocols
        self.connect_timeout = round(plan.connect_timeout_s * 1e9)
        self.close_timeout = CLOSE_TIMEOUT_NS
        self.socket_flags = getattr(socket, "SOCK_CLOEXEC", 0)
        self.publishers: dict[int, Client] = {}
        """Of this worker, by number."""
        self._publishers = []
        starts = []
        offset = 0
        self.hears = False
        """Somebody listens."""
        for group in plan.groups:
            if group.role is Role.PUBLISH:
                self._publishers.append(range(offset, offset + group.clients))
                starts.append(group.messages_start_s)
            self.hears |= group.role is Role.LISTEN
            offset += group.clients
        self.publish_start = round(min(starts, default=0.0) * 1e9)
        """When the first message is published at the earliest."""
        self.ending = False
        """Nothing more is sent, nobody connects anew."""
        self.settled = False
        """The accounts are closed: how connections end now says nothing."""
        self._doors: dict[bool, list[Door]] = {}
        self._connecting: deque[tuple[int, Link]] = deque()
        self._timers: list[tuple[int, int, Callable[[int], None]]] = []
        self._timer_count = 0
        self._sources = plan.sources

    def mask_key(self) -> bytes:
        """Four random bytes: one key for all frames of a connection, chosen as it opens."""
        return self.rng.randbytes(4)

    # Where to.

    def open_doors(self) -> None:
        """Look up addresses and make TLS contexts, before the clock runs.

        Raises:
            OSError: a name has no address.
            CertificateError: the authority cannot be read.
        """
        profile, plan = self.plan.profile, self.plan
        for listening in (False, True):
            query = profile.connect.query
            if listening and profile.subscribe.query is not None:
                query = profile.subscribe.query
            self._doors[listening] = [
                self._door(Address.of(url, query), place) for place, url in enumerate(plan.urls)
            ]

    def _door(self, address: Address, place: int) -> Door:
        host, port, ca, hostname = address.host, address.port, self.plan.ca, address.host
        if self.detour is not None:
            host, port = split_host_port(self.detour.addresses[place])
            if self.detour.authorities[place] is not None:
                ca, hostname = self.detour.authorities[place], HOSTNAME
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, _, _, _, where = found[0]
        if len(found) > 1:  # "localhost" may mean two addresses, of which the server listens on one
            for one in found:
                with contextlib.suppress(OSError), socket.socket(one[0], socket.SOCK_STREAM) as probe:
                    probe.settimeout(1.0)
                    probe.connect(one[4])
                    family, where = one[0], one[4]
                    break
        context = None
        if address.secure:
            context = client_context(None if ca is None else Path(ca), host=hostname)
        headers = list(self.plan.profile.connect.headers.items())
        if self.plan.token is not None:
            headers.append(("Authorization", f"Bearer {self.plan.token}"))
        request = build_request(
            address.host_header,
            address.target,
            _KEY_PLACE,
            subprotocols=self.subprotocols,
            headers=headers,
        )
        head, _, tail = request.partition(_KEY_PLACE.encode())
        return Door(family, where, context, hostname, head, tail)

    def door(self, client: int, role: Role) -> Door:
        """Of several, each client takes one in turn."""
        doors = self._doors[role is Role.LISTEN]
        return doors[client % len(doors)]

    def source(self, client: int) -> str | None:
        """The address that the client comes from."""
        return self._sources[client % len(self._sources)] if self._sources else None

    def bind(self, sock: socket.socket, source: str) -> None:
        """Come from ``source``, with a port that is chosen when it is known to whom."""
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
        sock.bind((source, 0))

    def publishes(self, client: int) -> bool:
        """Whether the client, of whatever worker or shard, is a publisher."""
        return any(client in numbers for numbers in self._publishers)

    # When.

    def now(self) -> int:
        """Nanoseconds since the start."""
        return monotonic_ns() - self.base

    def at(self, when: int, call: Callable[[int], None]) -> None:
        """``call(now)`` at ``when``."""
        self._timer_count += 1
        heapq.heappush(self._timers, (when, self._timer_count, call))

    def watch_deadline(self, link: Link) -> None:
        """``link.expired`` when ``link.deadline`` has passed, if it is then still the same."""
        deadline = link.deadline

        def look(now: int) -> None:
            if link.deadline == deadline:
                link.expired(now)

        self.at(deadline, look)

    def connecting(self, link: Link) -> None:
        """Watch over its handshakes: all have the same time, so they expire in order."""
        self._connecting.append((link.deadline, link))
        if len(self._connecting) == 1:
            self.at(link.deadline, self._expire)

    def _expire(self, now: int) -> None:
        connecting = self._connecting
        while connecting:
            deadline, link = connecting[0]
            if link.deadline == deadline and link.state < OPEN and link.state != IDLE and deadline > now:
                self.at(deadline, self._expire)
                return
            connecting.popleft()
            if link.deadline == deadline and link.state < OPEN:
                link.expired(now)

    def run_timers(self, now: int) -> None:
        """Do what is due."""
        timers = self._timers
        while timers and timers[0][0] <= now:
            heapq.heappop(timers)[2](now)

    @property
    def next_timer(self) -> int | None:
        """When the next one is due."""
        return self._timers[0][0] if self._timers else None

    def values(self, number: int) -> Mapping[str, object]:
        """What placeholders stand for in texts that are sent once."""
        utc_ns = self.utc_base + self.now()
        return self.words.values(number, utc_ns)
