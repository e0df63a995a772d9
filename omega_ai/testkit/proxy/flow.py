"""One direction of a connection: from one wire through the chain of faults to the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from omega_ai.core.clock import Clock
from omega_ai.testkit.faults.chain import Chain
from omega_ai.testkit.faults.model import Item, Signal
from omega_ai.testkit.proxy.pipes import SPLICE
from omega_ai.testkit.proxy.wire import SocketWire, Wire

HIGH_WATER: Final = 65_536
"""Bytes that may wait for the receiver before the sender is read no more."""
BUFFER_SIZE: Final = 65_536
TURNS: Final = 8
"""Reads in a row of one direction before others have their turn."""


class Flow:
    """Moves bytes from ``source`` to ``sink``; what ends the connection it hands to ``on_signal``."""

    __slots__ = (
        "_armed",
        "_buffer",
        "_clock",
        "_ended",
        "_halted",
        "_loop",
        "_on_signal",
        "_pumping",
        "_timer",
        "_view",
        "chain",
        "muted",
        "read_bytes",
        "sent_bytes",
        "sink",
        "source",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        chain: Chain,
        source: Wire,
        sink: Wire,
        buffer: bytearray,
        on_signal: Callable[[Flow, Signal], None],
    ) -> None:
        self.chain = chain
        self.source = source
        self.sink = sink
        self.read_bytes = 0
        self.sent_bytes = 0
        self.muted = False
        """Whether bytes go through the chain, but nowhere: the receiver is cut off."""
        self._loop = loop
        self._clock = clock
        self._buffer = buffer
        self._view = memoryview(buffer)
        self._on_signal = on_signal
        self._timer: asyncio.TimerHandle | None = None
        self._armed = float("inf")
        self._pumping = False
        self._ended = False
        self._halted = False

    def feed(self, data: bytes) -> None:
        """Bytes came from the source."""
        self.read_bytes += len(data)
        self.deliver(self.chain.feed(data, self._clock.monotonic()))

    def finish(self, signal: Signal) -> None:
        """The source has ended, or is gone."""
        self._ended = True
        if self.chain.done is None:
            self.deliver(self.chain.finish(signal, self._clock.monotonic()))
        elif signal is Signal.RESET:
            self._on_signal(self, signal)

    def deliver(self, items: list[Item]) -> None:
        """Hand on what the chain gave, and see when it wants to be asked again."""
        for item in items:
            if isinstance(item, Signal):
                self._on_signal(self, item)
            elif not self.muted:
                self.sent_bytes += len(item)
                self.sink.write(item)
        self.settle()

    def settle(self) -> None:
        """Read from the source, or not; choose the way; set the alarm."""
        if self._halted:
            return
        chain = self.chain
        self.source.read(
            not self._ended and not chain.full and (self.muted or self.sink.pending < HIGH_WATER)
        )
        if isinstance(self.source, SocketWire) and isinstance(self.sink, SocketWire):
            pumping = chain.idle and not self.muted
            if pumping is not self._pumping:
                self._pumping = pumping
                self.source.pump = self._pump if pumping else None
        wake = chain.next_wake()
        if wake is None:
            self._disarm()
        elif wake < self._armed:
            self._disarm()
            self._armed = wake
            self._timer = self._loop.call_later(max(wake - self._clock.monotonic(), 0.0), self._tick)

    def halt(self) -> None:
        """Move nothing any more."""
        self._halted = True
        self._disarm()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._armed = float("inf")

    def _tick(self) -> None:
        self._timer = None
        self._armed = float("inf")
        self.deliver(self.chain.tick(self._clock.monotonic()))

    def _pump(self) -> None:
        """Move what is there past the chain, which has nothing to do."""
        source, sink = self.source, self.sink
        assert isinstance(source, SocketWire)  # noqa: S101 - chosen so
        assert isinstance(sink, SocketWire)  # noqa: S101 - chosen so
        try:
            count = source.sock.recv_into(self._buffer)
            if count:
                self.chain.begun = True
                self.read_bytes += count
                self.sent_bytes += count
                data = self._view[:count]
                # What is not taken at once has to be kept, and the buffer is used again.
                sink.write(data, copy=True)
            if count == BUFFER_SIZE and SPLICE:
                for _ in range(TURNS):
                    if sink.pending or sink.closed:
                        break
                    count = sink.splice_from(source)
                    if not count:
                        break
                    self.read_bytes += count
                    self.sent_bytes += count
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            source.broken()
            return
        if not count:
            source.at_end()
        elif sink.pending:
            self.settle()
