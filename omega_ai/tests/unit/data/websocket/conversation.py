"""A hub, sessions and a broker in memory, without sockets: what tests of the conversation are made of."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from omega_ai.core.clock import ManualClock
from omega_ai.core.scheduler import ManualScheduler
from omega_ai.data_feed.broker.base import History, Position, Publication, message_of
from omega_ai.data_feed.websocket.close_codes import CloseCode
from omega_ai.data_feed.websocket.context import Identity
from omega_ai.data_feed.websocket.errors import ErrorCode, MessageError
from omega_ai.data_feed.websocket.hub import Hub
from omega_ai.data_feed.websocket.looking_back import HistoryBound
from omega_ai.data_feed.websocket.messages import DEFAULT_CHANNELS
from omega_ai.data_feed.websocket.outbox import Outbox
from omega_ai.data_feed.websocket.session import Session


class Person:
    """An identity with rights as told."""

    def __init__(
        self,
        subject: str = "anonymous",
        *,
        publish: tuple[str, ...] = ("btc_price", "broadcast"),
        read: tuple[str, ...] | None = None,
        expires_at_ns: int | None = None,
    ) -> None:
        self.subject = subject
        self.publish = publish
        self.read = read
        self.expires_at_ns = expires_at_ns

    def may_read(self, channel: str) -> bool:
        """Everything, unless told otherwise."""
        return self.read is None or channel in self.read


class World:
    """One server's inside on a manual clock, with a broker that keeps everything it was given."""

    def __init__(
        self,
        *,
        tail: int = 100,
        strict: bool = False,
        rate_limit: float | None = None,
        history_bound: HistoryBound | None = None,
    ) -> None:
        self.clock = ManualClock()
        self.scheduler = ManualScheduler(self.clock)
        self.hub = Hub(self.clock, self.scheduler, self._look_back, tail=tail)
        self.channels = self.hub
        self.strict = strict
        self.rate_limit = rate_limit
        self.history_bound = history_bound
        self.errors: dict[str, int] = {}
        self.resumes: dict[str, int] = {}
        self.epoch = "epoch1"
        self.kept: dict[str, list[Publication]] = {}
        self.look_backs: list[tuple[str, Position | None, int | None, Callable[[History | None], None]]] = []
        self.broker_is_away = False
        self.hub.start({name: Position(self.epoch, 0) for name in self.hub_channels()})

    @staticmethod
    def hub_channels() -> tuple[str, ...]:
        """The channels that have a sequence."""
        return ("btc_price", "trades", "quotes", "candles", "status", "broadcast")

    # Context

    def authenticate(self, token: str, now_ns: int) -> Person:
        """``good`` is a token, nothing else is."""
        if token != "good":
            raise MessageError(ErrorCode.UNAUTHORIZED, "the token is not valid", field="token")
        return Person("alice")

    def may_publish(self, identity: Identity, channel: str) -> MessageError | None:
        """By the person's own list."""
        if isinstance(identity, Person) and channel in identity.publish:
            return None
        return MessageError(ErrorCode.FORBIDDEN, f"you may not publish to '{channel}'")

    def publish(self, channel: str, body: bytes) -> None:
        """Publish through the pretended broker, at once."""
        self.publication(channel, body)

    # Broker

    def publication(self, channel: str, body: bytes) -> Publication:
        """Give ``body`` its position, keep it, deliver it."""
        kept = self.kept.setdefault(channel, [])
        seq = kept[-1].seq + 1 if kept and kept[-1].epoch == self.epoch else 1
        made = Publication(channel, self.epoch, seq, message_of(channel, self.epoch, seq, body))
        kept.append(made)
        self.hub.deliver(made)
        return made

    def price(self, number: int) -> Publication:
        """Publish a price that is ``number``."""
        return self.publication("btc_price", b'{"type":"btc_price","price":%d}' % number)

    def _look_back(
        self,
        channel: str,
        since: Position | None,
        limit: int | None,
        done: Callable[[History | None], None],
        _known: Callable[[], History | None] | None = None,
        /,
    ) -> None:
        self.look_backs.append((channel, since, limit, done))

    def answer_look_backs(self) -> None:
        """The broker answers what it was asked."""
        asked, self.look_backs = self.look_backs, []
        for channel, since, limit, done in asked:
            kept = [p for p in self.kept.get(channel, []) if p.epoch == self.epoch]
            top = Position(self.epoch, kept[-1].seq if kept else 0)
            if self.broker_is_away:
                done(None)
            elif since is not None:
                whole = since.epoch == self.epoch and 0 <= since.seq <= top.seq
                done(History(top, [p for p in kept if p.seq > since.seq] if whole else [], whole))
            else:
                done(History(top, kept[-(limit or 0) :], whole=True))

    def client(self, *, channels: tuple[str, ...] = DEFAULT_CHANNELS, **options: Any) -> Client:
        """A client that has just connected."""
        return Client(self, channels, **options)


class Client:
    """What one client sends and sees. ``stalled`` makes its transport take nothing."""

    def __init__(
        self,
        world: World,
        channels: tuple[str, ...],
        *,
        identity: Person | None = None,
        identify: Callable[[Identity], Identity | None] = lambda identity: identity,
        limit: int = 10_000,
        deflate: bool = False,
    ) -> None:
        self.world = world
        self.written: list[bytes] = []
        self.writes = 0
        self.stalled = False
        self.closed: tuple[CloseCode, str] | None = None
        self.outbox = Outbox(self._write, limit=limit, on_overflow=self._overflow)
        self.session = Session(
            world,
            self.outbox,
            self._closed,
            identity=identity or Person(),
            identify=identify,
            deflate=deflate,
        )
        self.session.open(channels)

    def _write(self, data: bytes) -> bool:
        self.written.append(data)
        self.writes += 1
        return not self.stalled

    def _overflow(self) -> None:
        self.session.close(CloseCode.SLOW_CONSUMER, "too slow")

    def _closed(self, code: CloseCode, reason: str) -> None:
        assert self.closed is None, "closed twice"
        self.closed = (code, reason)

    def send(self, *texts: bytes, **fields: Any) -> list[dict[str, Any]]:
        """Send raw texts, or one message of ``fields``, in one read; returns what came back."""
        for text in texts or (json.dumps(fields).encode(),):
            self.session.receive(text)
        self.session.flush()
        return self.seen()

    def raw(self) -> bytes:
        """All bytes since the last look, after finishing the turn."""
        self.world.scheduler.run()
        data, self.written = b"".join(self.written), []
        return data

    def seen(self) -> list[dict[str, Any]]:
        """All messages since the last look, after finishing the turn."""
        return [json.loads(payload) for payload in frames_of(self.raw())]

    def drain(self) -> None:
        """The transport takes bytes again."""
        self.stalled = False
        self.session.drained()


def frames_of(data: bytes) -> list[bytes]:
    """The payloads of unmasked, unfragmented frames (RFC 6455 section 5.2)."""
    payloads = []
    at = 0
    while at < len(data):
        length = data[at + 1] & 0x7F
        start = at + 2
        if length == 126:
            length, start = int.from_bytes(data[start : start + 2]), start + 2
        elif length == 127:
            length, start = int.from_bytes(data[start : start + 8]), start + 8
        payloads.append(data[start : start + length])
        at = start + length
    assert at == len(data), "a frame was cut"
    return payloads
