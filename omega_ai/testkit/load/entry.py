"""Getting in: TCP, TLS if need be, and the WebSocket handshake, each as far as the socket lets it."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import TYPE_CHECKING, Final, cast

from omega_ai.core.websocket.handshake import (
    RESPONSE_LIMIT,
    HandshakeError,
    check_response,
    new_key,
    parse_response,
)
from omega_ai.testkit.load.poller import READ, WRITE
from omega_ai.testkit.load.wire import ASKING, CONNECTING, OPEN, SECURING, Bio, Wire

if TYPE_CHECKING:
    from omega_ai.testkit.load.link import Link
    from omega_ai.testkit.load.room import Door

_WAITING: Final = {errno.EINPROGRESS, errno.EAGAIN, errno.EWOULDBLOCK, errno.EALREADY}


class Entry(Wire):
    """Override ``opened`` and ``ended``."""

    __slots__ = ()

    def opened(self, now: int) -> None:
        """The handshake is complete."""
        raise NotImplementedError

    def ended(self, now: int, code: int | None) -> None:
        """The connection is over: ``code`` is the server's close code; None: it was never open, and
        counted."""
        raise NotImplementedError

    def connect(self, door: Door, source: str | None, intended: int, now: int) -> None:
        """Begin; ``opened`` or ``ended`` follows."""
        room = self.room
        self.door, self.intended = door, intended
        self.state = CONNECTING
        self.deadline = now + room.connect_timeout
        try:
            self.sock = sock = socket.socket(door.family, socket.SOCK_STREAM | room.socket_flags)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if source is not None:
                room.bind(sock, source)
            problem = sock.connect_ex(door.address)
        except OSError as error:
            self.refuse(f"tcp: {in_words(error.errno)}", now)
            return
        if problem and problem not in _WAITING:
            self.refuse(f"tcp: {in_words(problem)}", now)
            return
        self.fd = sock.fileno()
        room.links[self.fd] = cast("Link", self)
        self._watched = WRITE
        room.poller.add(self.fd, WRITE)

    def _connected(self, now: int) -> None:
        sock, door = self.sock, self.door
        assert sock is not None  # noqa: S101 - it is connecting
        assert door is not None  # noqa: S101
        problem = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if problem:
            self.refuse(f"tcp: {in_words(problem)}", now)
            return
        self._watch(READ)
        if door.tls is None:
            self._ask()
            return
        self.state = SECURING
        self._bio = Bio(door.tls, door.hostname)
        self._secure(now)

    def _secure(self, now: int) -> None:
        bio = self._bio
        assert bio is not None  # noqa: S101 - it is secured
        try:
            done = bio.handshake()
        except ssl.SSLError as error:
            self.refuse(f"tls: {error.reason or error}", now)
            return
        self._put(bio.outgoing.read())
        if done and self.sock is not None:
            self._ask()

    def _ask(self) -> None:
        self.state = ASKING
        door = self.door
        assert door is not None  # noqa: S101 - it is connected
        self.key = new_key(os.urandom(16)).encode("ascii")
        self.write(door.request(self.key))

    def _answered(self, data: bytes, now: int) -> bytes | None:
        """Bytes of the server's answer; what follows it, once it is whole and right."""
        if self._rest is not None:
            data, self._rest = bytes(self._rest) + data, None
        end = data.find(b"\r\n\r\n")
        if end < 0:
            if len(data) > RESPONSE_LIMIT:
                self.refuse("handshake: the answer's head is too long", now)
            else:
                self._rest = bytearray(data)
            return None
        room, door = self.room, self.door
        assert door is not None  # noqa: S101 - it is connected
        try:
            response = parse_response(data[:end])
            check_response(response, self.key.decode(), subprotocols=room.subprotocols)
        except HandshakeError as error:
            status = None if error.response is None else error.response.status
            reason = error.reason if status in (None, 101) else f"HTTP {status}"
            room.recorder.example("refused", f"{error.reason} {data[end + 4 : end + 120]!r}")
            self.refuse(f"handshake: {reason[:80]}", now)
            return None
        self.state = OPEN
        recorder = room.recorder
        recorder.counts.connected += 1
        recorder.connect.record(now - self.intended)
        recorder.open += 1
        recorder.most_open = max(recorder.most_open, recorder.open)
        self.key = room.mask_key()
        self.opened(now)
        return data[end + 4 :]

    def refuse(self, kind: str, now: int) -> None:
        """There will be no connection."""
        room = self.room
        room.recorder.counts.refused += 1
        room.recorder.error(kind)
        self._drop()
        self.ended(now, None)


def in_words(number: int | None) -> str:
    """What an error number of the system means."""
    return os.strerror(number).lower() if number else "unknown error"
