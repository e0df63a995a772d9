"""``ServerProtocol``: an ``Endpoint`` on an asyncio or uvloop transport, plain or TLS, from the first byte.

It is given to ``loop.create_server`` as what its factory returns. It does not import asyncio: the event loop
calls it. Between messages a connection owns no read buffer, no parser and no task.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from omega_ai.core.websocket.endpoint import CONNECTING, REFUSED, Options, Transport
from omega_ai.core.websocket.handshake import (
    REQUEST_LIMIT,
    Refusal,
    Request,
    Upgrade,
    check_upgrade,
    parse_request,
)
from omega_ai.core.websocket.stream import STREAM_SLOTS, StreamEndpoint

_PROTOCOL_SLOTS: Final = (*STREAM_SLOTS, "__weakref__", "transport")


class ServerProtocol(StreamEndpoint):
    """One client's connection: override ``on_request`` and the other ``on_...``, with ``__slots__``."""

    __slots__ = _PROTOCOL_SLOTS

    transport: Transport

    def __init__(self, options: Options) -> None:
        self.options = options
        self.state = CONNECTING
        self.blocked = False
        self._assembler = None
        self._deflate = None
        self._partial = None
        self._pong = None
        self._rest = b""
        self._timer = None

    def on_request(self, request: Request) -> Upgrade:
        """Decide on a request: return ``check_upgrade(...)``'s result, or raise ``Refusal``.

        Here the target, the origin, caps and tokens are looked at, before anything is spent on the client.
        """
        return check_upgrade(request)

    # What the event loop calls.

    def connection_made(self, transport: Transport) -> None:
        """The TCP (and TLS) connection stands; the request is awaited."""
        self.transport = transport
        # With a high-water mark of 0, pause_writing says that the kernel did not take everything, and
        # resume_writing that it has: `blocked` is exact. uvloop then also writes at once instead of at the
        # end of the loop's turn. Over TLS the comparison is "at least", not "more than": 0 would say that an
        # empty buffer is a backlog, and nothing would ever say that it is gone.
        transport.set_write_buffer_limits(high=1 if transport.get_extra_info("sslcontext") else 0)
        self._timer = self.options.scheduler.later(self.options.handshake_timeout, self._handshake_timed_out)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self.state == CONNECTING:
            self._read_request(data)
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
        """Hand whole frames to the transport; False if it now has a backlog (``on_drained`` will tell)."""
        self.transport.write(data)
        return not self.blocked

    def abort(self) -> None:
        """Cut the TCP connection, leaving unsent what is unsent."""
        self.transport.abort()

    def _end_output(self) -> None:
        # Closing a socket that has unread bytes makes the kernel send a reset, which may destroy our close
        # frame on its way. So we end our direction, and read on (and discard) until the peer ends its own.
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    # The opening handshake.

    def _read_request(self, data: bytes) -> None:
        data = self._rest + data
        # Only the new part, and the three bytes before it, can hold the blank line's end.
        end = data.find(b"\r\n\r\n", max(0, len(self._rest) - 3))
        if end < 0 and len(data) < REQUEST_LIMIT:
            self._rest = data
            return
        self._rest = b""
        try:
            if end < 0 or end > REQUEST_LIMIT:
                raise Refusal(431, f"the request's head has more than {REQUEST_LIMIT} bytes")
            upgrade = self.on_request(parse_request(data[:end]))
        except Refusal as refusal:
            self._refuse(refusal)
            return
        self._deflate = upgrade.deflate
        self._stop_timer()
        self.write(_response(101, upgrade.headers))
        self._opened()
        if len(data) > end + 4:
            self._read(data[end + 4 :])

    def _refuse(self, refusal: Refusal) -> None:
        self.state = REFUSED
        self._stop_timer()
        self._start_timer()
        body = (refusal.reason + "\n").encode()
        self.write(
            _response(
                refusal.status,
                (
                    *refusal.headers,
                    ("Connection", "close"),
                    ("Content-Type", "text/plain; charset=utf-8"),
                    ("Content-Length", str(len(body))),
                ),
            )
            + body
        )
        self._end_output()

    def _handshake_timed_out(self) -> None:
        self._timer = None
        if self.state == CONNECTING:
            self._refuse(Refusal(408, "the handshake did not come in time"))


def _response(status: int, headers: tuple[tuple[str, str], ...]) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
