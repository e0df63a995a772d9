"""Bandwidth: only so many bytes a second."""

from __future__ import annotations

from collections import deque
from typing import Annotated, Final

import msgspec

from omega_ai.testkit.faults.model import Context, Item, Signal, Stage, StreamFault

SLICE: Final = 0.1
"""Seconds of bytes that are handed on in one piece at most."""


class Line:
    """When a line of so many bytes a second is free again."""

    __slots__ = ("free", "rate")

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.free = float("-inf")

    def send(self, size: int, now: float) -> float:
        """Send ``size`` bytes, now or when the line is free; when they have arrived."""
        self.free = max(self.free, now) + size / self.rate
        return self.free


class Bandwidth(StreamFault, frozen=True, kw_only=True):
    """No more than ``rate`` kilobytes (1,000 bytes) a second pass, in each connection; at rate 0 none do.

    Happens over TCP: a slow or crowded link. Bytes arrive when the link has carried them, at the latest every
    100 ms; a sender is not read from while 64 KiB wait, and feels the back-pressure. With ``shared``, all
    connections that the toxic works on share the rate, as the users of one link do.
    """

    kind = "bandwidth"

    rate: Annotated[int, msgspec.Meta(ge=0, le=100_000_000)] = 0
    shared: bool = False

    def stage(self, context: Context) -> Stage:
        """Keeps what the line cannot carry yet."""
        if self.rate == 0:
            return _BandwidthStage(None)
        if self.shared:
            return _BandwidthStage(context.of_toxic("line", lambda: Line(self.rate * 1000)))
        return _BandwidthStage(Line(self.rate * 1000))


class _BandwidthStage(Stage):
    """One slice at a time is on the line; the others wait for it to be free, beside those of other
    connections."""

    __slots__ = ("_arrives", "_held", "_line", "_queue", "_slice", "_under_way")

    def __init__(self, line: Line | None) -> None:
        self._line = line
        self._queue: deque[memoryview | Signal] = deque()
        self._held = 0
        self._under_way: bytes | None = None
        self._arrives = 0.0
        self._slice = 0 if line is None else max(int(line.rate * SLICE), 1)

    def feed(self, data: bytes, now: float) -> list[Item]:
        out = self._move(now)
        self._queue.append(memoryview(data))
        self._held += len(data)
        return out + self._move(now)

    def finish(self, signal: Signal, now: float) -> list[Item]:
        self._queue.append(signal)
        return self._move(now)

    def tick(self, now: float) -> list[Item]:
        return self._move(now)

    def next_wake(self) -> float | None:
        return None if self._under_way is None else self._arrives

    def stop(self, now: float) -> list[Item]:
        out: list[Item] = [] if self._under_way is None else [self._under_way]
        out += [item if isinstance(item, Signal) else bytes(item) for item in self._queue]
        self._queue.clear()
        self._under_way, self._held = None, 0
        return out

    @property
    def held(self) -> int:
        return self._held

    def _move(self, now: float) -> list[Item]:
        out: list[Item] = []
        begin = now
        while True:
            if self._under_way is not None:
                if self._arrives > now:
                    return out
                out.append(self._under_way)
                self._held -= len(self._under_way)
                self._under_way = None
                # The next slice followed at once, however late we were asked: that costs no throughput.
                begin = self._arrives
            if not self._queue or (self._line is None and not isinstance(self._queue[0], Signal)):
                return out
            first = self._queue.popleft()
            if isinstance(first, Signal):
                out.append(first)
                continue
            if len(first) > self._slice:
                self._queue.appendleft(first[self._slice :])
                first = first[: self._slice]
            assert self._line is not None  # noqa: S101 - otherwise nothing is sent
            self._under_way, self._arrives = bytes(first), self._line.send(len(first), begin)
