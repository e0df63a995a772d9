"""One stand-in exchange: a WebSocket server in a venue's dialect, and its REST interface beside it."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Sequence

import structlog
from aiohttp import web
from msgspec import Struct

from omega_ai.core.clock import Clock
from omega_ai.core.scheduler import LoopScheduler
from omega_ai.core.websocket.close import GOING_AWAY, POLICY_VIOLATION
from omega_ai.core.websocket.endpoint import OPEN, Options
from omega_ai.core.websocket.frames import BINARY, TEXT
from omega_ai.core.websocket.handshake import Refusal, Request, Upgrade, check_upgrade
from omega_ai.core.websocket.server import ServerProtocol
from omega_ai.data_feed.exchanges.base import Venue
from omega_ai.data_feed.exchanges.standin.dialects import DIALECTS
from omega_ai.data_feed.exchanges.standin.faults import Fault, Kind
from omega_ai.data_feed.exchanges.standin.market import Market
from omega_ai.data_feed.market import MarketEvent, Quote, Trade

_STEP_S = 0.01
_LARGE = 5_000_000
_DELAYED = 10_000
_RECONNECT_AFTER_S = 2.0

log = structlog.get_logger(__name__)


class Pace(Struct, frozen=True):
    """``scale`` shortens the venue's own times (heartbeats, pings, cut-offs): 0.1 makes them ten times as
    quick."""

    scale: float = 1.0


class StandIn:
    """Runs between ``start`` and ``close``. ``faults`` lists what it does wrong when; ``misbehave`` adds to
    it."""

    def __init__(
        self,
        venue: Venue,
        market: Market,
        *,
        clock: Clock,
        rng: random.Random,
        faults: Sequence[Fault] = (),
        pace: Pace | None = None,
    ) -> None:
        self.venue = venue
        self.market = market
        self.pace = pace if pace is not None else Pace()
        self.dialect = DIALECTS[venue.name]
        self._clock = clock
        self._rng = rng
        self._faults = deque(sorted(faults, key=lambda fault: fault.start_s))
        self._active: dict[Kind, float] = {}
        self._clients: set[_Client] = set()
        self._server: asyncio.Server | None = None
        self._runner: web.AppRunner | None = None
        self._task: asyncio.Task[None] | None = None
        self._address = ("127.0.0.1", 0)
        self.started = 0.0
        """When it began (monotonic seconds)."""
        self._connects: deque[float] = deque()
        self._next_beat = self._next_ping = self._next_volume = 0.0
        self.rest_port = 0
        self.spoke_at = 0.0
        """When data was last sent to anybody (monotonic seconds)."""
        self.violations: list[str] = []
        """What clients did that the real venue would not stand."""
        self.connections = 0
        """How many there were so far."""
        self.misbehaved: dict[Kind, int] = {}
        """How often each fault has begun."""

    @property
    def port(self) -> int:
        """Where it listens for WebSocket connections."""
        return self._address[1]

    @property
    def url(self) -> str:
        """Its WebSocket address."""
        return f"ws://{self._address[0]}:{self._address[1]}/"

    @property
    def rest_url(self) -> str:
        """Where its REST interface is."""
        return f"http://{self._address[0]}:{self.rest_port}"

    async def start(self, host: str = "127.0.0.1", port: int = 0, rest_port: int = 0) -> None:
        """Listen; port 0 takes a free one.

        Raises:
            OSError: the port is taken, or not ours to take.
        """
        self._address = (host, port)
        loop = asyncio.get_running_loop()
        self._options = Options(scheduler=LoopScheduler(loop), close_timeout=1.0)
        await self._listen()
        app = web.Application()
        app.router.add_get("/{path:.*}", self._rest)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, rest_port)
        await site.start()
        self.rest_port = self._runner.addresses[0][1]
        self.started = self.spoke_at = self._clock.monotonic()
        self._task = loop.create_task(self._run())

    async def close(self) -> None:
        """End every connection and listen no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._drop()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        if self._runner is not None:
            await self._runner.cleanup()
        await asyncio.sleep(0)

    def misbehave(self, kind: Kind, duration_s: float) -> None:
        """Do it from now on for ``duration_s``."""
        self._begin(Fault(kind, 0.0, duration_s), self._clock.monotonic())

    def active(self, kind: Kind) -> bool:
        """Whether it is being done now."""
        return kind in self._active

    # Time

    async def _run(self) -> None:
        while True:
            await self._step(self._clock.monotonic())
            await asyncio.sleep(_STEP_S)

    async def _step(self, now: float) -> None:
        while self._faults and now - self.started >= self._faults[0].start_s:
            self._begin(self._faults.popleft(), now)
        for kind, until in list(self._active.items()):
            if now >= until:
                del self._active[kind]
                if kind == "clock":
                    self.market.shift_ns = 0
                if kind == "reconnect":
                    for client in list(self._clients):
                        if client.asked_to_leave:
                            client.close(GOING_AWAY, "as announced")
        if self.active("restart") and self._server is not None:
            self._server.close()
            self._server = None
            self._drop()
        elif not self.active("restart") and self._server is None:
            await self._listen()
        for client in list(self._clients):
            client.check(now)
        if not self.market.waits or any(client.dialect.follows_trades for client in self._clients):
            self.market.waits = False
            for event in self.market.until(self._clock.time_ns()):
                self._publish(event)
        self._beat(now)

    def _begin(self, fault: Fault, now: float) -> None:
        kind = fault.kind
        self.misbehaved[kind] = self.misbehaved.get(kind, 0) + 1
        self._active[kind] = now + fault.duration_s
        log.debug("misbehaving", venue=self.venue.name, kind=kind, duration_s=round(fault.duration_s, 2))
        if kind in ("refuse", "refuse_sub", "deaf", "abort"):
            self._drop()
        elif kind == "close":
            for client in list(self._clients):
                client.close(GOING_AWAY, "maintenance")
        elif kind == "clock":
            self.market.shift_ns = 3600 * 1_000_000_000
        elif kind == "large":
            for client in list(self._clients):
                client.say(client.dialect.large(_LARGE))
        elif kind == "reconnect":
            self._active[kind] = now + max(fault.duration_s, _RECONNECT_AFTER_S)
            for client in list(self._clients):
                request = client.dialect.reconnect_request()
                if request is not None:
                    client.asked_to_leave = True
                    client.say(request)

    def _beat(self, now: float) -> None:
        scale = self.pace.scale
        if self.dialect.heartbeat_s is not None and now >= self._next_beat:
            self._next_beat = now + self.dialect.heartbeat_s * scale
            for client in list(self._clients):
                client.say(client.dialect.heartbeat(self._clock.time_ns()))
        if self.dialect.ping_frame_s is not None and now >= self._next_ping:
            self._next_ping = now + self.dialect.ping_frame_s * scale
            if not self.active("silent"):
                for client in list(self._clients):
                    client.ping(b"1")

    # What happens

    def _publish(self, event: MarketEvent) -> None:
        for client in list(self._clients):
            dialect = client.dialect
            message: bytes | None
            if isinstance(event, Trade):
                message = dialect.trade(event)
            elif isinstance(event, Quote):
                message = dialect.quote(event)
            else:
                message = dialect.volume()
            if message is None:
                continue
            if self.active("jump") and self._numbered(event):
                continue  # written, numbered, and lost
            if not self.active("silent") and not self.active("stall"):
                self.spoke_at = self._clock.monotonic()
            client.say(message, data=True)
            if self.active("garbage") and self._rng.random() < 0.3:
                client.rave(message, self._rng)

    def _numbered(self, event: MarketEvent) -> bool:
        """Whether the venue numbers such messages: what is not numbered, nobody could find missing."""
        if isinstance(event, Trade):
            return self.venue.trade_ids == "consecutive"
        return isinstance(event, Quote) and self.venue.name in ("coinbase", "bybit")

    def now(self) -> float:
        """Monotonic seconds."""
        return self._clock.monotonic()

    def joined(self, client: _Client) -> None:
        """A connection stands."""
        self._clients.add(client)
        self.connections += 1

    def parted(self, client: _Client) -> None:
        """A connection is over."""
        self._clients.discard(client)

    def admit(self) -> None:
        """May one more connect?

        Raises:
            Refusal: not now.
        """
        if self.active("refuse"):
            raise Refusal(503, "down for maintenance")
        now = self._clock.monotonic()
        limits = self.venue.limits
        while self._connects and now - self._connects[0] > limits.connect_window_s:
            self._connects.popleft()
        self._connects.append(now)
        if len(self._connects) > limits.connects:
            self.violations.append(f"{len(self._connects)} connections in {limits.connect_window_s:g} s")
            raise Refusal(429, "too many connections")

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        # The engine does not import asyncio, so its protocols do not derive from asyncio's.
        factory = lambda: _Client(self, self._options)  # noqa: E731
        self._server = await loop.create_server(factory, *self._address)  # type: ignore[arg-type]
        self._address = (self._address[0], self._server.sockets[0].getsockname()[1])

    def _drop(self) -> None:
        for client in list(self._clients):
            client.abort()
        self._clients.clear()  # not written to any more

    async def _rest(self, request: web.Request) -> web.Response:
        if self.active("refuse") or self.active("restart"):
            return web.Response(status=503, headers={"Retry-After": "1"})
        body = self.dialect.rest(self.market, request.path, request.query)
        if body is None:
            return web.Response(status=404)
        return web.Response(body=body, content_type="application/json")


class _Client(ServerProtocol):
    """One connection of somebody who takes us for the venue."""

    __slots__ = ("_delayed", "_heard", "_messages", "_owner", "_since", "asked_to_leave", "dialect")

    def __init__(self, owner: StandIn, options: Options) -> None:
        super().__init__(options)
        self._owner = owner
        self.dialect = owner.dialect(owner.market)
        self.asked_to_leave = False
        self._since = self._heard = 0.0
        self._messages: deque[float] = deque()
        self._delayed: deque[bytes] = deque()

    def on_request(self, request: Request) -> Upgrade:
        """Admit or refuse."""
        self._owner.admit()
        return check_upgrade(request, compression=False)

    def on_open(self) -> None:
        """Greet."""
        self._since = self._heard = self._owner.now()
        self._owner.joined(self)
        for message in self.dialect.opened():
            self.say(message)

    def on_text(self, data: bytes) -> None:
        """Answer, and count what the venue counts."""
        owner = self._owner
        now = self._heard = owner.now()
        self._messages.append(now)
        while now - self._messages[0] > 1.0:
            self._messages.popleft()
        if len(self._messages) > owner.venue.limits.messages_per_s + 1:
            owner.violations.append(f"{len(self._messages)} messages in a second")
            self.close(POLICY_VIOLATION, "too many requests")
            return
        self.dialect.refuse_subscriptions = owner.active("refuse_sub")
        if owner.active("deaf"):
            return
        for answer in self.dialect.receive(data):
            self.say(answer)

    def on_disconnected(self) -> None:
        """Gone."""
        self._owner.parted(self)

    def say(self, message: bytes | None, *, data: bool = False) -> None:
        """Send; later, if silence or a stall is what we do now; twice, if that is it."""
        if message is None or self.state != OPEN:
            return
        owner = self._owner
        if owner.active("silent") or (data and owner.active("stall")):
            if len(self._delayed) < _DELAYED:
                self._delayed.append(message)
            return
        self.send_frame(TEXT, message)
        if owner.active("double"):
            self.send_frame(TEXT, message)

    def rave(self, message: bytes, rng: random.Random) -> None:
        """Send something that is not what the venue documents, made of something that is."""
        if self.state != OPEN:
            return
        match rng.randrange(12):
            case 0:
                self.send_frame(BINARY, rng.randbytes(20))
            case 1:
                self.send_frame(TEXT, b"\xff\xfe")  # not UTF-8: the connection fails, as it must
            case 2:
                self.send_frame(TEXT, message[: rng.randrange(len(message))])
            case 3:
                self.send_frame(TEXT, b"[" * 5000)
            case 4:
                self.send_frame(TEXT, rng.choice((b"", b"null", b"{}", b"[]", b"0", b'"x"')))
            case _:
                # Digits become letters: never a valid trade of other contents, which nobody could detect.
                at = rng.randrange(len(message))
                broken = bytearray(message)
                broken[at : at + 1] = rng.choice((b"\x7f", b"{", b"]", b'"', b"\\"))
                self.send_frame(TEXT, bytes(broken))

    def check(self, now: float) -> None:
        """Cut off who does not keep the venue's times."""
        dialect, scale = self.dialect, self._owner.pace.scale
        if not self._owner.active("silent") and not self._owner.active("stall"):
            while self._delayed:
                self.send_frame(TEXT, self._delayed.popleft())
                self._owner.spoke_at = now
        if (
            dialect.subscribe_within_s is not None
            and not dialect.subscribed
            and not dialect.refuse_subscriptions
        ):
            late = now - self._since > max(dialect.subscribe_within_s * scale, 1.0)
            if late and not self._owner.active("deaf"):
                self._owner.violations.append("no subscription in time")
                self.close(POLICY_VIOLATION, "subscribe first")
        if dialect.idle_s is not None and now - self._heard > dialect.idle_s * scale:
            self._owner.violations.append("idle")
            self.close(POLICY_VIOLATION, "idle")
