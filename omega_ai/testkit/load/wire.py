"""One end of a connection: a non-blocking socket, what waits to be sent, and TLS between two buffers."""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import TYPE_CHECKING, Final

from omega_ai.core.websocket.assembler import MessageAssembler
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

BACKLOG_LIMIT: Final = 8 << 20
"""Bytes that wait for one server connection that does not read; beyond, messages are not sent."""

_SLOTS: Final = (
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


class Wire:
    """The socket of a client, which has one connection at a time.

    The slots of all that builds on it are here: there are thousands of these, and each byte counts.
    """

    __slots__ = _SLOTS

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
        self._bio: Bio | None = None
        self._assembler: MessageAssembler | None = None
        self._rest: bytearray | None = None
        self._need = 0
        self._watched = 0

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


class Bio:
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
