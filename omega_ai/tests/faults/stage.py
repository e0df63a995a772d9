"""The processes of a run: a Redis, two ingest processes, an edge with workers and one without."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Protocol

from omega_ai.tests.faults.plugin import MUTANT, TAPE
from omega_ai.tests.feed_server import FeedProcess
from omega_ai.tests.valkey import ValkeyProcess

STARTUP = Path(__file__).parent / "startup"
PROJECT = Path(__file__).parents[3]
"""Said explicitly: when ``sitecustomize`` is loaded, the current directory is not on the path yet."""

START_SECONDS = 240.0
"""A process whose Redis is cut off every few seconds needs many attempts."""


class Redis(Protocol):
    """What faults do to a Redis, however it is built."""

    longest_pause: float
    """Seconds for which its primary may be paused without another taking over."""

    @property
    def url(self) -> str:
        """For ``--broker``."""
        ...

    def kill(self) -> None:
        """kill -9 of whoever takes the writes."""
        ...

    def restart(self) -> None:
        """Bring back what was killed."""
        ...

    def pause(self) -> None:
        """SIGSTOP of whoever takes the writes."""
        ...

    def resume(self) -> None:
        """SIGCONT."""
        ...

    def was_replaced(self) -> bool:
        """Whether another has taken over from the one that was resumed last."""
        ...

    def command(self, *words: str) -> bytes:
        """To whoever takes the writes."""
        ...

    def position(self, channel: str) -> tuple[bytes, int] | None:
        """The channel's epoch and seq."""
        ...

    def close(self) -> None:
        """End all of it."""
        ...


class SingleRedis:
    """One Valkey that keeps what it acknowledged through a kill."""

    longest_pause = math.inf

    def __init__(self) -> None:
        self._process = ValkeyProcess(tcp=True, persistent=True, options={"enable-debug-command": "yes"})
        self._process.start()
        self.down = False

    @property
    def url(self) -> str:
        return self._process.url + "?durable=yes"

    def kill(self) -> None:
        if not self.down:
            self.down = True
            self._process.kill()

    def restart(self) -> None:
        if self.down:
            self._process.start()
            self.down = False

    def pause(self) -> None:
        if not self.down:
            self._process.pause()

    def resume(self) -> None:
        if not self.down:
            self._process.resume()

    def was_replaced(self) -> bool:
        return False

    def command(self, *words: str) -> bytes:
        return b"" if self.down else self._process.command(*words)

    def position(self, channel: str) -> tuple[bytes, int] | None:
        words = self.command("HMGET", f"omega:{{{channel}}}:meta", "epoch", "seq").split(b"\r\n")
        return (words[2], int(words[4])) if len(words) > 4 else None

    def close(self) -> None:
        self._process.close()


class Member:
    """One ``omega serve`` that is started again whenever it is not meant to be down."""

    def __init__(self, name: str, directory: Path, environment: dict[str, str], *arguments: str) -> None:
        self.name = name
        self._arguments = list(arguments)
        (directory / name).mkdir()
        self.process = FeedProcess(directory / name, *arguments, environment=environment)
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        """Start it, again and again while what it needs is away, or while other faults hit it."""
        async with self._lock:
            deadline = time.monotonic() + START_SECONDS
            while self.process.pid is None:
                try:
                    await asyncio.to_thread(self.process.start_with, *self._arguments)
                except AssertionError:
                    if time.monotonic() > deadline:
                        raise
                    await asyncio.sleep(0.3)
            if "--port" in self._arguments and self.process.at.ws is not None:
                port = self.process.at.ws.rpartition(":")[2]
                self._arguments[self._arguments.index("--port") + 1] = port

    async def kill(self) -> None:
        """kill -9."""
        async with self._lock:
            await asyncio.to_thread(self.process.kill)

    async def stop(self) -> None:
        """SIGTERM, and wait."""
        async with self._lock:
            await asyncio.to_thread(self.process.stop)

    def signal(self, number: signal.Signals) -> None:
        """A signal, if it runs."""
        if (pid := self.process.pid) is not None:
            os.kill(pid, number)

    def workers(self) -> list[int]:
        """The process ids of its children."""
        pid = self.process.pid
        if pid is None:
            return []
        try:
            text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        except OSError:
            return []
        return [int(word) for word in text.split()]


class Stage:
    """All of them together: ``async with Stage(...)``."""

    def __init__(self, redis: Redis, exchange_port: int, mutant: str | None, ingests: int = 2) -> None:
        self.redis = redis
        self._directory = tempfile.TemporaryDirectory(prefix="omega-faults-")
        directory = Path(self._directory.name)
        paths = [str(STARTUP), str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            TAPE: str(exchange_port),
            "PYTHONPATH": os.pathsep.join(paths),
            "XDG_STATE_HOME": str(directory),
            **({MUTANT: mutant} if mutant else {}),
        }
        common = ["--broker", redis.url, "--tls-port", "off", "--http-port", "off"]
        common += ["--history-messages", "200000", "--close-timeout", "1"]
        ingest = ["--role", "ingest", "--source", "simulated", *common]
        edge = ["--role", "edge", "--source", "none", "--port", "0", *common]
        self.ingests = [Member(f"ingest-{n}", directory, environment, *ingest) for n in range(1, ingests + 1)]
        self.edge = Member("edge", directory, environment, *edge)
        self.pool = Member("pool", directory, environment, *edge, "--workers", "2")
        self.addresses: list[str] = []

    @property
    def members(self) -> list[Member]:
        """Every ``omega serve``."""
        return [*self.ingests, self.edge, self.pool]

    async def __aenter__(self) -> Stage:
        try:
            await asyncio.gather(*(member.start() for member in self.members))
        except BaseException:
            await self.__aexit__()
            raise
        self.addresses.extend(member.process.at.ws or "" for member in (self.edge, self.pool))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.redis.resume()
        for member in self.members:
            for pid in member.workers():
                os.kill(pid, signal.SIGCONT)
            member.signal(signal.SIGCONT)
        await asyncio.gather(*(member.kill() for member in self.members), return_exceptions=True)
        self.redis.close()
        self._directory.cleanup()

    def logs(self) -> str:
        """What they wrote."""
        return "\n".join(f"--- {m.name}\n{m.process.log()}" for m in self.members)
