"""An ``Endpoint`` on an asyncio or uvloop transport, plain or TLS: what server and client have in common.

It does not import asyncio: the event loop calls it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from omega_ai.core.websocket.endpoint import CONNECTING, OPEN, Options, Transport
from omega_ai.core.websocket.stream import STREAM_SLOTS, StreamEndpoint

if TYPE_CHECKING:
    from omega_ai.core.websocket.lane import Lane

TLS_BACKLOG: Final = 64 * 1024
"""Bytes from which what TLS keeps is a backlog."""

_PROTOCOL_SLOTS: Final = (*STREAM_SLOTS, "__weakref__", "lane", "lane_index", "transport")


class HeadTooLong(Exception):
    """The head of the peer's HTTP message exceeds the limit."""


class StreamProtocol(StreamEndpoint):
    """A connection that owns no read buffer, no parser and no task between messages."""

    __slots__ = _PROTOCOL_SLOTS

    transport: Transport
    lane: Lane[Any] | None
    """The lane that this connection is in, and its place there (-1 while it waits). The lane's to write."""
    lane_index: int

    def __init__(self, options: Options) -> None:
        self.options = options
        self.state = CONNECTING
        self.blocked = False
        self.lane = None
        self.lane_index = -1
        self._assembler = None
        self._deflate = None
        self._partial = None
        self._pong = None
        self._rest = b""
        self._timer = None

    # What the event loop calls.

    def connection_made(self, transport: Transport) -> None:
        """The TCP (and TLS) connection stands; the opening handshake begins."""
        self.transport = transport
        # With a high-water mark of 0, pause_writing says that the kernel did not take everything, and
        # resume_writing that it has: `blocked` is exact. uvloop then also writes at once instead of at the
        # end of the loop's turn. Over TLS every write passes through a buffer on its way, and a low mark
        # would call each of them a backlog for a moment.
        secure = transport.get_extra_info("sslcontext") is not None
        transport.set_write_buffer_limits(high=TLS_BACKLOG if secure else 0)
        self._timer = self.options.scheduler.later(self.options.handshake_timeout, self._handshake_timed_out)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self.state == CONNECTING:
            self._read_head(data)
        else:
            self._read(data)

    def eof_received(self) -> None:
        """The peer ended its direction; returning None lets the event loop end ours."""

    def connection_lost(self, exc: BaseException | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The TCP connection is over."""
        self._lost()

    def pause_writing(self) -> None:
        """The transport has a backlog."""
        self._paused()

    def resume_writing(self) -> None:
        """The transport's backlog is gone."""
        self._resumed()

    # What the endpoint calls.

    def write(self, data: bytes) -> bool:
        """Hand whole frames to the transport; see ``Endpoint.write``."""
        if self.state == OPEN:
            self.transport.write(data)
        return not self.blocked

    def _send(self, data: bytes) -> None:
        self.transport.write(data)

    def abort(self) -> None:
        """Cut the TCP connection, leaving unsent what is unsent."""
        self.transport.abort()

    def direct_fd(self) -> int:
        """The socket, if bytes may be sent on it past the transport without overtaking any; else -1."""
        transport = self.transport
        if (
            self.blocked
            or transport.is_closing()
            or transport.get_write_buffer_size()
            or transport.get_extra_info("sslcontext") is not None
        ):
            return -1
        return int(transport.get_extra_info("socket").fileno())

    def _hold(self) -> None:
        if self.lane is not None:
            self.lane.hold(self)

    def _unhold(self) -> None:
        if self.lane is not None:
            self.lane.resume(self)

    def _end_output(self) -> None:
        # Closing a socket that has unread bytes makes the kernel send a reset, which may destroy our close
        # frame on its way. So we end our direction, and read on (and discard) until the peer ends its own.
        if self.transport.can_write_eof():
            try:
                self.transport.write_eof()
            except OSError:  # the peer has reset the connection: no direction is left to end
                self.transport.close()
        else:
            self.transport.close()

    # What server and client do differently.

    def _read_head(self, data: bytes) -> None:
        """Take bytes of the opening handshake."""
        raise NotImplementedError

    def _handshake_timed_out(self) -> None:
        """The opening handshake was not finished in ``options.handshake_timeout`` seconds."""
        raise NotImplementedError

    def _take_head(self, data: bytes, limit: int) -> tuple[bytes, bytes] | None:
        """The head of the peer's HTTP message and what follows it; None while it is incomplete.

        Raises ``HeadTooLong`` if it has more than ``limit`` bytes.
        """
        # Only the new part, and the three bytes before it, can complete the blank line.
        start = max(0, len(self._rest) - 3)
        data = self._rest + data
        end = data.find(b"\r\n\r\n", start)
        if end > limit or (end < 0 and len(data) > limit):
            self._rest = b""
            raise HeadTooLong(f"the head has more than {limit} bytes")
        if end < 0:
            self._rest = data
            return None
        self._rest = b""
        return data[:end], data[end + 4 :]
