"""One client's conversation, without sockets: messages in, frames and decisions out.

The session is told of each whole text message (``receive``) and of the end of each read (``flush``); it
answers into its ``Outbox`` and, through the ``Channels`` that it is given, subscribes, looks back and
publishes. Time comes from a ``Clock``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import structlog

from omega_ai.core.timestamps import format_utc
from omega_ai.core.websocket.frames import text_frame
from omega_ai.core.websocket.protocol import StreamProtocol
from omega_ai.data_feed.broker.base import History, Position, PublishBufferFull
from omega_ai.data_feed.websocket import messages as wire
from omega_ai.data_feed.websocket.backlog import Backlog
from omega_ai.data_feed.websocket.bodies import encode_broadcast_body, encode_price_body
from omega_ai.data_feed.websocket.close_codes import CloseCode
from omega_ai.data_feed.websocket.context import Context, Identity, Subscription
from omega_ai.data_feed.websocket.errors import (
    NOT_THE_CLIENTS_FAULT,
    ErrorCode,
    MessageError,
    encode_error,
)
from omega_ai.data_feed.websocket.looking_back import Allowance, answer, position_asked
from omega_ai.data_feed.websocket.outbox import Outbox
from omega_ai.data_feed.websocket.replays import Replay

_log = structlog.get_logger(__name__)

VIOLATIONS = 20
VIOLATION_WINDOW = 10.0
"""This many errors of the client's own making within this many seconds close the connection (1008)."""

MAX_LOOKBACKS = len(wire.PUBLISHED_CHANNELS) + 2
"""Reads of the broker's history under way at once for one client."""

INTERVALS_MS = (0, 10, 20, 50, 100, 200, 250, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000)
"""``interval_ms`` is rounded up to one of these, so that clients share their encoded messages."""


class _Asked(NamedTuple):
    """A subscription that waits for the broker's history."""

    subscription: Subscription
    request_id: wire.RequestId | None


class Session:
    """See the module's text.

    ``close(code, reason)`` ends the connection; it is called at most once. ``identify`` is
    given whom a client has shown itself to be by a token, and says who it is from then on; None if that user
    may not have one more connection. ``connection`` is for the hub, which can send
    to many at once past their outboxes; without one, the session has its outbox alone. ``name`` is the
    connection's id: errors and log lines carry it.
    """

    __slots__ = (
        "_allowance",
        "_close",
        "_context",
        "_errors",
        "_identify",
        "_lookbacks",
        "_replies",
        "_tokens",
        "_tokens_at",
        "_violations",
        "audience",
        "closed",
        "connection",
        "deflate",
        "identity",
        "name",
        "outbox",
        "resuming",
        "subscriptions",
    )

    def __init__(
        self,
        context: Context,
        outbox: Outbox,
        close: Callable[[CloseCode, str], None],
        *,
        identity: Identity,
        identify: Callable[[Identity], Identity | None] = lambda identity: identity,
        connection: StreamProtocol | None = None,
        deflate: bool = False,
        name: str = "",
    ) -> None:
        self.name = name
        self._errors = 0
        self._context = context
        self._identify = identify
        self._close = close
        self._replies: list[bytes] = []
        self._violations: deque[float] | None = None
        self._lookbacks = 0
        self._allowance: Allowance | None = None  # of history; few ask for it
        self.resuming: dict[str, Replay | _Asked] = {}
        """The channels that it is being brought up to date in, before it joins them."""
        self._tokens = context.rate_limit or 0.0
        self._tokens_at = 0.0
        self.outbox = outbox
        self.identity = identity
        self.deflate = deflate
        self.closed = False
        self.subscriptions: frozenset[Subscription] = frozenset()
        self.connection = connection
        self.audience: object | None = None  # the hub's own; kept here so that leaving costs no look-up

    # What the connection calls

    def open(self, channels: Sequence[str]) -> None:
        """The connection stands: give it its first channels. Nothing is sent."""
        wanted = frozenset(Subscription(name) for name in channels if self.identity.may_read(name))
        if wanted:
            self._subscribe_to(wanted)

    def receive(self, text: bytes) -> None:
        """One whole text message, its UTF-8 verified. Answers wait for ``flush``."""
        if self.closed:
            return
        try:
            if self._context.rate_limit is not None:
                self._take_token(self._context.rate_limit)
            message = wire.decode_client_message(text)
            _HANDLERS[type(message)](self, message, text)
        except MessageError as error:
            self._refuse(error, wire.request_id_of(text))

    def flush(self) -> None:
        """Send the answers gathered since the last flush, in one write."""
        if self._replies:
            replies, self._replies = self._replies, []
            self.outbox.send(replies[0] if len(replies) == 1 else b"".join(replies))

    def tick(self) -> None:
        """Once in a while: an identity that has run out is taken away."""
        expires = self.identity.expires_at_ns
        if expires is not None and not self.closed and self._context.clock.time_ns() >= expires:
            self.close(CloseCode.BAD_TOKEN, "token expired: connect again with a new one")

    def close(self, code: CloseCode, reason: str) -> None:
        """Send what is owed, then close; nothing is received or sent afterwards."""
        if not self.closed:
            self.flush()
            self.end()
            self._close(code, reason)

    def end(self) -> None:
        """The connection is over, from whichever side: leave every channel."""
        if not self.closed:
            self.closed = True
            self._replies.clear()
            for given_up in self.resuming.values():
                if isinstance(given_up, Replay):
                    self._context.channels.replays.cancel(given_up)
            self.resuming.clear()
            if self.subscriptions:
                self._subscribe_to(frozenset())

    def drained(self) -> None:
        """The transport takes bytes again."""
        self.outbox.resume()
        if self.resuming and not self.outbox.blocked:
            for replay in list(self.resuming.values()):
                if isinstance(replay, Replay):
                    self._context.channels.replays.wake(replay)

    # What a replay calls

    def caught_up(self, replay: Replay) -> None:
        """It has had all that was missed: live from here on."""
        self.resuming.pop(replay.subscription.channel, None)
        self._subscribe_to(self.subscriptions | {replay.subscription})

    def continuity_lost(self, replay: Replay) -> None:
        """It has had all that there was before its channel broke: that is told, and live from here on."""
        subscription = replay.subscription
        self.resuming.pop(subscription.channel, None)
        state = self._state_of(subscription, always=True)
        position = self._context.channels.position(subscription.channel)
        self._joined(subscription, position, None, recovered=False, frames=state)

    def too_slow(self) -> None:
        """What it has missed cannot be kept for it any longer; when it comes again, it may be had anew."""
        self.close(
            CloseCode.SLOW_CONSUMER, "what you have missed waits for you too long: read faster, connect again"
        )

    # Requests

    def _subscribe(self, message: wire.Subscribe, _text: bytes) -> None:
        for name in message.channels:
            self._check_channel(name)
        if len(set(message.channels)) != len(message.channels):
            raise MessageError(
                ErrorCode.INVALID_FIELD, "field 'channels' names a channel twice", field="channels"
            )
        for name in message.since:
            if name not in message.channels:
                text = f"field 'since' names '{name[:64]}', which 'channels' does not"
                raise MessageError(ErrorCode.INVALID_FIELD, text, field="since")
        interval = _interval_class(message.interval_ms) if message.mode == "latest" else 0
        for name in message.channels:
            since = message.since.get(name)
            position = Position(since.epoch, since.seq) if since is not None else None
            self._join(Subscription(name, message.mode, interval), position, message.id)

    def _join(
        self, subscription: Subscription, since: Position | None, request_id: wire.RequestId | None
    ) -> None:
        """Subscribe to one channel and resume from ``since``: at once from memory, or after a look back.

        Taking the position, sending what was missed and joining happen in one turn, so replay and live
        messages meet without gap or double.
        """
        name = subscription.channel
        # Leave first: what is under way to the old subscription is sent before the answer, and nothing after
        # it.
        self._leave(name)
        if name == "heartbeat":
            self._answer_subscribe(subscription, None, request_id, recovered=False)
            self._subscribe_to(self.subscriptions | {subscription})
            return
        channels = self._context.channels
        position = channels.position(name)
        if since is None:
            frames = self._state_of(subscription, always=False)
            self._joined(subscription, position, request_id, recovered=False, frames=frames)
        elif not self._resume(subscription, since, request_id, None):
            # Older than the tail; or unknown here, which proves nothing: another server may have been ahead
            # of this one. The broker knows.
            self._resume_from_history(subscription, since, request_id)

    def _resume(
        self,
        subscription: Subscription,
        since: Position,
        request_id: wire.RequestId | None,
        history: History | None,
    ) -> bool:
        """Give what was missed, then join; False if it cannot be had whole from memory and ``history``."""
        name = subscription.channel
        channels = self._context.channels
        position = channels.position(name)
        backlog: Backlog | None = None
        if since != position:
            backlog = channels.backlog(name, since, history)
            if backlog is None:
                return False
        self._count_resume("recovered")
        if backlog is None or subscription.mode == "latest":
            frames = [] if backlog is None else self._state_of(subscription, always=True)
            self._joined(subscription, position, request_id, recovered=True, frames=frames)
        else:
            self._answer_subscribe(subscription, position, request_id, recovered=True)
            self.flush()
            channels.replay(self, subscription, since, backlog)
        return True

    def _resume_from_history(
        self, subscription: Subscription, since: Position, request_id: wire.RequestId | None
    ) -> None:
        self._begin_lookback()
        name = subscription.channel
        asked = self.resuming[name] = _Asked(subscription, request_id)

        def done(history: History | None) -> None:
            self._lookbacks -= 1
            if self.closed or self.resuming.get(name) is not asked:
                return
            del self.resuming[name]
            channels = self._context.channels
            position = channels.position(name)
            if history is None or not _has_reached(position, history.position):
                # Nothing is known about the past, so nothing is said about it: whoever comes again may yet be
                # served whole.
                text = f"what was missed of '{name}' cannot be read now: subscribe again"
                self._refuse(MessageError(ErrorCode.INTERNAL, text), request_id)
            elif not history.whole or not self._resume(subscription, since, request_id, history):
                self._count_resume("unrecovered")
                state = self._state_of(subscription, always=True)
                self._joined(subscription, position, request_id, recovered=False, frames=state)
            self.flush()

        self._context.channels.look_back_to_resume(name, since, done)

    def _count_resume(self, outcome: str) -> None:
        resumes = self._context.resumes
        resumes[outcome] = resumes.get(outcome, 0) + 1

    def _joined(
        self,
        subscription: Subscription,
        position: Position,
        request_id: wire.RequestId | None,
        *,
        recovered: bool,
        frames: list[bytes],
    ) -> None:
        self._answer_subscribe(subscription, position, request_id, recovered=recovered)
        self._replies += frames
        self._subscribe_to(self.subscriptions | {subscription})

    def _answer_subscribe(
        self,
        subscription: Subscription,
        position: Position | None,
        request_id: wire.RequestId | None,
        *,
        recovered: bool,
    ) -> None:
        name, mode, interval_ms = subscription
        self._reply(wire.encode_subscribed(request_id, name, position, mode, interval_ms, recovered))

    def _state_of(self, subscription: Subscription, *, always: bool) -> list[bytes]:
        """The latest state, for those who have no continuity: ``latest`` subscribers and failed resumes."""
        if not always and subscription.mode != "latest":
            return []
        newest = self._context.channels.newest(subscription.channel)
        return [] if newest is None else [newest]

    def _unsubscribe(self, message: wire.Unsubscribe, _text: bytes) -> None:
        for name in message.channels:
            self._check_known(name)
        for name in message.channels:
            self._leave(name)
        self._reply(wire.encode_unsubscribed(message.id, message.channels))

    def _history(self, message: wire.HistoryRequest, _text: bytes) -> None:
        self._check_channel(message.channel)
        since = position_asked(message)
        bound = self._context.history_bound
        if bound is not None:
            now = self._context.clock.monotonic()
            if self._allowance is None:
                self._allowance = Allowance(bound, now)
            self._allowance.check(bound, now)
        self._begin_lookback()

        def done(history: History | None) -> None:
            self._lookbacks -= 1
            if self.closed:
                return
            try:
                self._charge(history)
                self._reply(answer(message, history))
            except MessageError as error:
                self._refuse(error, message.id)
            self.flush()

        self._context.channels.look_back(message.channel, since, message.limit, done)

    def _charge(self, history: History | None) -> None:
        """What was read counts, whether it can be sent or not."""
        bound = self._context.history_bound
        if bound is not None and self._allowance is not None and history is not None:
            size = sum(len(publication.message) for publication in history.publications)
            self._allowance.charge(bound, size)

    def _ping(self, message: wire.Ping, _text: bytes) -> None:
        self._reply(wire.encode_pong(message.id, self._now()))

    def _auth(self, message: wire.Auth, _text: bytes) -> None:
        shown = self._context.authenticate(message.token, self._context.clock.time_ns())
        identity = self._identify(shown)
        if identity is None:
            text = f"'{shown.subject}' has as many connections as one user may have"
            raise MessageError(ErrorCode.LIMIT_EXCEEDED, text)
        self.identity = identity
        self._reply(wire.encode_authenticated(message.id, self.identity.subject, self._now()))
        for name in [name for name in self.resuming if not self.identity.may_read(name)]:
            self._give_up_resuming(name)
        lost = frozenset(s for s in self.subscriptions if not self.identity.may_read(s.channel))
        if lost:
            self._subscribe_to(self.subscriptions - lost)

    def _echo(self, _message: wire.Echo | wire.LoadEcho, text: bytes) -> None:
        self._reply(wire.encode_echo(text, self._now()))

    def _publish_price(self, message: wire.PublishPrice, _text: bytes) -> None:
        self._check_may_publish("btc_price")
        body = encode_price_body(wire.client_price(message), self._context.clock.time_ns())
        self._publish("btc_price", body)

    def _publish_broadcast(self, message: wire.PublishBroadcast, text: bytes) -> None:
        self._check_may_publish("broadcast")
        wire.time_field(message.timestamp)
        self._publish("broadcast", encode_broadcast_body(text))

    # Parts

    def _publish(self, channel: str, body: bytes) -> None:
        try:
            self._context.publish(channel, body)
        except PublishBufferFull as error:
            raise MessageError(ErrorCode.INTERNAL, str(error)) from None

    def _check_may_publish(self, channel: str) -> None:
        error = self._context.may_publish(self.identity, channel)
        if error is not None:
            raise error

    def _check_known(self, name: str) -> None:
        if name not in wire.CHANNELS:
            text = f"unknown channel '{name[:64]}'; there are {', '.join(wire.CHANNELS)}"
            raise MessageError(ErrorCode.UNKNOWN_CHANNEL, text, field="channels")

    def _check_channel(self, name: str) -> None:
        self._check_known(name)
        if not self.identity.may_read(name):
            if self.identity.subject == "anonymous":
                raise MessageError(ErrorCode.UNAUTHORIZED, "a token is required: send an auth message first")
            raise MessageError(
                ErrorCode.FORBIDDEN, f"your token does not allow channel '{name}'", field="channels"
            )

    def _begin_lookback(self) -> None:
        if self._lookbacks >= MAX_LOOKBACKS:
            raise MessageError(
                ErrorCode.LIMIT_EXCEEDED,
                f"{MAX_LOOKBACKS} history requests are under way: wait for an answer",
            )
        self._lookbacks += 1

    def _leave(self, channel: str) -> None:
        self._give_up_resuming(channel)
        left = frozenset(s for s in self.subscriptions if s.channel != channel)
        if len(left) != len(self.subscriptions):
            self._subscribe_to(left)

    def _give_up_resuming(self, channel: str) -> None:
        """What is under way to bring the client up to date is not wanted any more."""
        given_up = self.resuming.pop(channel, None)
        if isinstance(given_up, Replay):
            self._context.channels.replays.cancel(given_up)
        elif given_up is not None:
            # It is owed an answer all the same; an end comes next, or another beginning.
            position = self._context.channels.position(channel)
            self._answer_subscribe(given_up.subscription, position, given_up.request_id, recovered=False)

    def _subscribe_to(self, subscriptions: frozenset[Subscription]) -> None:
        self.flush()  # an answer goes out before the first live message that it announces
        self._context.channels.subscribe(self, subscriptions)
        self.subscriptions = subscriptions

    def _reply(self, payload: bytes) -> None:
        self._replies.append(text_frame(payload))

    def _refuse(self, error: MessageError, request_id: wire.RequestId | None) -> None:
        errors = self._context.errors
        errors[error.code] = errors.get(error.code, 0) + 1
        self._errors += 1
        correlation = f"{self.name}.{self._errors}" if self.name else None
        # Not the error's words: they may repeat what the client sent.
        log = _log.warning if error.code is ErrorCode.INTERNAL else _log.info
        log("client_error", correlation=correlation, code=error.code.value, field=error.field)
        self._reply(
            encode_error(error, request_id=request_id, timestamp=self._now(), correlation=correlation)
        )
        if error.code in NOT_THE_CLIENTS_FAULT:
            return
        if self._context.strict:
            self.close(CloseCode.POLICY_VIOLATION, f"strict: {error.message}")
            return
        now = self._context.clock.monotonic()
        if self._violations is None:
            self._violations = deque(maxlen=VIOLATIONS)
        self._violations.append(now)
        if len(self._violations) == VIOLATIONS and now - self._violations[0] <= VIOLATION_WINDOW:
            self.close(
                CloseCode.POLICY_VIOLATION, f"{VIOLATIONS} invalid messages within {VIOLATION_WINDOW:g} s"
            )

    def _take_token(self, rate: float) -> None:
        """Token bucket: ``rate`` messages a second, and as many at once after a pause."""
        now = self._context.clock.monotonic()
        burst = max(rate, 1.0)
        if self._tokens_at == 0.0:
            self._tokens = burst
        self._tokens = min(burst, self._tokens + (now - self._tokens_at) * rate)
        self._tokens_at = now
        if self._tokens < 1.0:
            wait_ms = max(1, int((1.0 - self._tokens) / rate * 1000) + 1)
            raise MessageError(
                ErrorCode.RATE_LIMITED, f"more than {rate:g} messages a second", retry_after_ms=wait_ms
            )
        self._tokens -= 1.0

    def _now(self) -> str:
        return format_utc(self._context.clock.time_ns())


_HANDLERS: dict[type, Callable[..., None]] = {
    wire.Subscribe: Session._subscribe,
    wire.Unsubscribe: Session._unsubscribe,
    wire.HistoryRequest: Session._history,
    wire.Ping: Session._ping,
    wire.Auth: Session._auth,
    wire.Echo: Session._echo,
    wire.LoadEcho: Session._echo,
    wire.PublishPrice: Session._publish_price,
    wire.PublishBroadcast: Session._publish_broadcast,
}


def _has_reached(position: Position, top: Position) -> bool:
    return position.epoch == top.epoch and position.seq >= top.seq


def _interval_class(interval_ms: int) -> int:
    return next(step for step in INTERVALS_MS if step >= interval_ms)
