"""A broker within the process: nothing to install, nothing kept after its end."""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Iterable
from itertools import islice

from omega_ai.core.clock import Clock
from omega_ai.core.identifiers import new_epoch
from omega_ai.data_feed.broker.base import (
    HISTORY_BYTES,
    HISTORY_MESSAGES,
    HISTORY_SECONDS,
    MAX_BODY_BYTES,
    BrokerClosed,
    BrokerStatus,
    Deliver,
    History,
    Position,
    Publication,
    check_body,
    check_channel,
)

_log = logging.getLogger(__name__)


class MemoryBroker:
    """Delivers from within ``publish``: no queue, no turn of the event loop lies between the two.

    Args:
        clock: tells the age of history.
        epoch: the epoch of every channel; by default a new one, since a process remembers nothing.
        rng: makes that epoch repeatable.
        history_messages: messages kept a channel (>= 1).
        history_seconds: age in seconds up to which they are kept.
        history_bytes: bytes of message text kept a channel; the newest message is kept whatever its size.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        epoch: str | None = None,
        rng: random.Random | None = None,
        history_messages: int = HISTORY_MESSAGES,
        history_seconds: float = HISTORY_SECONDS,
        history_bytes: int = HISTORY_BYTES,
    ) -> None:
        self._now = clock.monotonic
        self._epoch = epoch if epoch is not None else new_epoch(rng)
        self._history_messages = max(history_messages, 1)
        self._history_seconds = history_seconds
        self._history_bytes = history_bytes
        self._channels: dict[str, _Channel] = {}
        # Publications made from within a deliver wait here, so that everybody sees the same order.
        self._waiting: deque[tuple[_Channel, Publication]] = deque()
        self._delivering = False
        self._closed = False

    async def start(self) -> None:
        """Nothing is to be reached."""

    async def close(self) -> None:
        """Forget subscribers and history."""
        self._closed = True
        self._waiting.clear()
        self._channels.clear()

    def publish(self, channel: str, body: bytes) -> None:
        """Give ``body`` its position and deliver it to every subscriber before returning."""
        state = self._channels.get(channel)
        if state is None:
            state = self._open(channel)
        if not body.startswith((state.head_more, state.head_only)) or len(body) > MAX_BODY_BYTES:
            check_body(channel, body)
        seq = state.seq = state.seq + 1
        publication = Publication(
            channel, self._epoch, seq, b"%b%d%b" % (state.prefix, seq, body[state.cut :])
        )
        now = self._now()
        state.kept.append(publication)
        state.times.append(now)
        state.bytes += len(publication.message)
        if (
            len(state.kept) > self._history_messages
            or state.bytes > self._history_bytes
            or state.times[0] < now - self._history_seconds
        ):
            self._forget(state, now)
        if self._delivering:
            self._waiting.append((state, publication))
        elif state.delivers:
            self._deliver(state, publication)

    async def flush(self) -> None:
        """Everything has its position already."""

    async def subscribe(self, channels: Iterable[str], deliver: Deliver) -> dict[str, Position]:
        """Deliver from now on; see ``Broker.subscribe``."""
        positions: dict[str, Position] = {}
        for channel in channels:
            state = self._channels.get(channel) or self._open(channel)
            if channel not in positions:
                # A tuple, replaced as a whole: a deliver that subscribes does not disturb the round going on.
                state.delivers = (*state.delivers, (deliver, state.seq))
            positions[channel] = Position(self._epoch, state.seq)
        return positions

    async def history(self, channel: str, since: Position | None = None, limit: int | None = None) -> History:
        """Read back; see ``Broker.history``."""
        state = self._channels.get(channel) or self._open(channel)
        self._forget(state, self._now())
        kept = state.kept
        position = Position(self._epoch, state.seq)
        count = len(kept)
        if since is not None:
            missed = state.seq - since.seq
            if since.epoch != self._epoch or not 0 <= missed <= count:
                return History(position, [], whole=False)
            count = missed
        wanted = count if limit is None else min(count, max(limit, 0))
        publications = list(islice(kept, len(kept) - wanted, None))
        return History(position, publications, whole=since is None or wanted == count)

    def status(self) -> BrokerStatus:
        """Connected, until closed."""
        return BrokerStatus(not self._closed, "closed" if self._closed else "in this process's memory")

    async def ping(self) -> float:
        """No way to go: 0."""
        if self._closed:
            raise BrokerClosed("the memory broker is closed")
        return 0.0

    def _open(self, channel: str) -> _Channel:
        if self._closed:
            raise BrokerClosed("the memory broker is closed")
        check_channel(channel)
        state = self._channels[channel] = _Channel(channel, self._epoch)
        return state

    def _forget(self, state: _Channel, now: float) -> None:
        oldest = now - self._history_seconds
        kept, times = state.kept, state.times
        while kept and (
            len(kept) > self._history_messages
            or times[0] < oldest
            or (state.bytes > self._history_bytes and len(kept) > 1)
        ):
            times.popleft()
            state.bytes -= len(kept.popleft().message)

    def _deliver(self, state: _Channel, publication: Publication) -> None:
        self._delivering = True
        try:
            while True:
                for deliver, joined_at in state.delivers:
                    if publication.seq > joined_at:
                        try:
                            deliver(publication)
                        except Exception:
                            _log.exception("a subscriber of %s failed", publication.channel)
                if not self._waiting:
                    return
                state, publication = self._waiting.popleft()
        finally:
            self._delivering = False


class _Channel:
    """One channel's sequence, with what of every message stays the same made once."""

    __slots__ = ("bytes", "cut", "delivers", "head_more", "head_only", "kept", "prefix", "seq", "times")

    def __init__(self, channel: str, epoch: str) -> None:
        head = b'{"type":"%b"' % channel.encode()
        self.head_more = head + b","
        self.head_only = head + b"}"
        self.cut = len(head)
        self.prefix = b'%b,"epoch":"%b","seq":' % (head, epoch.encode())
        self.seq = 0
        self.bytes = 0
        self.kept: deque[Publication] = deque()
        self.times: deque[float] = deque()
        self.delivers: tuple[tuple[Deliver, int], ...] = ()
