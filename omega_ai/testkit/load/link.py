"""One client's connection: frames in and out, from its opening (``entry``) to its end.

Its own, and not the engine of ``core.websocket``, for one reason: a generator must send and take thousands of
messages in a turn, and for that it keeps no transport, no buffer and no task for a connection, and takes all
frames of a read at once. It is as strict where that costs nothing: masked frames, reserved bits, unknown
opcodes, wrong fragments and too large messages end the connection and count as errors of the server's.
"""

from __future__ import annotations

import errno
import ssl
from time import monotonic_ns
from typing import Final

from omega_ai.core.websocket.assembler import MessageAssembler
from omega_ai.core.websocket.close import ABNORMAL, NORMAL, PROTOCOL_ERROR, ProtocolError, parse_close_payload
from omega_ai.core.websocket.frames import BINARY, CLOSE, PING, PONG, build_frame, close_payload
from omega_ai.testkit.load.entry import Entry, in_words
from omega_ai.testkit.load.poller import READ, WRITE
from omega_ai.testkit.load.wire import ASKING, CLOSING, CONNECTING, OPEN, SECURING

READ_BYTES: Final = 65_536
MESSAGE_LIMIT: Final = 64 << 20

_GONE: Final = {errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED, errno.ENOTCONN, errno.ESHUTDOWN}


class Link(Entry):
    """Override ``opened``, ``take``, ``message`` and ``ended``."""

    __slots__ = ()

    def take(self, data: bytes, now: int) -> int:
        """Bytes came: whole frames and perhaps the beginning of one; returns how many were taken."""
        return self.frames(data, 0, now)

    def message(self, payload: bytes, now: int) -> None:
        """A data message came."""
        raise NotImplementedError

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

    # Ending.

    def expired(self, now: int) -> None:
        """The deadline has passed."""
        if CONNECTING <= self.state <= ASKING:
            stage = ("TCP", "TLS", "WebSocket handshake")[self.state - CONNECTING]
            self.refuse(f"timeout: {stage}", now)
        elif self.state == CLOSING:
            self._over(now, ABNORMAL)

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
            self.refuse(f"tcp: {in_words(error.errno)}", now)
            return
        if error.errno not in _GONE and self.state == OPEN:
            self.room.recorder.error(f"tcp: {in_words(error.errno)}")
        self._over(now, ABNORMAL)

    def _over(self, now: int, code: int) -> None:
        self.room.recorder.open -= 1
        mine = self.state == CLOSING
        self._drop()
        self.ended(now, NORMAL if mine else code)
