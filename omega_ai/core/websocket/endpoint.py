"""One side of an open WebSocket connection: strict in what it takes, and in how it closes.

``Endpoint`` is given frames by a shell that owns the transport (``server`` and ``client``) and calls back
with whole, checked messages. It is a mixin without state of its own, so that a connection is one object: the
shell names ``ENDPOINT_SLOTS`` among its ``__slots__``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from omega_ai.core.scheduler import Cancellable, Scheduler
from omega_ai.core.websocket.assembler import FRAGMENTS_LIMIT, MESSAGE_LIMIT, MessageAssembler
from omega_ai.core.websocket.close import (
    INTERNAL_ERROR,
    NO_STATUS,
    NORMAL,
    PROTOCOL_ERROR,
    ProtocolError,
    parse_close_payload,
)
from omega_ai.core.websocket.deflate import DeflateParams
from omega_ai.core.websocket.frames import (
    BINARY,
    CLOSE,
    CONTROL_LIMIT,
    PING,
    PONG,
    TEXT,
    build_frame,
    close_payload,
)

CONNECTING: Final = 0
OPEN: Final = 1
CLOSING: Final = 2
"""We have sent a close frame and wait for the peer's."""
CLOSED: Final = 3
"""Nothing is read any more; the TCP connection may still be ending."""
REFUSED: Final = 4
"""As CLOSED, but the handshake failed: there never was a WebSocket connection."""

ENDPOINT_SLOTS: Final = ("_assembler", "_deflate", "_pong", "_timer", "blocked", "options", "state")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What all connections of a server, or of a client, have in common: one object for all of them.

    ``message_limit`` is in bytes, after inflating. ``handshake_timeout`` and ``close_timeout`` are in
    seconds: how long the peer has for the opening handshake, and for finishing the closing handshake and the
    TCP connection before it is cut off. ``mask_key`` gives four random bytes for every frame that a client
    sends; None for a server.
    """

    scheduler: Scheduler
    message_limit: int = MESSAGE_LIMIT
    fragments_limit: int = FRAGMENTS_LIMIT
    handshake_timeout: float = 10.0
    close_timeout: float = 5.0
    mask_key: Callable[[], bytes] | None = None


class Transport(Protocol):
    """What is used of an asyncio transport."""

    def write(self, data: bytes, /) -> None:
        """Send, or keep what cannot be sent yet."""

    def write_eof(self) -> None:
        """End our direction once what is kept has been sent."""

    def can_write_eof(self) -> bool:
        """Whether one direction can be ended alone: over TCP it can, over TLS it cannot."""
        ...

    def close(self) -> None:
        """Send what is kept, then close."""

    def abort(self) -> None:
        """Close at once."""

    def is_closing(self) -> bool:
        """Whether it is closing or closed."""
        ...

    def pause_reading(self) -> None:
        """Receive nothing until ``resume_reading``."""

    def resume_reading(self) -> None:
        """Receive again."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """From how many bytes kept ``pause_writing`` is called."""

    def get_write_buffer_size(self) -> int:
        """Bytes kept."""
        ...

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``peername``, ``socket``, ``ssl_object`` ..."""


class Endpoint:
    """Override the ``on_...`` methods; call ``write``, ``send_text``, ``ping``, ``close`` and ``abort``.

    The order of events: ``on_open``; messages, pings and pongs; at most one of ``on_close`` (the peer's close
    frame came) and ``on_protocol_error`` (the peer broke the protocol, and was told); last and always
    ``on_disconnected``. A callback that raises closes the connection with 1011, and is logged.
    """

    if not TYPE_CHECKING:  # mypy would refuse assignments to slots that only the shells can declare
        __slots__ = ()

    options: Options
    state: int
    blocked: bool
    """The transport has a backlog: what is written now waits in memory until ``on_drained``."""
    _assembler: MessageAssembler | None
    _deflate: DeflateParams | None
    _pong: bytes | None
    _timer: Cancellable | None

    # What a subclass does with what arrives.

    def on_open(self) -> None:
        """The handshake is over; messages may be sent."""

    def on_text(self, data: bytes) -> None:
        """A text message came; ``data`` is valid UTF-8."""

    def on_binary(self, data: bytes) -> None:
        """A binary message came."""

    def on_ping(self, payload: bytes) -> None:
        """A ping came; the pong has been sent."""

    def on_pong(self, payload: bytes) -> None:
        """A pong came, asked for or not."""

    def on_close(self, code: int, reason: str) -> None:
        """The peer's close frame came (1005: without a code); it has been answered."""

    def on_protocol_error(self, code: int, reason: str) -> None:
        """The peer broke the protocol or a limit; the close frame with ``code`` has been sent."""

    def on_drained(self) -> None:
        """The transport's backlog is gone: ``blocked`` is False again."""

    def on_disconnected(self) -> None:
        """The TCP connection is over. The last event, and always one."""

    # What a shell provides.

    def write(self, data: bytes) -> bool:
        """Hand whole frames to the transport; False if it now has a backlog (``on_drained`` will tell).

        Silently nothing unless the connection is open: nothing may follow a close frame (section 5.5.1).
        """
        raise NotImplementedError

    def _send(self, data: bytes) -> None:
        """Hand bytes to the transport, whatever the state: handshakes and close frames."""
        raise NotImplementedError

    def abort(self) -> None:
        """Cut the TCP connection, leaving unsent what is unsent."""
        raise NotImplementedError

    def _end_output(self) -> None:
        """Send what is unsent, then end our direction of the TCP connection, or both if that cannot be."""
        raise NotImplementedError

    def _hold(self) -> None:
        """Nothing may be sent past the transport any more: it has a backlog, or we are closing."""

    def _unhold(self) -> None:
        """The backlog is gone."""

    # What a subclass asks for.

    @property
    def compression(self) -> DeflateParams | None:
        """What was agreed about permessage-deflate; None: messages may not be compressed."""
        return self._deflate

    def send_text(self, data: bytes) -> bool:
        """Send one text message; see ``write`` for the result. Silently nothing once closing."""
        return self.send_frame(TEXT, data)

    def send_binary(self, data: bytes) -> bool:
        """Send one binary message; see ``write`` for the result. Silently nothing once closing."""
        return self.send_frame(BINARY, data)

    def ping(self, payload: bytes = b"") -> bool:
        """Send a ping (at most 125 bytes). Silently nothing once closing."""
        if len(payload) > CONTROL_LIMIT:
            raise ValueError(f"a ping carries at most {CONTROL_LIMIT} bytes, not {len(payload)}")
        return self.send_frame(PING, payload)

    def send_frame(self, opcode: int, payload: bytes, *, fin: bool = True, rsv1: bool = False) -> bool:
        """Send one data frame or ping, masked if we are a client; for a close frame there is ``close``."""
        if self.state != OPEN:
            return not self.blocked
        return self.write(self._frame(opcode, payload, fin=fin, rsv1=rsv1))

    def close(self, code: int | None = NORMAL, reason: str = "") -> None:
        """Start the closing handshake, once; the peer has ``options.close_timeout`` seconds to finish it."""
        if self.state == OPEN:
            frame = self._frame(CLOSE, close_payload(code, reason))
            self.state = CLOSING
            self._hold()
            self._start_timer()
            self._send(frame)

    # The machine.

    def _frame(self, opcode: int, payload: bytes, *, fin: bool = True, rsv1: bool = False) -> bytes:
        key = self.options.mask_key
        return build_frame(opcode, payload, fin=fin, rsv1=rsv1, mask=None if key is None else key())

    def _opened(self) -> None:
        self.state = OPEN
        try:
            self.on_open()
        except Exception as error:
            self._crashed(error)

    def _receive(self, opcode: int, fin: bool, rsv: int, payload: bytes) -> None:
        """Take one whole frame; whatever is wrong with it is dealt with here."""
        if self.state > CLOSING:
            return
        try:
            if opcode >= CLOSE:
                self._control(opcode, fin, rsv, payload)
            elif self.state == OPEN:
                self._data_frame(opcode, fin, rsv, payload)
        except ProtocolError as error:
            self._fail(error)
        except Exception as error:
            self._crashed(error)

    def _data_frame(self, opcode: int, fin: bool, rsv: int, payload: bytes) -> None:
        assembler = self._assembler or self._new_assembler()
        message = assembler.feed(opcode, fin, rsv, payload)
        if message is not None:
            if assembler.stateless:
                self._assembler = None
            self._deliver(*message)

    def _new_assembler(self) -> MessageAssembler:
        options = self.options
        self._assembler = assembler = MessageAssembler(
            message_limit=options.message_limit,
            fragments_limit=options.fragments_limit,
            deflate=self._deflate,
        )
        return assembler

    def _deliver(self, opcode: int, message: bytes) -> None:
        if opcode == TEXT:
            self.on_text(message)
        else:
            self.on_binary(message)

    def _control(self, opcode: int, fin: bool, rsv: int, payload: bytes) -> None:
        if rsv:
            raise ProtocolError(PROTOCOL_ERROR, "reserved bit set on a control frame")
        if not fin:
            raise ProtocolError(PROTOCOL_ERROR, "fragmented control frame")
        if len(payload) > CONTROL_LIMIT:
            raise ProtocolError(PROTOCOL_ERROR, f"control frame of more than {CONTROL_LIMIT} bytes")
        if opcode == CLOSE:
            self._peer_closed(*parse_close_payload(payload))
        elif opcode == PING:
            if self.state == OPEN:
                self._answer_ping(payload)
                self.on_ping(payload)
        elif opcode == PONG:
            if self.state == OPEN:
                self.on_pong(payload)
        else:
            raise ProtocolError(PROTOCOL_ERROR, f"unknown opcode {opcode:#x}")

    def _answer_ping(self, payload: bytes) -> None:
        pong = self._frame(PONG, payload)
        if self.blocked:
            # RFC 6455 section 5.5.3 lets us answer the latest ping alone, and a peer that sends pings without
            # reading pongs must not fill our memory.
            self._pong = pong
        else:
            self.write(pong)

    def _peer_closed(self, code: int, reason: str) -> None:
        if self.state == OPEN:
            self._pong = None
            # Section 5.5.1: echo the status code; an empty close frame is answered with an empty one.
            self._send(self._frame(CLOSE, close_payload(None if code == NO_STATUS else code)))
            self._start_timer()
        self.state = CLOSED
        self._hold()
        if self.options.mask_key is None:
            # Section 7.1.1: the server ends the TCP connection first; a client waits for that.
            self._end_output()
        self.on_close(code, reason)

    def _fail(self, error: ProtocolError) -> None:
        """Fail the connection (section 7.1.7): say why, end it, and hear nothing more."""
        if self.state == OPEN:
            self._pong = None
            self._send(self._frame(CLOSE, close_payload(error.code, error.reason)))
            self._start_timer()
        self.state = CLOSED
        self._hold()
        self._assembler = None
        self._end_output()
        try:
            self.on_protocol_error(error.code, error.reason)
        except Exception:
            _log.exception("on_protocol_error of %s failed", type(self).__name__)

    def _crashed(self, error: Exception) -> None:
        """A callback raised: our defect, and no reason to trouble other connections."""
        _log.error("closing with 1011, a callback of %s failed", type(self).__name__, exc_info=error)
        self.close(INTERNAL_ERROR, "internal error")

    def _paused(self) -> None:
        self.blocked = True
        self._hold()

    def _resumed(self) -> None:
        self.blocked = False
        pong, self._pong = self._pong, None
        if pong is not None and self.state == OPEN:
            self.write(pong)
        if not self.blocked and self.state == OPEN:
            self.on_drained()
        if not self.blocked:
            self._unhold()

    def _lost(self) -> None:
        was, self.state = self.state, CLOSED
        self._hold()
        self._assembler = None
        self._pong = None
        self._stop_timer()
        if was not in (CONNECTING, REFUSED):
            try:
                self.on_disconnected()
            except Exception:
                _log.exception("on_disconnected of %s failed", type(self).__name__)

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = self.options.scheduler.later(self.options.close_timeout, self.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
