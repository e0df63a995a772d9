"""What is put into the feed's processes from outside: the stand-in exchange as source, and bugs on purpose.

Loaded by ``startup/sitecustomize.py`` in every Python process below a run, workers included.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from decimal import Decimal
from typing import Any

TAPE = "OMEGA_FAULTS_EXCHANGE"
MUTANT = "OMEGA_FAULTS_MUTANT"


def load() -> None:
    """Apply what the environment asks for."""
    if port := os.environ.get(TAPE):
        from omega_ai.data_feed import feed

        def open_source(settings: Any, *, clock: Any) -> Any:
            return None if settings.source == "none" else ExchangeSource(int(port), clock)

        vars(feed)["open_source"] = open_source
    if mutant := os.environ.get(MUTANT):
        MUTANTS[mutant][0]()


class ExchangeSource:
    """Takes the trades in, connects again when the exchange is lost, and skips what it had before."""

    name = "exchange"
    simulated = True
    venues = ("exchange",)

    def __init__(self, port: int, clock: Any) -> None:
        self._port = port
        self._clock = clock
        self._last = 0

    async def run(self, emit: Callable[[Any], None], report: Any, drain: Any = None) -> None:
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                try:
                    while line := await reader.readline():
                        self._take(line, emit)
                finally:
                    writer.close()
            await asyncio.sleep(0.2)

    def _take(self, line: bytes, emit: Callable[[Any], None]) -> None:
        from omega_ai.data_feed.market import Quote, Trade

        number, cents, at = map(int, line.split())
        if number <= self._last:
            return
        self._last = number
        now, price = self._clock.time_ns(), Decimal(cents).scaleb(-2)
        emit(Trade("exchange", "BTC-USD", str(number), price, Decimal("0.01"), "buy", at, now))
        if number % 4 == 0:
            emit(Quote("exchange", "BTC-USD", price, Decimal(1), price + 1, Decimal(1), now, now))


def _late_join() -> None:
    """Joining: what was missed is taken now, the channel is joined a little later."""
    from omega_ai.data_feed.websocket.joining import Joining

    joined = Joining._joined

    def late(self: Any, *arguments: Any, **named: Any) -> None:
        def later() -> None:
            if not self._session.closed:
                joined(self, *arguments, **named)
                self._session.flush()

        asyncio.get_running_loop().call_later(0.2, later)

    Joining._joined = late  # type: ignore[method-assign]


def _drop_buffer() -> None:
    """Writer: what has gathered while Redis was away is thrown away."""
    from omega_ai.data_feed.broker.redis_writer import Writer

    connected = Writer.connected

    def drop(self: Any, connection: Any, server: Any) -> None:
        self._buffer.clear()
        self._bytes = 0
        self._wake_flushes()
        # Otherwise the numbers would show that some are missing, and a new epoch would tell.
        self.begin_term(int(self._term.token))
        connected(self, connection, server)

    Writer.connected = drop  # type: ignore[method-assign]


def _script(old: str, new: str) -> None:
    from omega_ai.data_feed.broker import redis, redis_script, redis_writer

    text = redis_script.PUBLISH.replace(old, new)
    assert text != redis_script.PUBLISH
    for module in (redis, redis_script, redis_writer):
        if hasattr(module, "PUBLISH"):
            vars(module)["PUBLISH"] = text
    redis_writer.PUBLISH_SHA = redis_script.sha_of(text)  # type: ignore[attr-defined]


def _reuse_seq() -> None:
    """Script: now and then two messages get the same seq (the stream's refusal of it is got round)."""
    _script(
        "  seq = seq + 1\n  place()",
        "  if n % 53 ~= 0 or seq < 2 then seq = seq + 1 else redis.call('XTRIM', KEYS[2], 'MAXLEN', 0)\n"
        "    redis.call('XSETID', KEYS[2], string.format('%.0f-0', seq - 1)) end\n  place()",
    )


def _double_on_retry() -> None:
    """Script: a publication that is sent again is not recognised."""
    _script("if epoch and seq and last and n <= last then", "if false then")
    _script("  or (last and n > last + 1)\n", "\n")


def _skip_gap_fill() -> None:
    """Subscriber: goes on at the newest position without reading what was missed."""
    from omega_ai.data_feed.broker.base import History
    from omega_ai.data_feed.broker.redis_subscriber import Subscriber

    async def missed(self: Any, channel: Any) -> Any:
        position = await self._reader.position(channel.name)
        return History(position, [], whole=True), True

    Subscriber._missed = missed  # type: ignore[method-assign]


def _no_fence() -> None:
    """Script and lease: whoever wakes up late publishes among the messages of its successor."""
    _script("if token > 0 and token < fence then", "if false then")


def _no_look_back() -> None:
    """Lease: the standby publishes all that it kept, without looking what was published."""
    from omega_ai.data_feed import lease

    lease.LOOK_BACK = 0


def _forget_kept() -> None:
    """Lease: the standby keeps nothing."""
    from omega_ai.data_feed.lease import RedundantPublisher

    def keep(self: Any, channel: str, identity: bytes, body: bytes) -> None:
        """Nothing."""

    RedundantPublisher._keep = keep  # type: ignore[method-assign]


def _resume_short() -> None:
    """Replay: whoever resumes gets one message too few."""
    from omega_ai.data_feed.websocket.backlog import Backlog

    piece = Backlog.piece

    def short(self: Any, after: int) -> Any:
        return piece(self, after + 1 if after + 1 < self.last else after)

    Backlog.piece = short  # type: ignore[method-assign]


MUTANTS: dict[str, tuple[Callable[[], None], str]] = {
    "late-join": (_late_join, "subscribed again"),
    "resume-short": (_resume_short, "cut of some clients"),
    "drop-buffer": (_drop_buffer, "kill -9 of Redis"),
    "reuse-seq": (_reuse_seq, "cut of some clients"),
    "double-on-retry": (_double_on_retry, "long pause of Redis"),
    "skip-gap-fill": (_skip_gap_fill, "cut to Redis"),
    "no-fence": (_no_fence, "pause of an ingest"),
    "no-look-back": (_no_look_back, "kill -9 of an ingest"),
    "forget-kept": (_forget_kept, "kill -9 of an ingest"),
}
"""Name -> the bug, and the fault under which it shows."""

ALONE = frozenset({"drop-buffer"})
"""Bugs that a standby makes good: they show with one ingest process."""
