"""What one client is owed: written at once while it reads, kept within a bound while it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

WRITE_LIMIT: Final = 256 * 1024
"""Bytes that queued frames are joined to, for one write (a single larger frame is written alone)."""
CONTROL_LIMIT: Final = 4096
"""Bytes of control frames that may wait; some thirty frames of the largest size."""


class Waiting:
    """What waits in all outboxes of a server: kept where it changes, so that reading it costs nothing."""

    __slots__ = ("bytes",)

    def __init__(self) -> None:
        self.bytes = 0


class Outbox:
    """A queue to one client, bounded in bytes.

    ``write(data)`` hands whole frames to the transport. True means that all was taken, False that the
    transport has a backlog now: from then on frames queue here, until ``resume`` says that it has drained.

    What queues counts against ``limit`` bytes. When that is exceeded the queue is dropped, ``on_overflow`` is
    called, once, and data is no longer taken: the client cannot be told all any more, so it has to be closed.
    ``waiting`` is what it counts itself into.
    """

    __slots__ = (
        "_control",
        "_control_bytes",
        "_limit",
        "_number",
        "_on_overflow",
        "_queue",
        "_waiting",
        "_write",
        "blocked",
        "conflated",
        "overflowed",
        "queued_bytes",
    )

    def __init__(
        self,
        write: Callable[[bytes], bool],
        *,
        limit: int,
        on_overflow: Callable[[], None],
        waiting: Waiting | None = None,
    ) -> None:
        self._write = write
        self._waiting = waiting or Waiting()
        self._limit = limit
        self._on_overflow = on_overflow
        self.blocked = False
        """The transport has a backlog; frames queue here."""
        self.overflowed = False
        """The limit was exceeded; data is no longer taken."""
        self.queued_bytes = 0
        """Bytes of data frames waiting here."""
        self.conflated = 0
        """Frames that a newer one of the same key has replaced."""
        # Most clients never have a backlog: no containers until they do.
        # Keys are those of `offer`, and numbers, which keep frames from `send` apart.
        self._queue: dict[str | int, bytes] | None = None
        self._number = 0
        self._control: list[bytes] | None = None
        self._control_bytes = 0

    def send(self, data: bytes) -> None:
        """Send data frames. None is dropped singly: all are sent, or the outbox overflows."""
        if self.blocked:
            self._number += 1
            self._put(self._number, data)
        elif not self.overflowed:
            self.blocked = not self._write(data)

    def offer(self, key: str, data: bytes) -> None:
        """Send a frame that a newer one of the same ``key`` makes worthless.

        While blocked it replaces the unsent frame of its key, and takes its place at the end of the queue.
        """
        if not self.blocked:
            self.send(data)
            return
        queue = self._queue
        if queue is not None:
            older = queue.pop(key, None)
            if older is not None:
                self._count(-len(older))
                self.conflated += 1
        self._put(key, data)

    def send_control(self, data: bytes) -> None:
        """Send a ping, pong or close frame: before all data that waits here, and not counted with it.

        Control frames have a small bound of their own; exceeding it is an overflow too.
        """
        if not self.blocked:
            self.blocked = not self._write(data)
            return
        if self._control is None:
            self._control = []
        if self._control_bytes + len(data) > CONTROL_LIMIT:
            self._overflow()
            return
        self._control.append(data)
        self._control_bytes += len(data)

    def resume(self) -> None:
        """The transport has drained: write what waits, joined, until there is a backlog again."""
        self.blocked = False
        if self._control:
            control, self._control, self._control_bytes = self._control, None, 0
            if not self._write(b"".join(control)):
                self.blocked = True
        self._pump()

    def abandon(self) -> None:
        """The client is gone: forget what waits, and take nothing more."""
        self._forget()
        self._control, self._control_bytes = None, 0
        self.overflowed = True

    def _pump(self) -> None:
        while self._queue and not self.blocked:
            batch = self._batch(self._queue)
            self._count(-len(batch))
            self.blocked = not self._write(batch)
        if not self._queue:
            self._queue = None

    def _put(self, key: str | int, data: bytes) -> None:
        if self.overflowed:
            return
        if self.queued_bytes + len(data) > self._limit:
            self._overflow()
            return
        if self._queue is None:
            self._queue = {}
        self._queue[key] = data
        self._count(len(data))

    def _count(self, size: int) -> None:
        self.queued_bytes += size
        self._waiting.bytes += size

    def _forget(self) -> None:
        self._queue = None
        self._count(-self.queued_bytes)

    def _overflow(self) -> None:
        self._forget()
        if not self.overflowed:
            self.overflowed = True
            self._on_overflow()

    def _batch(self, queue: dict[str | int, bytes]) -> bytes:
        """Take frames from the front of ``queue``, up to ``WRITE_LIMIT`` bytes and at least one."""
        size = 0
        keys: list[str | int] = []
        for key, data in queue.items():
            size += len(data)
            if keys and size > WRITE_LIMIT:
                break
            keys.append(key)
        return b"".join([queue.pop(key) for key in keys])
