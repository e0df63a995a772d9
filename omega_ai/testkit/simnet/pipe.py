"""One direction of one virtual connection: what was sent arrives in order, when the link lets it.

As TCP does, it takes no more than a window of bytes that the receiver has not read yet; and of a link that
swallows everything, the sender learns nothing for a quarter of an hour.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from omega_ai.testkit.faults.model import Signal

if TYPE_CHECKING:
    from omega_ai.testkit.faults.chain import Chain
    from omega_ai.testkit.simnet.loop import SimLoop

WINDOW: Final = 256 * 1024
"""Bytes under way and unread, beyond which the sender has to wait."""
GIVE_UP_S: Final = 924.6
"""So long is unanswered data sent again before a connection is given up: Linux, ``tcp_retries2`` = 15."""

Item = bytes | OSError | None
"""Bytes, the end of the stream, or the end of the connection."""

NOBODY: Final = contextvars.Context()
"""The network's own doings belong to no process."""


@dataclass(slots=True)
class Link:
    """What lies between two hosts. May be changed while connections go over it; see ``Network.heal``."""

    latency_s: float = 0.0002
    """One way."""
    jitter_s: float = 0.0
    """Up to so much more, uniformly; the order stays, as TCP keeps it."""
    bandwidth: float | None = None
    """Bytes per second and direction; None: no bound."""
    silent: bool = False
    """Swallows everything, without a word: a half-open connection, a NAT that forgot."""
    refuses: bool = False
    """New connections are refused."""


class Receiver(Protocol):
    """Where a pipe ends."""

    def arrived(self, data: bytes) -> None:
        """Bytes came."""

    def ended(self) -> None:
        """The sender sends no more."""

    def broke(self, error: OSError) -> None:
        """The connection is broken."""


class Pipe:
    """See the module's text. ``sender`` is woken when there is room again, and told when it is hopeless."""

    def __init__(self, loop: SimLoop, link: Link, rng: random.Random, window: int = WINDOW) -> None:
        self.link = link
        self.sender: Receiver | None = None
        self.receiver: Receiver | None = None
        self.room = window
        self.bytes = 0
        self._loop = loop
        self._rng = rng
        self._busy_until = 0.0
        self._last_due = 0.0
        self._swallowed = False
        self._hopeless: asyncio.TimerHandle | None = None
        self._waiting: deque[Item] = deque()
        self._over = False
        self._chain: Chain | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.signalled: Callable[[Signal], None] = lambda _: None
        """What to do when a fault ends the connection."""

    def follow(self, chain: Chain) -> None:
        """Let ``chain`` have what is sent, before the link has it."""
        self._chain = chain
        self._schedule()

    def refresh(self, items: list[bytes | Signal]) -> None:
        """The faults have changed, which made the chain hand on ``items``."""
        self._hand_on(items)

    def send(self, data: bytes) -> None:
        """Take ``data``, of which there is no more than ``room``."""
        self.room -= len(data)
        self.bytes += len(data)
        if self._chain is None:
            self._put(data)
        else:
            self._hand_on(self._chain.feed(data, self._loop.time()))

    def end(self) -> None:
        """Nothing more will be sent."""
        if self._chain is None:
            self._put(None)
        else:
            self._hand_on(self._chain.finish(Signal.END, self._loop.time()))

    def reset(self) -> None:
        """The sender is gone."""
        if self._chain is None:
            self._put(_reset())
        else:
            self._hand_on(self._chain.finish(Signal.RESET, self._loop.time()))

    def read(self, count: int) -> None:
        """The receiver has taken ``count`` bytes: there is room for as many."""
        self.room += count

    def close(self) -> None:
        """Deliver nothing more: the receiver is gone."""
        self._over = True
        self._schedule()
        self._stop_timer()

    def close_in_order(self) -> None:
        """A fault ends the connection: what was handed on still arrives, and then the end."""
        self._put(None)

    def _hand_on(self, items: list[bytes | Signal]) -> None:
        for item in items:
            if isinstance(item, bytes):
                self._put(item)
            elif item is Signal.END:
                self._put(None)
            else:
                self.signalled(item)
        self._schedule()

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wake = None if self._chain is None or self._over else self._chain.next_wake()
        if wake is not None:
            self._timer = self._loop.call_at(wake, self._tick, context=NOBODY)

    def _tick(self) -> None:
        self._timer = None
        if self._chain is not None and not self._over:
            self._hand_on(self._chain.tick(self._loop.time()))

    def _put(self, item: Item) -> None:
        if self._over:
            return
        link = self.link
        if link.silent:
            self._swallowed = True
        if self._swallowed:
            # What TCP sends again it sends again in order: nothing overtakes what was swallowed.
            self._waiting.append(item)
            if self._hopeless is None:
                self._hopeless = self._loop.call_later(GIVE_UP_S, self._give_up, context=NOBODY)
            return
        self._send_on(item)

    def heal(self) -> None:
        """The link works again: what was swallowed is sent once more."""
        if not self._swallowed or self.link.silent:
            return
        self._swallowed = False
        self._stop_timer()
        waiting, self._waiting = self._waiting, deque()
        for item in waiting:
            self._send_on(item)

    def _send_on(self, item: Item) -> None:
        now = self._loop.time()
        link = self.link
        start = max(now, self._busy_until)
        size = len(item) if isinstance(item, bytes) else 0
        self._busy_until = start + (size / link.bandwidth if link.bandwidth else 0.0)
        due = self._busy_until + link.latency_s
        if link.jitter_s:
            due += self._rng.uniform(0.0, link.jitter_s)
        self._last_due = due = max(due, self._last_due)
        self._loop.call_at(due, self._deliver, item, context=NOBODY)

    def _deliver(self, item: Item) -> None:
        receiver = self.receiver
        if self._over or receiver is None:
            return
        if item is None:
            receiver.ended()
        elif isinstance(item, OSError):
            self._over = True
            receiver.broke(item)
        else:
            receiver.arrived(item)

    def _give_up(self) -> None:
        self._hopeless = None
        if self.sender is not None and not self._over:
            self.sender.broke(TimeoutError(110, "connection timed out"))

    def _stop_timer(self) -> None:
        if self._hopeless is not None:
            self._hopeless.cancel()
            self._hopeless = None


def _reset() -> OSError:
    return ConnectionResetError(104, "connection reset by peer")
