"""One end of a connection as the proxy has it: a non-blocking socket, what it could not yet take, and how it
ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from omega_ai.testkit.proxy.pipes import PIPE_SIZE, Pipes

READ_SIZE: Final = 65_536
"""Bytes that are read at once where a fault looks at them."""
LINGER: Final = 10.0
"""Seconds that a peer has to take what is left for it when the connection is closed; then it is reset."""
READ_AWAY: Final = 1 << 20
"""Bytes of a peer that are thrown away when the connection to it is closed in order."""

_ABORT: Final = struct.pack("ii", 1, 0)


class Owner(Protocol):
    """Who is told what happens at an end."""

    def received(self, wire: Wire, data: bytes) -> None:
        """Bytes came."""

    def ended(self, wire: Wire) -> None:
        """The peer sends no more (FIN, or the close of TLS)."""

    def lost(self, wire: Wire) -> None:
        """The peer is gone (RST, a broken TLS connection, an unreachable host); the end is closed already."""

    def drained(self, wire: Wire) -> None:
        """Nothing waits to be written any more, or the end that was to be closed is."""


class Wire(Protocol):
    """An end, plain or TLS."""

    @property
    def closed(self) -> bool:
        """Whether it is gone."""
        ...

    @property
    def pending(self) -> int:
        """Bytes that wait for the peer to take them."""
        ...

    def read(self, on: bool) -> None:
        """Whether to read from the peer."""

    def write(self, data: bytes) -> None:
        """Send; what the peer does not take is kept, so the caller watches ``pending``."""

    def finish(self) -> None:
        """Send no more: FIN, behind all that was written."""

    def close(self) -> None:
        """Close in order: what was written is still sent, for ``LINGER`` seconds at most."""

    def reset(self) -> None:
        """Close by RST, at once."""

    def drop(self) -> None:
        """Close at once; what the peer has not taken from us is lost."""


class SocketWire:
    """A TCP socket (connected, non-blocking), which this closes."""

    __slots__ = (
        "_backlog",
        "_closing",
        "_fd",
        "_finish",
        "_linger",
        "_loop",
        "_owner",
        "_pending",
        "_pipe",
        "_piped",
        "_pipes",
        "_reading",
        "_shut",
        "_writing",
        "closed",
        "pump",
        "sock",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, owner: Owner, pipes: Pipes
    ) -> None:
        self.sock = sock
        self.closed = False
        self.pump: Callable[[], None] | None = None
        """What reads in our place when there is something to read; None: we do, and tell the owner."""
        self._loop = loop
        self._fd = sock.fileno()
        self._owner = owner
        self._pipes = pipes
        self._pipe: tuple[int, int] | None = None
        self._piped = 0
        self._backlog: deque[bytes | memoryview] = deque()
        self._pending = 0
        self._reading = False
        self._writing = False
        self._finish = False
        self._shut = False
        self._closing = False
        self._linger: asyncio.TimerHandle | None = None
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def pending(self) -> int:
        """Bytes that wait for the peer to take them."""
        return self._pending + self._piped

    def read(self, on: bool) -> None:
        """Whether to read from the peer."""
        if on == self._reading or self.closed:
            return
        self._reading = on
        if on:
            self._loop.add_reader(self._fd, self._readable)
        else:
            self._loop.remove_reader(self._fd)

    def write(self, data: bytes | memoryview, *, copy: bool = False) -> None:
        """Send; what the peer does not take is kept, as a copy if ``data`` will be used otherwise."""
        if self.closed or self._finish or self._closing:
            return
        if not self._pending and not self._piped:
            try:
                sent = self.sock.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                self._lose()
                return
            if sent == len(data):
                return
            data = memoryview(data)[sent:]
        if copy:
            data = bytes(data)
        self._backlog.append(data)
        self._pending += len(data)
        self._watch_writable()

    def splice_from(self, source: SocketWire) -> int:
        """Let the kernel move what it has read at ``source`` to this peer; how many bytes, 0 at the end.

        Only while nothing is pending. What the peer does not take stays in the pipe, and is pending.

        Raises:
            BlockingIOError: there is nothing to read.
            OSError: ``source`` is broken, or cannot be spliced.
        """
        if self._pipe is None:
            try:
                self._pipe = self._pipes.borrow()
            except OSError:
                raise BlockingIOError from None  # out of descriptors: it is read and written instead
        pipe = self._pipe
        try:
            moved = os.splice(source._fd, pipe[1], PIPE_SIZE, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE)
        except OSError:
            self._release_pipe()
            raise
        self._piped = moved
        try:
            self._drain_pipe()
        except OSError:
            self._lose()
        else:
            if self._piped:
                self._watch_writable()
        return moved

    def finish(self) -> None:
        """Send no more: FIN, behind all that was written."""
        if not self._finish and not self.closed:
            self._finish = True
            self._maybe_end()

    def close(self) -> None:
        """Close in order: what was written is still sent, for ``LINGER`` seconds at most."""
        if self._closing or self.closed:
            return
        self._closing = self._finish = True
        self.read(False)
        self._maybe_end()
        if not self.closed:
            self._linger = self._loop.call_later(LINGER, self.reset)

    def reset(self) -> None:
        """Close by RST, at once."""
        if not self.closed:
            abort(self.sock)
            self._shut_down()

    def drop(self) -> None:
        """Close at once; what the peer has not taken from us is lost."""
        if not self.closed:
            self._shut_down()

    def _readable(self) -> None:
        if self.pump is not None:
            self.pump()
            return
        try:
            data = self.sock.recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._lose()
            return
        if data:
            self._owner.received(self, data)
        else:
            self.at_end()

    def at_end(self) -> None:
        """The peer's FIN has been read."""
        self.read(False)
        self._owner.ended(self)

    def broken(self) -> None:
        """Reading failed."""
        self._lose()

    def _watch_writable(self) -> None:
        if not self._writing:
            self._writing = True
            self._loop.add_writer(self._fd, self._writable)

    def _writable(self) -> None:
        try:
            self._drain_pipe()
            while self._backlog and not self._piped:
                data = self._backlog[0]
                sent = self.sock.send(data)
                self._pending -= sent
                if sent < len(data):
                    self._backlog[0] = memoryview(data)[sent:]
                    return
                self._backlog.popleft()
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._lose()
            return
        if not self.pending:
            self._writing = False
            self._loop.remove_writer(self._fd)
            self._maybe_end()
            self._owner.drained(self)

    def _drain_pipe(self) -> None:
        while self._piped:
            assert self._pipe is not None  # noqa: S101 - bytes are in it
            try:
                self._piped -= os.splice(
                    self._pipe[0], self._fd, self._piped, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE
                )
            except (BlockingIOError, InterruptedError):
                return
        self._release_pipe()

    def _release_pipe(self) -> None:
        if self._pipe is not None:
            self._pipes.give_back(self._pipe, empty=not self._piped)
            self._pipe, self._piped = None, 0

    def _maybe_end(self) -> None:
        """Do what was asked to be done behind all that was written."""
        if self.pending or self.closed:
            return
        if self._closing:
            self._read_away()
            self._shut_down()
        elif self._finish and not self._shut:
            self._shut = True
            with contextlib.suppress(OSError):  # the peer is gone; reading will say so
                self.sock.shutdown(socket.SHUT_WR)

    def _read_away(self) -> None:
        """Closing a socket with unread bytes resets it, and what the peer has not read yet would be lost."""
        with contextlib.suppress(OSError):
            for _ in range(READ_AWAY // READ_SIZE):
                if not self.sock.recv(READ_SIZE):
                    return

    def _lose(self) -> None:
        if not self.closed:
            told = not self._closing
            self._shut_down()
            if told:
                self._owner.lost(self)
            else:
                self._owner.drained(self)

    def _shut_down(self) -> None:
        self.read(False)
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._fd)
        if self._linger is not None:
            self._linger.cancel()
        self._release_pipe()
        self._backlog.clear()
        self._pending = 0
        self.closed = True
        self.sock.close()


def abort(sock: socket.socket) -> None:
    """Have ``sock`` reset (RST) when it is closed."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
