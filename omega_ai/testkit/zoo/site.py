"""The right server of the zoo: echo, a numbered broadcast that can be resumed, and a price feed.

Every step that a fault can change is a method of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections.abc import Callable
from importlib import resources
from typing import Any, ClassVar, Final, cast

import msgspec

from omega_ai.core.clock import Clock, SystemClock
from omega_ai.core.scheduler import LoopScheduler
from omega_ai.core.timestamps import format_utc
from omega_ai.core.websocket.deflate import MIN_WINDOW_BITS, compress_once
from omega_ai.core.websocket.endpoint import Options
from omega_ai.core.websocket.frames import BINARY, TEXT
from omega_ai.core.websocket.handshake import Refusal, Request, Upgrade, check_upgrade
from omega_ai.core.websocket.server import ServerProtocol
from omega_ai.testkit.profile import Profile, load_profile, parse_profile
from omega_ai.testkit.zoo.showing import Responder, Showing

HISTORY: Final = 5000
PRICE_INTERVAL_S: Final = 0.02
MESSAGE_LIMIT: Final = 1 << 20
BACKLOG_LIMIT: Final = 4 << 20
"""Bytes that wait for one slow visitor before it is dropped."""
TOKEN: Final = "right-token"  # noqa: S105 - of a server for tests

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Visitor(ServerProtocol):
    """One client's connection."""

    def __init__(self, site: Site) -> None:
        super().__init__(site.options)
        self.site = site
        self.subscribed = False

    # The handshake.

    def on_request(self, request: Request) -> Upgrade:
        """Let in who has no foreign origin and no wrong token."""
        origin = request.header("origin")
        if origin is not None and not self.site.may_come_from(origin):
            raise Refusal(403, f"the origin {origin[:80]!r} is not allowed")
        token = request.header("authorization")
        if token is not None and not self.site.is_right(token):
            raise Refusal(401, "the token is wrong", (("WWW-Authenticate", "Bearer"),))
        return self.upgrade(request)

    def upgrade(self, request: Request) -> Upgrade:
        """Agree to compression, and to no subprotocol."""
        return check_upgrade(request)

    def on_open(self) -> None:
        """Note who is here."""
        self.site.visitors.append(self)

    def on_disconnected(self) -> None:
        """Forget who went."""
        with contextlib.suppress(ValueError):
            self.site.visitors.remove(self)

    # Messages.

    def on_binary(self, data: bytes) -> None:
        """Echo, where everything is echoed."""
        if self.site.echoes:
            self.reply(BINARY, data)

    def on_text(self, data: bytes) -> None:
        """Do what is asked."""
        site = self.site
        if site.echoes:
            self.reply(TEXT, data)
            return
        try:
            message = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.complain("not JSON")
            return
        if not isinstance(message, dict):
            self.complain("not an object")
            return
        match message.get("type"):
            case "echo":
                self.reply(TEXT, data)
            case "publish":
                site.publish(message)
            case "subscribe":
                self.subscribe(message)
            case _:
                self.complain("unknown type")

    def reply(self, opcode: int, data: bytes) -> None:
        """Send an answer to this visitor alone, compressed if that was agreed on."""
        agreed = self.compression
        if agreed is not None and agreed.send_window_bits >= MIN_WINDOW_BITS:
            self.send_frame(opcode, compress_once(data, window_bits=agreed.send_window_bits), rsv1=True)
        else:
            self.send_frame(opcode, data)

    def complain(self, text: str) -> None:
        """Say that a message was wrong."""
        self.reply(TEXT, _encode({"type": "error", "message": text}))

    def subscribe(self, message: dict[str, Any]) -> None:
        """Confirm; send what was missed; from now on, everything."""
        site = self.site
        answer: dict[str, Any] = {"type": "subscribed", "epoch": site.epoch, "seq": site.sequence}
        missed: list[bytes] = []
        since = message.get("seq")
        if isinstance(since, int):
            missed, answer["recovered"] = site.missed(message.get("epoch"), since)
        self.reply(TEXT, _encode(answer))
        for item in missed:
            self.reply(TEXT, item)
        self.subscribed = True


class Site:
    """One server, on a free port of loopback. ``async with`` it.

    ``echoes``: it is a plain echo server. ``tls``: it has a secure address too.
    """

    visitor: ClassVar[type[Visitor]] = Visitor
    message_limit: ClassVar[int] = MESSAGE_LIMIT
    handshake_timeout: ClassVar[float] = 2.0
    echoes: ClassVar[bool] = False
    price_interval: float = PRICE_INTERVAL_S

    def __init__(self, seed: int = 0, tls: ssl.SSLContext | Showing | None = None) -> None:
        self.rng = random.Random(seed)
        self.clock: Clock = SystemClock()
        self.visitors: list[Visitor] = []
        self.epoch = f"epoch{self.rng.randrange(1000):03d}"
        self.sequence = 0
        self.history: list[tuple[int, bytes]] = []
        self.prices = 0
        self.price = 60_000.0
        self.port = 0
        """Where it listens; 0 picks a free one."""
        self.url = ""
        self.secure_url: str | None = None
        self.options: Options
        self._tls = tls
        self._servers: list[asyncio.Server] = []
        self._shown: set[asyncio.Transport] = set()
        self._ticker: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Site:
        loop = asyncio.get_running_loop()
        self.options = Options(
            scheduler=LoopScheduler(loop),
            message_limit=self.message_limit,
            handshake_timeout=self.handshake_timeout,
            close_timeout=2.0,
        )
        tls = self._tls
        self.port = await self._listen(self.protocol, self.port)
        self.url = f"ws://127.0.0.1:{self.port}/"
        if isinstance(tls, Showing):
            port = await self._listen(lambda: Responder(tls, self.rng.randbytes(32), self._shown))
            self.secure_url = f"wss://localhost:{port}/"
        elif tls is not None:
            self.secure_url = f"wss://localhost:{await self._listen(self.protocol, tls=tls)}/"
        if not self.echoes:
            self._ticker = asyncio.create_task(self._tick())
        return self

    async def _listen(
        self, protocol: Callable[[], asyncio.BaseProtocol], port: int = 0, tls: ssl.SSLContext | None = None
    ) -> int:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(protocol, "127.0.0.1", port, ssl=tls, backlog=512)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def __aexit__(self, *_: object) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker
        for server in self._servers:
            server.close()
        for visitor in list(self.visitors):
            visitor.abort()
        for transport in list(self._shown):
            transport.abort()
        await asyncio.sleep(0)

    @property
    def profile(self) -> Profile:
        """How to speak to it."""
        if self.echoes:
            return load_profile("echo")
        text = (resources.files("omega_ai.testkit.zoo") / "zoo.toml").read_text(encoding="utf-8")
        return parse_profile(text, "zoo")

    # Who may come.

    def protocol(self) -> asyncio.BaseProtocol:
        """For a new TCP connection."""
        return cast(asyncio.BaseProtocol, self.visitor(self))

    def may_come_from(self, origin: str) -> bool:
        """Whether a web page of ``origin`` may connect."""
        return origin in ("http://localhost", "http://127.0.0.1")

    def is_right(self, authorization: str) -> bool:
        """Whether the Authorization header is right."""
        return authorization == f"Bearer {TOKEN}"

    # The broadcast.

    @property
    def listeners(self) -> list[Visitor]:
        """Who subscribed."""
        return [visitor for visitor in self.visitors if visitor.subscribed]

    def next_sequence(self) -> int:
        """The next number."""
        self.sequence += 1
        return self.sequence

    def publish(self, message: dict[str, Any]) -> None:
        """Number it, keep it, and deliver it to all who listen."""
        number = self.next_sequence()
        data = _encode(
            {
                "type": "news",
                "epoch": self.epoch,
                "seq": number,
                "time": self.time(),
                "stamp": message.get("stamp"),
            }
        )
        self.history.append((number, data))
        del self.history[:-HISTORY]
        self.broadcast(data)

    def broadcast(self, data: bytes) -> None:
        """To all who listen."""
        for visitor in self.listeners:
            self.deliver(visitor, data)

    def deliver(self, visitor: Visitor, data: bytes) -> None:
        """To one of them; a visitor that does not read is dropped in time."""
        if visitor.transport.get_write_buffer_size() > BACKLOG_LIMIT:
            visitor.abort()
        else:
            visitor.reply(TEXT, data)

    def missed(self, epoch: object, since: int) -> tuple[list[bytes], bool]:
        """What was published after ``since``; and whether that is all of it."""
        oldest = self.history[0][0] if self.history else self.sequence + 1
        if epoch != self.epoch or since > self.sequence or since < oldest - 1:
            return [], False
        return [data for number, data in self.history if number > since], True

    def time(self) -> str:
        """What messages say that the time is."""
        return format_utc(self.clock.time_ns())

    # The feed.

    def next_price(self) -> tuple[float, float, float]:
        """Price, bid and ask: a walk in small steps."""
        self.price = round(self.price + self.rng.choice((-1, 1)) * self.rng.uniform(0.01, 5.0), 2)
        return self.price, round(self.price - 0.5, 2), round(self.price + 0.5, 2)

    def tick(self) -> bytes:
        """The next message of the feed."""
        self.prices += 1
        price, bid, ask = self.next_price()
        return _encode(
            {
                "type": "price",
                "epoch": self.epoch,
                "seq": self.prices,
                "time": self.time(),
                "price": price,
                "bid": bid,
                "ask": ask,
            }
        )

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self.price_interval)
            self.broadcast(self.tick())


class EchoSite(Site):
    """The right echo server."""

    echoes = True
