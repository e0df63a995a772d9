"""A broker with nothing to install or run: a private Valkey, whose history and ``seq`` outlive us."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

import platformdirs

from omega_ai.core.clock import Clock
from omega_ai.data_feed.broker.base import (
    HISTORY_MESSAGES,
    HISTORY_SECONDS,
    BrokerStatus,
    BrokerUnreachable,
    Deliver,
    History,
    Position,
)
from omega_ai.data_feed.broker.redis import RedisBroker
from omega_ai.data_feed.broker.valkey import PrivateValkey

_log = logging.getLogger(__name__)
_WATCH_SECONDS = 0.2
_LONGEST_DELAY = 5.0


class EmbeddedBroker:
    """Starts a Valkey, talks to it as ``RedisBroker`` does, starts it again if it dies, ends it at ``close``.

    Args:
        state_dir: where its data lies; by default the user's state directory for omega-btc-ai.
        clock, rng, history_messages, history_seconds: as of ``RedisBroker``.
    """

    def __init__(
        self,
        state_dir: Path | None = None,
        *,
        clock: Clock,
        rng: random.Random | None = None,
        history_messages: int = HISTORY_MESSAGES,
        history_seconds: float = HISTORY_SECONDS,
    ) -> None:
        if state_dir is None:
            state_dir = Path(platformdirs.user_state_dir("omega-btc-ai")) / "valkey"
        self._valkey = PrivateValkey(state_dir)
        self._broker = RedisBroker(
            self.url,
            clock=clock,
            rng=rng,
            history_messages=history_messages,
            history_seconds=history_seconds,
        )
        self._watcher: asyncio.Task[None] | None = None
        self._trouble: str | None = None
        self._closed = False

    @property
    def url(self) -> str:
        """What other processes give ``open_broker`` to share this one while it runs."""
        return f"unix://{quote(str(self._valkey.socket))}?durable=yes"

    @property
    def directory(self) -> Path:
        """Where the data lies."""
        return self._valkey.directory

    @property
    def pid(self) -> int | None:
        """Process id of the Valkey; None while none runs."""
        return self._valkey.pid

    async def start(self) -> None:
        """Start Valkey and connect.

        Raises:
            BrokerUnreachable: it does not start, or the directory is in use; the text says what to do.
        """
        await self._valkey.start()
        try:
            await self._broker.start()
        except BaseException:
            await self._valkey.stop()
            raise
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def close(self) -> None:
        """Write what waits, then end Valkey, which has then all of it on the disk."""
        if self._closed:
            return
        self._closed = True
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        await self._broker.close()
        await self._valkey.stop()

    def publish(self, channel: str, body: bytes) -> None:
        """See ``Broker.publish``."""
        self._broker.publish(channel, body)

    async def flush(self) -> None:
        """See ``Broker.flush``."""
        await self._broker.flush()

    async def subscribe(self, channels: Iterable[str], deliver: Deliver) -> dict[str, Position]:
        """See ``Broker.subscribe``."""
        return await self._broker.subscribe(channels, deliver)

    async def history(self, channel: str, since: Position | None = None, limit: int | None = None) -> History:
        """See ``Broker.history``."""
        return await self._broker.history(channel, since, limit)

    def status(self) -> BrokerStatus:
        """See ``Broker.status``."""
        status = self._broker.status()
        if status.connected:
            return status._replace(detail=f"private Valkey, data in {self.directory}")
        return status._replace(detail=self._trouble) if self._trouble and not self._closed else status

    async def ping(self) -> float:
        """See ``Broker.ping``."""
        return await self._broker.ping()

    async def _watch(self) -> None:
        delay = _WATCH_SECONDS
        while True:
            await asyncio.sleep(delay)
            if self._valkey.pid is not None:
                delay = _WATCH_SECONDS
                continue
            _log.warning("Valkey in %s has ended by itself; it is started again", self.directory)
            try:
                await self._valkey.restart()
                self._trouble = None
            except (BrokerUnreachable, OSError) as error:
                self._trouble = str(error)
                delay = min(delay * 2, _LONGEST_DELAY)
