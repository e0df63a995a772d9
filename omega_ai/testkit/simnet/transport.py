"""An asyncio transport on two pipes."""

# ruff: noqa: D102 - what the methods do, asyncio's documentation of transports says

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from omega_ai.testkit.simnet.process import PROCESS

if TYPE_CHECKING:
    from omega_ai.testkit.simnet.loop import SimLoop
    from omega_ai.testkit.simnet.pipe import Pipe
    from omega_ai.testkit.simnet.process import Process

HIGH: Final = 64 * 1024


class SimTransport(asyncio.Transport):
    """One end of a virtual connection, as a process holds it."""

    def __init__(
        self, loop: SimLoop, out: Pipe, into: Pipe, extra: dict[str, Any], context: contextvars.Context
    ) -> None:
        super().__init__(extra)
        self.context = context
        self.process: Process | None = context.get(PROCESS)
        self.out = out
        self.into = into
        self.gone: Callable[[SimTransport], None] = lambda _: None
        self._loop = loop
        self._protocol: Any = None
        self._buffer = bytearray()
        self._inbox: list[bytes | None] = []
        self._paused = False
        self._started = False
        self._closing = False
        self._eof = False
        self._blocked = False
        self._lost = False
        self._error: Exception | None = None
        self._high = HIGH
        self._low = HIGH // 4
        out.sender = self
        into.receiver = self

    def start(self, protocol: Any) -> None:
        """Begin: tell ``protocol`` of its transport."""
        self._protocol = protocol
        self._loop.call_soon(self._begin, context=self.context)

    def _begin(self) -> None:
        self._started = True
        self._protocol.connection_made(self)
        if self._lost:  # it broke before anybody had it
            self._protocol.connection_lost(self._error)
        else:
            self._read()

    # What the protocol calls.

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return not self._paused and not self._closing

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            self._loop.call_soon(self._read, context=self.context)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._eof or self._lost or (self._closing and not self._buffer) or not data:
            return
        self._buffer += data
        self._pump()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not self._eof:
            self._eof = True
            self._pump()

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = HIGH if low is None else 4 * low
        self._high = high
        self._low = high // 4 if low is None else low

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        self.into.read(sum(len(item) for item in self._inbox if item))
        self._inbox.clear()
        if not self._buffer:
            self._finish(None)

    def abort(self) -> None:
        if self._lost:
            return
        self._closing = True
        self._buffer.clear()
        self.out.reset()
        self._forget(None)

    # What the network calls.

    def sever(self, *, reset: bool) -> None:
        """The process is gone: ``reset`` tells the peer, as the kernel of a killed process does."""
        if self._lost:
            return
        self._closing = True
        self._buffer.clear()
        if reset:
            self.out.reset()
        self._forget(ConnectionAbortedError(103, "the process was killed"))

    def arrived(self, data: bytes) -> None:
        """See ``Receiver``."""
        self._inbox.append(data)
        self._loop.call_soon(self._read, context=self.context)

    def ended(self) -> None:
        """See ``Receiver``."""
        self._inbox.append(None)
        self._loop.call_soon(self._read, context=self.context)

    def broke(self, error: OSError) -> None:
        """See ``Receiver``."""
        if not self._lost:
            self._closing = True
            self._buffer.clear()
            self._inbox.clear()
            self._forget(error)

    def _read(self) -> None:
        if not self._started:
            return
        while self._inbox and not self._paused and not self._closing:
            item = self._inbox.pop(0)
            if item is None:
                if not self._protocol.eof_received():
                    self.close()
                continue
            self.into.read(len(item))
            peer = self.into.sender
            if isinstance(peer, SimTransport):
                peer.drained()
            self._hand(item)
        if self._closing:
            for item in self._inbox:
                self.into.read(len(item or b""))
            self._inbox.clear()

    def _hand(self, data: bytes) -> None:
        protocol = self._protocol
        try:
            if isinstance(protocol, asyncio.BufferedProtocol):
                while data:
                    buffer = protocol.get_buffer(len(data))
                    room = memoryview(buffer)
                    count = min(len(room), len(data))
                    room[:count] = data[:count]
                    protocol.buffer_updated(count)
                    data = data[count:]
            else:
                protocol.data_received(data)
        except Exception as error:
            self._loop.call_exception_handler({"message": "a protocol failed", "exception": error})
            self.abort()

    def drained(self) -> None:
        """The peer has read something."""
        if self._buffer:
            self._loop.call_soon(self._pump, context=self.context)

    def _pump(self) -> None:
        if self._lost:
            return
        while self._buffer and self.out.room > 0:
            chunk = bytes(self._buffer[: self.out.room])
            del self._buffer[: len(chunk)]
            self.out.send(chunk)
        if not self._blocked and len(self._buffer) > self._high:
            self._blocked = True
            self._protocol.pause_writing()
        elif self._blocked and len(self._buffer) <= self._low:
            self._blocked = False
            self._protocol.resume_writing()
        if self._buffer:
            return
        if self._closing:
            self._finish(None)
        elif self._eof:
            self._end()

    def _end(self) -> None:
        if self.out.sender is self:
            self.out.sender = None
            self.out.end()

    def _finish(self, error: Exception | None) -> None:
        self._end()
        self._forget(error)

    def _forget(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = True
        self._error = error
        self.into.close()
        self.gone(self)
        if self._started:
            self._loop.call_soon(self._protocol.connection_lost, error, context=self.context)
