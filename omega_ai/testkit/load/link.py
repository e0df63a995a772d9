"""One client's connection: a non-blocking socket, TLS if need be, the handshakes, frames in and out.

Its own, and not the engine of ``core.websocket``, for one reason: a generator must send and take thousands of
messages in a turn, and for that it keeps no transport, no buffer and no task for a connection, and takes all
frames of a read at once. It is as strict where that costs nothing: masked frames, reserved bits, unknown
opcodes, wrong fragments and too large messages end the connection and count as errors of the server's.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

from omega_ai.core.websocket.assembler import MessageAssembler
from omega_ai.core.websocket.close import ABNORMAL, NORMAL, PROTOCOL_ERROR, ProtocolError, parse_close_payload
from omega_ai.core.websocket.frames import BINARY, CLOSE, PING, PONG, build_frame, close_payload
from omega_ai.core.websocket.handshake import (
    RESPONSE_LIMIT,
    HandshakeError,
    check_response,
    new_key,
    parse_response,
)
from omega_ai.testkit.load.poller import READ, WRITE

if TYPE_CHECKING:
    from omega_ai.testkit.load.room import Door, Room

IDLE: Final = 0
CONNECTING: Final = 1
SECURING: Final = 2
ASKING: Final = 3
OPEN: Final = 4
CLOSING: Final = 5
"""We have sent a close frame; what still comes is taken."""

READ_BYTES: Final = 65_536
MESSAGE_LIMIT: Final = 64 << 20
BACKLOG_LIMIT: Final = 8 << 20
"""Bytes that wait for one server connection that does not read; beyond, messages are not sent."""

_GONE: Final = {errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED, errno.ENOTCONN, errno.ESHUTDOWN}
_WAITING: Final = {errno.EINPROGRESS, errno.EAGAIN, errno.EWOULDBLOCK, errno.EALREADY}

LINK_SLOTS: Final = (
    "_assembler",
    "_bio",
    "_need",
    "_rest",
    "_watched",
    "backlog",
    "deadline",
    "door",
    "fd",
    "intended",
    "key",
    "pause_ns",
    "room",
    "sock",
    "state",
)


class Link:
    """Override ``opened``, ``take``, ``message`` and ``ended``."""

    __slots__ = LINK_SLOTS

    def __init__(self, room: Room) -> None:
        self.room = room
        self.state = IDLE
        self.sock: socket.socket | None = None
        self.fd = -1
        self.key = b""
        self.door: Door | None = None
        self.intended = 0
        """When this connection was to be made: ns since the start."""
        self.deadline = 0
        self.backlog: bytearray | None = None
        self.pause_ns = 0
        """How long nothing is read after each read: a slow reader."""
        self._bio: _Bio | None = None
        self._assembler: MessageAssembler | None = None
        self._rest: bytearray | None = None
        self._need = 0
        self._watched = 0

    # What happens.

    def opened(self, now: int) -> None:
        """The handshake is complete."""
        raise NotImplementedError

    def take(self, data: bytes, now: int) -> int:
        """Bytes came: whole frames and perhaps the beginning of one; returns how many were taken."""
        return self.frames(data, 0, now)

    def message(self, payload: bytes, now: int) -> None:
        """A data message came."""
        raise NotImplementedError

    def ended(self, now: int, code: int | None) -> None:
        """The connection is over: ``code`` is the server's close code; None: it was never open, and
        counted."""
        raise NotImplementedError

    # Connecting.

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
            self.refuse(f"tcp: {_say(error.errno)}", now)
            return
        if problem and problem not in _WAITING:
            self.refuse(f"tcp: {_say(problem)}", now)
            return
        self.fd = sock.fileno()
        room.links[self.fd] = self
        self._watched = WRITE
        room.poller.add(self.fd, WRITE)

    def refuse(self, kind: str, now: int) -> None:
        """There will be no connection."""
        room = self.room
        room.recorder.counts.refused += 1
        room.recorder.error(kind)
        self._drop()
        self.ended(now, None)

    def expired(self, now: int) -> None:
        """The deadline has passed."""
        if CONNECTING <= self.state <= ASKING:
            stage = ("TCP", "TLS", "WebSocket handshake")[self.state - CONNECTING]
            self.refuse(f"timeout: {stage}", now)
        elif self.state == CLOSING:
            self._over(now, ABNORMAL)

    def _connected(self, now: int) -> None:
        sock, door = self.sock, self.door
        assert sock is not None  # noqa: S101 - it is connecting
        assert door is not None  # noqa: S101
        problem = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if problem:
            self.refuse(f"tcp: {_say(problem)}", now)
            return
        self._watch(READ)
        if door.tls is None:
            self._ask()
            return
        self.state = SECURING
        self._bio = _Bio(door.tls, door.hostname)
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

    # Reading.

    def ready(self, events: int) -> None:
        """The poller says so."""
        if self.state == CONNECTING:
            self._connected(monotonic_ns() - self.room.base)
            return
        if events & WRITE:
            self._flush()
        if events & ~WRITE and self.sock is not None:
            self.read()

    def read(self) -> None:
        """Take what has come."""
        sock, room = self.sock, self.room
        assert sock is not None  # noqa: S101 - it is watched
        try:
            data = sock.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._broken(error, monotonic_ns() - room.base)
            return
        now = monotonic_ns() - room.base
        if not data:
            self._finished(now)
            return
        room.recorder.counts.bytes_received += len(data)
        if self._bio is not None:
            self._read_secure(data, now)
        elif self.state == OPEN and self._rest is None:  # as in _came, without a call: it is the common case
            try:
                taken = self.take(data, now)
            except ProtocolError as error:
                self._violated(error, now)
                return
            if taken < len(data) and self.sock is not None:
                self._rest = bytearray(data[taken:])
        else:
            self._came(data, now)
        if self.pause_ns and self.state >= OPEN:
            self._watch(self._watched & ~READ)
            room.at(now + self.pause_ns, self._resume)

    def _resume(self, now: int) -> None:
        if self.sock is not None:
            self._watch(self._watched | READ)

    def _came(self, data: bytes, now: int) -> None:
        if self.state < OPEN:
            rest = self._answered(data, now)
            if not rest:
                return
            data = rest
        if self._rest is not None:
            self._rest += data
            if len(self._rest) < self._need:
                return
            data, self._rest = bytes(self._rest), None
        try:
            taken = self.take(data, now)
        except ProtocolError as error:
            self._violated(error, now)
            return
        if taken < len(data) and self.sock is not None:
            self._rest = bytearray(data[taken:])

    def _read_secure(self, data: bytes, now: int) -> None:
        bio = self._bio
        assert bio is not None  # noqa: S101 - the caller looked
        bio.incoming.write(data)
        if self.state == SECURING:
            self._secure(now)
        try:
            while self.sock is not None and self.state > SECURING:
                plain = bio.object.read(READ_BYTES)
                if not plain:
                    self._finished(now)
                    return
                self._came(plain, now)
        except ssl.SSLWantReadError:
            if bio.outgoing.pending:
                self._put(bio.outgoing.read())
        except ssl.SSLZeroReturnError:
            self._finished(now)
        except ssl.SSLError as error:
            self.room.recorder.error(f"tls: {error.reason or error}")
            self._over(now, ABNORMAL)

    def frames(self, data: bytes, position: int, now: int) -> int:
        """Take the frames in ``data`` from ``position`` on, one by one; returns where the rest begins."""
        size = len(data)
        self._need = 0
        while size - position >= 2:
            first, length = data[position], data[position + 1]
            start = position + 2
            if length > 125:
                if length > 127:
                    raise ProtocolError(PROTOCOL_ERROR, "a frame from the server is masked")
                start += 2 if length == 126 else 8
                if start > size:
                    break
                length = int.from_bytes(data[position + 2 : start], "big")
                if length > MESSAGE_LIMIT:
                    raise ProtocolError(PROTOCOL_ERROR, f"a frame of {length} bytes")
            end = start + length
            if end > size:
                self._need = end - position
                break
            position = end
            if (first == 0x81 or first == 0x82) and self._assembler is None:
                self.message(data[start:end], now)
            else:
                self._other(first, data[start:end], now)
            if self.sock is None:
                return size
        return position

    def _other(self, first: int, payload: bytes, now: int) -> None:
        """A control frame, or a part of a message."""
        opcode = first & 0x0F
        if opcode >= CLOSE:
            if first & 0xF0 != 0x80 or opcode > PONG or len(payload) > 125:
                raise ProtocolError(
                    PROTOCOL_ERROR, f"a wrong control frame: {first:#04x}, {len(payload)} bytes"
                )
            if opcode == PING:
                self.write(build_frame(PONG, payload, mask=self.key))
            elif opcode == CLOSE:
                code, reason = parse_close_payload(payload)
                if self.state == OPEN:
                    self.write(build_frame(CLOSE, payload[:2], mask=self.key))
                if reason and self.state == OPEN:
                    self.room.recorder.example("dropped", f"close {code}: {reason}")
                self._over(now, code)
            return
        if opcode > BINARY:
            raise ProtocolError(PROTOCOL_ERROR, f"unknown opcode {opcode:#x}")
        if self._assembler is None:
            self._assembler = MessageAssembler(message_limit=MESSAGE_LIMIT)
        whole = self._assembler.feed(opcode, first >= 0x80, (first >> 4) & 7, payload)
        if whole is not None:
            self._assembler = None
            self.message(whole[1], now)

    # Writing.

    def write(self, data: bytes) -> None:
        """Send, or keep what the kernel does not take; how much waits is ``len(backlog)``."""
        bio, sock = self._bio, self.sock
        self.room.recorder.counts.bytes_sent += len(data)
        sent = 0
        if bio is not None:
            bio.object.write(data)
            data = bio.outgoing.read()
        elif sock is not None and self.backlog is None:
            try:
                sent = sock.send(data)
            except OSError:
                sent = 0  # said again by what follows
            if sent == len(data):
                return
        self._put(data[sent:])

    def _put(self, data: bytes) -> None:
        sock = self.sock
        if sock is None or not data:
            return
        sent = 0
        if self.backlog is None:
            try:
                sent = sock.send(data)
                if sent == len(data):
                    return
            except (BlockingIOError, InterruptedError):
                pass
            except OSError:
                return  # reading tells what happened, after what came before it
            self.backlog = bytearray()
            self._watch(self._watched | WRITE)
        self.backlog += data[sent:]
        self.room.recorder.backlog += len(data) - sent

    def _flush(self) -> None:
        sock, backlog = self.sock, self.backlog
        if sock is None or backlog is None:
            return
        try:
            sent = sock.send(backlog)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.room.recorder.backlog -= len(backlog)
            self.backlog = None
            self._watch(READ)
            return
        self.room.recorder.backlog -= sent
        del backlog[:sent]
        if not backlog:
            self.backlog = None
            self._watch(self._watched & ~WRITE)

    def _watch(self, events: int) -> None:
        if events != self._watched:
            self._watched = events
            self.room.poller.change(self.fd, events)

    # Ending.

    def close(self, now: int) -> None:
        """Say good-bye; ``ended`` follows when the server has answered, or has not in time."""
        if self.state == OPEN:
            self.write(build_frame(CLOSE, close_payload(NORMAL), mask=self.key))
            self.state = CLOSING
            self.deadline = now + self.room.close_timeout
            self.room.watch_deadline(self)
        elif CONNECTING <= self.state <= ASKING:
            self._drop()
            self.ended(now, None)

    def abort(self) -> None:
        """Let go of everything at once; nothing is told."""
        if self.state >= OPEN:
            self.room.recorder.open -= 1
        self._drop()

    def _violated(self, error: ProtocolError, now: int) -> None:
        self.room.recorder.error(f"protocol: {error.reason[:80]}")
        self.room.recorder.example("protocol", error.reason)
        if self.state == OPEN:
            self.write(build_frame(CLOSE, close_payload(error.code), mask=self.key))
        self._over(now, ABNORMAL)

    def _finished(self, now: int) -> None:
        if self.state < OPEN:
            self.refuse(
                ("tcp", "tls", "handshake")[self.state - CONNECTING] + ": the connection was closed", now
            )
        else:
            self._over(now, ABNORMAL)

    def _broken(self, error: OSError, now: int) -> None:
        if self.state < OPEN:
            self.refuse(f"tcp: {_say(error.errno)}", now)
            return
        if error.errno not in _GONE and self.state == OPEN:
            self.room.recorder.error(f"tcp: {_say(error.errno)}")
        self._over(now, ABNORMAL)

    def _over(self, now: int, code: int) -> None:
        self.room.recorder.open -= 1
        mine = self.state == CLOSING
        self._drop()
        self.ended(now, NORMAL if mine else code)

    def _drop(self) -> None:
        room = self.room
        if self.fd >= 0:
            room.poller.remove(self.fd)
            room.links.pop(self.fd, None)
            self.fd = -1
        if self.sock is not None:
            with contextlib.suppress(OSError):
                self.sock.close()
            self.sock = None
        if self.backlog is not None:
            room.recorder.backlog -= len(self.backlog)
        self.state = IDLE
        self.backlog = self._rest = self._bio = self._assembler = None
        self._watched = 0


class _Bio:
    """TLS between two buffers in memory."""

    __slots__ = ("incoming", "object", "outgoing")

    def __init__(self, context: ssl.SSLContext, hostname: str) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self.incoming, self.outgoing, server_hostname=hostname)

    def handshake(self) -> bool:
        """One step; whether it is done."""
        try:
            self.object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True


def _say(number: int | None) -> str:
    return os.strerror(number).lower() if number else "unknown error"
