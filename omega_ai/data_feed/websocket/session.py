"""One client's conversation, without sockets: messages in, frames and decisions out.

The session is told of each whole text message (``receive``) and of the end of each read (``flush``); it
answers into its ``Outbox`` and, through the ``Channels`` that it is given, subscribes, looks back and
publishes. Time comes from a ``Clock``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from omega_ai.core.timestamps import format_utc
from omega_ai.core.websocket.frames import text_frame
from omega_ai.core.websocket.protocol import StreamProtocol
from omega_ai.data_feed.broker.base import History, Position, PublishBufferFull
from omega_ai.data_feed.websocket import messages as wire
from omega_ai.data_feed.websocket.bodies import encode_broadcast_body, encode_price_body
from omega_ai.data_feed.websocket.close_codes import CloseCode
from omega_ai.data_feed.websocket.conduct import VIOLATION_WINDOW, VIOLATIONS, Conduct
from omega_ai.data_feed.websocket.context import Context, Identity, Subscription
from omega_ai.data_feed.websocket.errors import (
    NOT_THE_CLIENTS_FAULT,
    ErrorCode,
    MessageError,
    encode_error,
)
from omega_ai.data_feed.websocket.joining import Joining
from omega_ai.data_feed.websocket.looking_back import Allowance, answer, position_asked
from omega_ai.data_feed.websocket.outbox import Outbox

_log = structlog.get_logger(__name__)

MAX_LOOKBACKS = len(wire.PUBLISHED_CHANNELS) + 2
"""Reads of the broker's history under way at once for one client."""

INTERVALS_MS = (0, 10, 20, 50, 100, 200, 250, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000)
"""``interval_ms`` is rounded up to one of these, so that clients share their encoded messages."""


class Session:
    """See the module's text.

    ``close(code, reason)`` ends the connection; it is called at most once. ``identify`` is given whom a
    client has shown itself to be by a token, and says who it is from then on; None if that user may not have
    one more connection. ``connection`` is for the hub, which can send to many at once past their outboxes;
    without one, the session has its outbox alone. ``name`` is the connection's id: errors and log lines carry
    it.
    """

    __slots__ = (
        "_allowance",
        "_close",
        "_conduct",
        "_context",
        "_identify",
        "_lookbacks",
        "_replies",
        "audience",
        "closed",
        "connection",
        "deflate",
        "identity",
        "joining",
        "name",
        "outbox",
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
        self._context = context
        self._identify = identify
        self._close = close
        self._replies: list[bytes] = []
        # Most clients only listen: these are made when they are needed.
        self._conduct: Conduct | None = None
        self._lookbacks = 0
        self._allowance: Allowance | None = None  # of history
        self.joining: Joining | None = None
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
            self.subscribe_to(wanted)

    def receive(self, text: bytes) -> None:
        """One whole text message, its UTF-8 verified. Answers wait for ``flush``."""
        if self.closed:
            return
        try:
            rate = self._context.rate_limit
            if rate is not None:
                conduct = self._conduct
                if conduct is None:
                    conduct = self._conduct = Conduct()
                conduct.take_token(rate, self._context.clock.monotonic())
            message = wire.decode_client_message(text)
            _HANDLERS[type(message)](self, message, text)
        except MessageError as error:
            self.refuse(error, wire.request_id_of(text))

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
            if self.joining is not None:
                self.joining.end()
                self.joining = None  # it holds us
            if self.subscriptions:
                self.subscribe_to(frozenset())

    def drained(self) -> None:
        """The transport takes bytes again."""
        self.outbox.resume()
        if self.joining is not None and not self.outbox.blocked:
            self.joining.wake()

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
        joining = self.joining
        if joining is None:
            joining = self.joining = Joining(self, self._context)
        for name in message.channels:
            since = message.since.get(name)
            position = Position(since.epoch, since.seq) if since is not None else None
            joining.join(Subscription(name, message.mode, interval), position, message.id)
            if self.closed:
                return

    def _unsubscribe(self, message: wire.Unsubscribe, _text: bytes) -> None:
        for name in message.channels:
            self._check_known(name)
        for name in message.channels:
            self.leave(name)
        self.reply(wire.encode_unsubscribed(message.id, message.channels))

    def _history(self, message: wire.HistoryRequest, _text: bytes) -> None:
        self._check_channel(message.channel)
        since = position_asked(message)
        bound = self._context.history_bound
        if bound is not None:
            now = self._context.clock.monotonic()
            if self._allowance is None:
                self._allowance = Allowance(bound, now)
            self._allowance.check(bound, now)
        self.begin_lookback()

        def done(history: History | None) -> None:
            self.end_lookback()
            if self.closed:
                return
            try:
                self._charge(history)
                self.reply(answer(message, history))
            except MessageError as error:
                self.refuse(error, message.id)
            self.flush()

        self._context.channels.look_back(message.channel, since, message.limit, done)

    def _charge(self, history: History | None) -> None:
        """What was read counts, whether it can be sent or not."""
        bound = self._context.history_bound
        if bound is not None and self._allowance is not None and history is not None:
            size = sum(len(publication.message) for publication in history.publications)
            self._allowance.charge(bound, size)

    def _ping(self, message: wire.Ping, _text: bytes) -> None:
        self.reply(wire.encode_pong(message.id, self._now()))

    def _auth(self, message: wire.Auth, _text: bytes) -> None:
        shown = self._context.authenticate(message.token, self._context.clock.time_ns())
        identity = self._identify(shown)
        if identity is None:
            text = f"'{shown.subject}' has as many connections as one user may have"
            raise MessageError(ErrorCode.LIMIT_EXCEEDED, text)
        self.identity = identity
        self.reply(wire.encode_authenticated(message.id, self.identity.subject, self._now()))
        if self.joining is not None:
            self.joining.give_up_unless(self.identity.may_read)
        lost = frozenset(s for s in self.subscriptions if not self.identity.may_read(s.channel))
        if lost:
            self.subscribe_to(self.subscriptions - lost)

    def _echo(self, _message: wire.Echo | wire.LoadEcho, text: bytes) -> None:
        self.reply(wire.encode_echo(text, self._now()))

    def _publish_price(self, message: wire.PublishPrice, _text: bytes) -> None:
        self._check_may_publish("btc_price")
        body = encode_price_body(wire.client_price(message), self._context.clock.time_ns())
        self._publish("btc_price", body)

    def _publish_broadcast(self, message: wire.PublishBroadcast, text: bytes) -> None:
        self._check_may_publish("broadcast")
        wire.time_field(message.timestamp)
        self._publish("broadcast", encode_broadcast_body(text))

    # What those need that work for it

    def reply(self, payload: bytes) -> None:
        """Answer with a message; it waits for ``flush``."""
        self._replies.append(text_frame(payload))

    def reply_frames(self, frames: list[bytes]) -> None:
        """As ``reply``, with frames that are made already."""
        self._replies += frames

    def refuse(self, error: MessageError, request_id: wire.RequestId | None) -> None:
        """Answer with an error, which counts, and may be one too many."""
        errors = self._context.errors
        errors[error.code] = errors.get(error.code, 0) + 1
        conduct = self._conduct
        if conduct is None:
            conduct = self._conduct = Conduct()
        conduct.errors += 1
        correlation = f"{self.name}.{conduct.errors}" if self.name else None
        # Not the error's words: they may repeat what the client sent.
        log = _log.warning if error.code is ErrorCode.INTERNAL else _log.info
        log("client_error", correlation=correlation, code=error.code.value, field=error.field)
        self.reply(encode_error(error, request_id=request_id, timestamp=self._now(), correlation=correlation))
        if error.code in NOT_THE_CLIENTS_FAULT:
            return
        if self._context.strict:
            self.close(CloseCode.POLICY_VIOLATION, f"strict: {error.message}")
        elif conduct.violated(self._context.clock.monotonic()):
            self.close(
                CloseCode.POLICY_VIOLATION, f"{VIOLATIONS} invalid messages within {VIOLATION_WINDOW:g} s"
            )

    def subscribe_to(self, subscriptions: frozenset[Subscription]) -> None:
        """Make these all that it has, from now on."""
        self.flush()  # an answer goes out before the first live message that it announces
        if self.closed and subscriptions:
            return  # that was one too many for a client that does not read
        self._context.channels.subscribe(self, subscriptions)
        self.subscriptions = subscriptions

    def leave(self, channel: str) -> None:
        """Out of it, or of the way into it."""
        if self.joining is not None:
            self.joining.give_up(channel)
        left = frozenset(s for s in self.subscriptions if s.channel != channel)
        if len(left) != len(self.subscriptions):
            self.subscribe_to(left)

    def begin_lookback(self) -> None:
        """Something is about to be read for it; ``end_lookback`` when it was.

        Raises:
            MessageError: enough is under way already.
        """
        if self._lookbacks >= MAX_LOOKBACKS:
            raise MessageError(
                ErrorCode.LIMIT_EXCEEDED,
                f"{MAX_LOOKBACKS} history requests are under way: wait for an answer",
            )
        self._lookbacks += 1

    def end_lookback(self) -> None:
        """See ``begin_lookback``."""
        self._lookbacks -= 1

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


def _interval_class(interval_ms: int) -> int:
    return next(step for step in INTERVALS_MS if step >= interval_ms)
