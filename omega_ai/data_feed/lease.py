"""Redundant ingest: several processes take the same prices in, one of them publishes them.

Each runs the whole way from source to price. Who holds the lease publishes; the others keep what they would
have published, as far back as it may be missing. Every lease has a fencing token, greater than those before
it, and each channel refuses publications with an older one than the newest that it was told. So taking over
is: take the lease, have every channel refuse the predecessor, read what it has published, publish what is
missing, go on.

What makes a message the same in two processes is the source's own identity: venue, symbol and trade id of a
trade; symbol, interval and start of a finished candle. Prices, quotes and states are states: the next one
says all, so what a standby would have sent of them is not kept.

Fencing tokens: Kleppmann, "How to do distributed locking" (2016); a lease alone would let a paused holder
that wakes up publish among the messages of its successor.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import structlog

from omega_ai.core.clock import Clock
from omega_ai.core.identifiers import new_connection_id
from omega_ai.data_feed.broker.base import BrokerError, LeasedBroker, PublishBufferFull
from omega_ai.data_feed.websocket.messages import PUBLISHED_CHANNELS

LEASE_SECONDS = 1.5
"""A holder that is not heard of for so long is replaced."""

RENEW_SECONDS = 0.4
POLL_SECONDS = 0.2
"""How often a standby looks. Together with the lease, well under two seconds."""

KEEP_SECONDS = 15.0
"""What a living holder was given so long ago is published: its writes lag by milliseconds."""

KEEP_MESSAGES = 100_000
"""Bound of what is kept while nobody can publish: as much as a publisher buffers."""

LOOK_BACK = 10_000
"""Published messages that are compared with what is kept."""

REMEMBER_SECONDS = 300.0
"""So long after taking over, what the source gives again (its backlog) is known as published."""

_CUTS = {"trades": (b',"price":', b""), "candles": (b',"open":', b',"final":')}
"""Where identity ends within the text of a message, and where it goes on."""

_WHEN = {"trades": (b',"trade_id":', b',"timestamp":"'), "candles": (b',"start":', b',"start":"')}
"""Where the name of whatever has a sequence of its own ends (a venue's symbol), and where its time begins."""

_TIME = len(b"2026-01-01T00:00:00.000000Z")

_log = structlog.get_logger(__name__)


def identity_of(channel: str, text: bytes) -> bytes | None:
    """What makes a message of ``channel`` the same in two processes; None where nothing does.

    ``text`` is a body or a published message: the position spliced in is left out.
    """
    cuts = _CUTS.get(channel)
    if cuts is None:
        return None
    end, tail = cuts
    if tail and b'"final":false' in text:
        return None  # a candle that is not finished is a state
    start = _members(channel, text)
    identity = text[start : text.find(end, start)]
    return identity + text[text.rfind(tail) :] if tail else identity


def moment_of(channel: str, text: bytes) -> tuple[bytes, bytes]:
    """Of which sequence a message is (a venue's symbol), and its time there.

    Times are UTC texts of one width, so that they compare as bytes.
    """
    end, mark = _WHEN[channel]
    start = _members(channel, text)
    at = text.find(mark, start)
    time = text[at + len(mark) :][:_TIME] if at >= 0 else b""
    return text[start : text.find(end, start)], time


def _members(channel: str, text: bytes) -> int:
    """Where the members begin that a body has after its type."""
    start = len(channel) + 10
    if text.startswith(b',"epoch":', start):
        start = text.find(b",", text.index(b'"seq":', start))
    return start


class _Kept(NamedTuple):
    at: float
    channel: str
    identity: bytes
    body: bytes


class RedundantPublisher:
    """Publishes while it holds the lease, and is ready to while it does not. Belongs to one event loop.

    Args:
        broker: shared with the other processes.
        clock: where time comes from.
        publish: in place of the broker's own, to count with.
        holder: a name unlike any other's.
    """

    def __init__(
        self,
        broker: LeasedBroker,
        *,
        clock: Clock,
        publish: Callable[[str, bytes], None] | None = None,
        holder: str | None = None,
    ) -> None:
        self._broker = broker
        self._publish = publish or broker.publish
        self._now = clock.monotonic
        self._holder = holder or new_connection_id()
        self._token = 0
        self._kept: deque[_Kept] = deque()
        self._covered = self._now()
        """When a holder, this one or another, was last known to be well."""
        self._published: set[bytes] = set()
        self._oldest: dict[bytes, bytes] = {}
        """By sequence, the time of the oldest message that was found published."""
        self._forget_at = 0.0
        self._deposed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.terms = 0
        """How often the lease was taken."""
        self.skipped = 0
        """Messages that were not published because a predecessor had done so."""
        self.forgotten = 0
        """Messages let go because nobody could publish for too long."""

    @property
    def leading(self) -> bool:
        """Whether this process publishes."""
        return self._token != 0

    def publish(self, channel: str, body: bytes) -> None:
        """Publish, or keep; see ``Broker.publish``."""
        identity = identity_of(channel, body)
        if identity is not None:
            self._keep(channel, identity, body)
            if self._published and self._is_published(channel, identity, body):
                self.skipped += 1
                return
        if self._token:
            self._publish(channel, body)

    async def start(self) -> None:
        """Try for the lease, then go on doing so until ``close``.

        Raises:
            BrokerError: the broker is away.
        """
        await self._step()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Write what waits, then let a standby take over at once."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        if self._token:
            with contextlib.suppress(BrokerError, TimeoutError):
                async with asyncio.timeout(2.0):
                    await self._broker.flush()
                    await self._broker.release(self._holder)
            self._token = 0

    async def _run(self) -> None:
        while True:
            delay = RENEW_SECONDS if self._token else POLL_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._deposed.wait()
            self._deposed.clear()
            with contextlib.suppress(BrokerError):  # the broker's status tells
                await self._step()

    async def _step(self) -> None:
        claim = await self._broker.claim(self._holder, LEASE_SECONDS)
        if claim.held and claim.token != self._token:
            await self._take_over(claim.token)
        elif not claim.held:
            self._step_down()
        self._covered = self._now()
        if self._published and self._covered > self._forget_at:
            self._published = set()

    async def _take_over(self, token: int) -> None:
        while (highest := await self._broker.fence(PUBLISHED_CHANNELS, token)) > token:
            # Redis has forgotten the lease and not the channels: the next token must be above theirs.
            claim = await self._broker.claim(self._holder, LEASE_SECONDS, highest + 1)
            if not claim.held:
                return
            token = claim.token
        published: set[bytes] = set()
        oldest: dict[bytes, bytes] = {}
        for channel in _CUTS:
            history = await self._broker.history(channel, limit=LOOK_BACK)
            for publication in history.publications:
                if (identity := identity_of(channel, publication.message)) is not None:
                    published.add(identity)
                    sequence, time = moment_of(channel, publication.message)
                    oldest[sequence] = min(time, oldest.get(sequence, time))
        # No await from here on: what is kept ends where publishing begins.
        self._broker.begin_term(token, self._on_deposed)
        self._token = token
        self.terms += 1
        self._published = published
        self._oldest = oldest
        self._forget_at = self._now() + REMEMBER_SECONDS
        missing = {
            kept.identity: kept
            for kept in self._kept
            if not self._is_published(kept.channel, kept.identity, kept.body)
        }
        for kept in missing.values():
            with contextlib.suppress(PublishBufferFull):  # counted by the broker, shown by an epoch
                self._publish(kept.channel, kept.body)
        _log.info("leading", token=token, missing=len(missing))

    def _on_deposed(self) -> None:
        self._step_down()
        self._deposed.set()

    def _step_down(self) -> None:
        if self._token:
            self._token = 0
            _log.warning("standing_by", reason="another process has taken the lease")

    def _is_published(self, channel: str, identity: bytes, body: bytes) -> bool:
        """Whether a predecessor published it: it was found, or is older than all that was looked at."""
        if identity in self._published:
            return True
        sequence, time = moment_of(channel, body)
        return time < self._oldest.get(sequence, b"")

    def _keep(self, channel: str, identity: bytes, body: bytes) -> None:
        kept = self._kept
        kept.append(_Kept(self._now(), channel, identity, body))
        oldest = self._covered - KEEP_SECONDS
        while kept[0].at < oldest:
            kept.popleft()
        if len(kept) > KEEP_MESSAGES:
            kept.popleft()
            self.forgotten += 1
