"""A stand-in exchange: trades numbered without a gap, and a backlog for whoever connects, as at venues."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque

BACKLOG_SECONDS = 120.0


class Exchange:
    """``async with Exchange(rng, rate) as exchange``: trades at ``rate`` a second until ``stop_trading``."""

    def __init__(self, rng: random.Random, rate: float) -> None:
        self._rng = rng
        self._rate = rate
        self._backlog: deque[bytes] = deque(maxlen=int(BACKLOG_SECONDS * rate))
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._task: asyncio.Task[None] | None = None
        self.last = 0
        """The newest trade's number."""

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> Exchange:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._task = asyncio.create_task(self._trade())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop_trading()
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()

    async def stop_trading(self) -> None:
        """No more trades."""
        if self._task is not None:
            task, self._task = self._task, None
            if task.done():
                task.result()  # It does not end by itself: a run without trades would prove nothing.
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(self._backlog))
        self._writers.add(writer)
        try:
            await reader.read()
        except OSError:
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _trade(self) -> None:
        while True:
            # Now and then a burst: order and batches matter more than an even pace.
            count = 1 if self._rng.random() < 0.9 else self._rng.randint(2, 20)
            lines = []
            for _ in range(count):
                self.last += 1
                cents = 6_000_000 + self._rng.randint(-1000, 1000)
                lines.append(b"%d %d %d\n" % (self.last, cents, time.time_ns()))
            self._backlog.extend(lines)
            for writer in self._writers:
                if not writer.is_closing():
                    writer.write(b"".join(lines))
            await asyncio.sleep(count / self._rate)
