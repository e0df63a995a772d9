"""A broker in Redis (>= 6.2) or Valkey: what is published outlives this process and reaches every other.

Each channel is the four keys of ``redis_script``. Publishing is one script, so ``seq``, history, newest
message and delivery never disagree. Nothing is lost or doubled when connections or processes die: see
``redis_script`` for the publishing side, ``redis_subscriber`` for the other.

What it cannot know: a Redis that is restarted or fails over may have forgotten its last messages. A process
notices from what it has itself seen. One that starts after such a restart cannot, and therefore begins a new
epoch, unless the server never forgets what it acknowledged: ``appendfsync always``, the embedded one, or one
whose URL says ``durable=yes``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import hiredis

from omega_ai.core.clock import Clock
from omega_ai.data_feed.broker.base import (
    HISTORY_BYTES,
    HISTORY_MESSAGES,
    HISTORY_SECONDS,
    BrokerClosed,
    BrokerError,
    BrokerStatus,
    BrokerUnreachable,
    Claim,
    Deliver,
    History,
    Position,
    check_channel,
)
from omega_ai.data_feed.broker.redis_address import RedisAddress
from omega_ai.data_feed.broker.redis_connection import (
    ELSEWHERE,
    ConnectionLost,
    RedisConnection,
    explain_reply,
)
from omega_ai.data_feed.broker.redis_link import Link
from omega_ai.data_feed.broker.redis_place import Place, Slot, place_of
from omega_ai.data_feed.broker.redis_reader import Reader
from omega_ai.data_feed.broker.redis_script import (
    CLAIM,
    FENCE,
    LEASE_KEY,
    POSITION,
    PUBLISH,
    RELEASE,
    keys_of,
)
from omega_ai.data_feed.broker.redis_subscriber import Subscriber
from omega_ai.data_feed.broker.redis_writer import Server, Writer

_log = logging.getLogger(__name__)
_LOADING_SECONDS = 30.0
_PATIENCE_SECONDS = 1.0
_RETRY_SECONDS = 0.02
_PASSING = ("LOADING", "TRYAGAIN", "CLUSTERDOWN", *ELSEWHERE)
"""What Redis answers for a moment while it starts, fails over or moves slots."""

_Answer = TypeVar("_Answer")


class RedisBroker:
    """See the module's text and ``Broker``.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://`` (see ``redis_address``), or ``redis+sentinel://`` (see
            ``redis_place``).
        clock: tells the age of history.
        rng: spreads reconnects. Epochs never come from it: with one seed, two runs would give the same name
            to two different sequences in one Redis.
        history_messages, history_seconds, history_bytes: bounds of a channel's history, kept roughly: Redis
            cuts it in blocks of up to 100 messages, and age and bytes only while something is published.
        buffer_messages, buffer_bytes: bounds of what waits while Redis is away.
        timeout: seconds to connect, and for an answer before a connection is given up.
        slot: the part of a cluster to be used, whose node is sought instead of ``url``; messages then go by
            sharded pub/sub.

    Raises:
        InvalidAddress: the URL says nothing that could be connected to.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        rng: random.Random | None = None,
        history_messages: int = HISTORY_MESSAGES,
        history_seconds: float = HISTORY_SECONDS,
        history_bytes: int = HISTORY_BYTES,
        buffer_messages: int = 100_000,
        buffer_bytes: int = 64 * 1_048_576,
        timeout: float = 5.0,
        slot: Slot | None = None,
    ) -> None:
        spread = rng or random.Random()
        self._place: Place = slot if slot is not None else place_of(url, spread)
        self._clustered = slot is not None
        self._timeout = timeout
        self._now = clock.monotonic
        self._server = Server("", durable=False)
        self._closed = False
        self._down = f"Redis at {self.address} has not been asked yet"
        self._refusal: str | None = None
        self._checker: asyncio.Task[None] | None = None
        self._deposed: Callable[[], None] = lambda: None
        self._reader = Reader(self._connection, lambda: self._server.run_id, history_messages)
        self._subscriber = Subscriber(self._reader, "SSUBSCRIBE" if self._clustered else "SUBSCRIBE")
        self._writer = Writer(
            now=clock.monotonic,
            seen=self._subscriber.position,
            refused=self._refused,
            fenced=self._fenced,
            history_messages=history_messages,
            history_seconds=history_seconds,
            history_bytes=history_bytes,
            buffer_messages=buffer_messages,
            buffer_bytes=buffer_bytes,
            publish=b"SPUBLISH" if self._clustered else b"PUBLISH",
        )
        self._commands = Link(
            self._place,
            name="omega",
            timeout=timeout,
            rng=spread,
            greet=self._greet,
            up=lambda connection: self._writer.connected(connection, self._server),
            down=self._lost,
            follow=True,
        )
        self._live = Link(
            self._place,
            name="omega-live",
            timeout=timeout,
            rng=spread,
            up=self._subscriber.connected,
            down=lambda _: None,  # Ends and comes back with the other, or is cut alone and back at once.
            on_push=self._subscriber.arrived,
        )

    async def start(self) -> None:
        """Connect; waits up to 30 s for a Redis that is still reading its data.

        Raises:
            BrokerUnreachable: nothing usable answers; the text says what to do.
        """
        if self._closed:
            raise BrokerClosed("the Redis broker is closed")
        deadline = asyncio.get_running_loop().time() + _LOADING_SECONDS
        while True:
            try:
                await self._commands.start()
                break
            except BrokerUnreachable as error:
                self._down = str(error)
                if "LOADING" not in self._down or asyncio.get_running_loop().time() > deadline:
                    raise
            await asyncio.sleep(0.1)
        try:
            await self._live.start()
        except BaseException:
            await self._commands.close()
            raise
        self._checker = asyncio.get_running_loop().create_task(self._check())

    async def close(self) -> None:
        """Write what waits (5 s at most), then disconnect."""
        if self._closed:
            return
        self._closed = True
        if self._checker is not None:
            self._checker.cancel()
            await asyncio.gather(self._checker, return_exceptions=True)
        try:
            await self._writer.close(self._timeout)
        except (TimeoutError, BrokerError):
            _log.warning("%d publications were not written before the end: %s", len(self._writer), self._down)
        await self._subscriber.close()
        await self._live.close()
        await self._commands.close()

    def publish(self, channel: str, body: bytes) -> None:
        """See ``Broker.publish``; goes out with all else that is published in this turn of the loop."""
        self._writer.publish(channel, body)

    async def flush(self) -> None:
        """Wait until Redis has taken all that was published; as long as it is away, if need be."""
        await self._writer.flush()

    async def subscribe(self, channels: Iterable[str], deliver: Deliver) -> dict[str, Position]:
        """See ``Broker.subscribe``.

        Raises:
            BrokerError: Redis is away or refuses.
        """
        wanted = list(channels)
        try:
            async with asyncio.timeout(self._timeout):
                return await self._patiently(lambda: self._subscriber.subscribe(wanted, deliver))
        except TimeoutError as error:
            raise BrokerError(
                f"Redis at {self.address} did not confirm within {self._timeout:g} s"
            ) from error

    async def history(self, channel: str, since: Position | None = None, limit: int | None = None) -> History:
        """See ``Broker.history``.

        Raises:
            BrokerError: Redis is away or refuses.
        """
        check_channel(channel)
        return await self._patiently(lambda: self._reader.history(channel, since, limit))

    async def claim(self, holder: str, seconds: float, floor: int = 0) -> Claim:
        """See ``LeasedBroker.claim``."""
        held, token, left = await self._script(CLAIM, LEASE_KEY, holder, int(seconds * 1000), floor)
        return Claim(bool(held), int(token), left / 1000)

    async def release(self, holder: str) -> None:
        """See ``LeasedBroker.release``."""
        await self._script(RELEASE, LEASE_KEY, holder)

    async def fence(self, channels: Iterable[str], token: int) -> int:
        """See ``LeasedBroker.fence``."""
        return max([int(await self._script(FENCE, keys_of(channel).meta, token)) for channel in channels])

    def begin_term(self, token: int, deposed: Callable[[], None]) -> None:
        """See ``LeasedBroker.begin_term``."""
        self._deposed = deposed
        self._writer.begin_term(token)

    def status(self) -> BrokerStatus:
        """How Redis fares, with what to do about it when it does not fare well."""
        told = self._told()
        if self._closed:
            return told._replace(connected=False, detail="closed")
        if self._commands.connection is None:
            return told._replace(connected=False, detail=self._down)
        if self._live.connection is None:
            joining = f"joining the live channels of Redis at {self.address} again"
            return told._replace(connected=False, detail=joining)
        if self._refusal is not None:
            return told._replace(connected=False, detail=self._refusal)
        return told

    def _told(self) -> BrokerStatus:
        return BrokerStatus(
            True,
            f"connected to Redis at {self.address}",
            len(self._writer),
            # A Redis that restarts cuts both connections: that is one loss.
            max(self._commands.reconnects, self._live.reconnects),
            self._writer.latency.read(),
        )

    async def ping(self) -> float:
        """Round trip in seconds."""
        connection = self._connection()
        began = self._now()
        try:
            await connection.call("PING")
        except hiredis.ReplyError as error:
            raise BrokerError(explain_reply(str(error), self.address)) from error
        return self._now() - began

    @property
    def address(self) -> RedisAddress:
        """Of the server in use, or sought."""
        return self._place.address

    @property
    def dropped(self) -> int:
        """Publications refused because too many waited."""
        return self._writer.dropped

    async def _script(self, script: str, key: bytes, *arguments: str | int) -> Any:
        """A script that is seldom used: sent whole."""
        return await self._patiently(lambda: self._connection().call("EVAL", script, "1", key, *arguments))

    def _fenced(self) -> None:
        self._deposed()

    async def _patiently(self, read: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """Bridge a connection that was cut and is back in a moment: asking again does no harm."""
        patience = min(self._timeout, _PATIENCE_SECONDS)
        began = self._now()
        while True:
            try:
                self._connection()
                return await read()
            except (ConnectionLost, BrokerUnreachable, hiredis.ReplyError) as error:
                passing = not isinstance(error, hiredis.ReplyError) or str(error).startswith(_PASSING)
                if not passing or self._now() - began > patience:
                    if isinstance(error, hiredis.ReplyError):
                        raise BrokerError(explain_reply(str(error), self.address)) from error
                    raise
            await asyncio.sleep(_RETRY_SECONDS)

    def _connection(self) -> RedisConnection:
        connection = self._commands.connection
        if self._closed:
            raise BrokerClosed("the Redis broker is closed")
        if connection is None:
            raise BrokerUnreachable(self._down)
        return connection

    async def _greet(self, connection: RedisConnection) -> None:
        """Learn who is at the other end, and whether it can be used."""
        info, replication, publish, position, policy = await connection.call_all(
            [
                ("INFO", "server"),
                ("INFO", "replication"),
                ("SCRIPT", "LOAD", PUBLISH),
                ("SCRIPT", "LOAD", POSITION),
                ("CONFIG", "GET", "append*"),
            ]
        )
        for reply in (publish, position):
            if isinstance(reply, hiredis.ReplyError):
                raise BrokerUnreachable(explain_reply(str(reply), self.address))
        facts = _facts(info) | _facts(replication)
        version = facts.get("redis_version", "")
        with contextlib.suppress(ValueError):
            if version and tuple(int(part) for part in version.split(".")[:2]) < (6, 2):
                raise BrokerUnreachable(
                    f"Redis at {self.address} is version {version}; 6.2 or newer is needed"
                )
        if not self._clustered and "cluster" in (facts.get("redis_mode"), facts.get("server_mode")):
            raise BrokerUnreachable(explain_reply("MOVED", self.address))
        if facts.get("role") == "slave":
            raise BrokerUnreachable(explain_reply("READONLY", self.address))
        durable = self.address.durable
        if durable is None:
            options = dict(zip(policy[::2], policy[1::2], strict=False)) if type(policy) is list else {}
            durable = options.get(b"appendonly") == b"yes" and options.get(b"appendfsync") == b"always"
        if (old := self._live.connection) is not None and old.address != connection.address:
            old.abort()  # It listens to a server that is not, or no longer, the primary.
        # Without the right to see INFO, runs cannot be told apart; what this process has seen still counts.
        self._server = Server(facts.get("run_id", "unknown"), durable)

    def _lost(self, reason: str) -> None:
        if self._down != reason:
            _log.warning("%s", reason)
        self._down = reason
        self._writer.disconnected()

    def _refused(self, text: str | None) -> None:
        if text is None:
            self._refusal = None
            return
        refusal = explain_reply(text, self.address)
        if refusal != self._refusal:
            _log.warning("%s", refusal)
        self._refusal = refusal

    async def _check(self) -> None:
        while True:
            await asyncio.sleep(self._timeout)
            with contextlib.suppress(BrokerError):
                await self._subscriber.check()


def _facts(info: object) -> dict[str, str]:
    if not isinstance(info, bytes):
        return {}
    lines = (line.partition(":") for line in info.decode("utf-8", "replace").splitlines())
    return {name: value for name, _, value in lines}
