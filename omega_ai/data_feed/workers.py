"""Several processes on one port (SO_REUSEPORT), all fed by one broker, seen as one server.

The kernel spreads new connections over the workers. Each is a whole edge: its own hub, sessions and
listeners. The parent keeps the source, the price, the broker and the HTTP side; it starts workers anew when
they die, and replaces them one by one, the new one listening before the old one lets its clients go.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Coroutine
from typing import Any

import structlog
from msgspec import structs

from omega_ai.data_feed.observability.merge import merge_snapshots
from omega_ai.data_feed.observability.snapshot import BrokerFigures, Snapshot, WorkerFigures
from omega_ai.data_feed.settings import FeedSettings
from omega_ai.data_feed.worker_protocol import Command, Start, decode_answer, encode_line

START_TIMEOUT = 60.0
STOP_TIMEOUT = 10.0
POLL_SECONDS = 1.0
SILENT_SECONDS = 10.0
"""A worker that has not answered for so long is counted as not running: its loop stands still."""
RESTART_DELAYS = (0.1, 0.5, 2.0, 10.0)
_LINE = 1 << 20

_log = structlog.get_logger(__name__)


class WorkerFailed(Exception):
    """A worker did not start. The text is its own reason."""


class Worker:
    """One child process and what it last said."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.snapshot: Snapshot | None = None
        self.told_at = time.monotonic()
        self.retiring = False

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def tell(self, command: Command) -> None:
        """Send a command; nothing happens if it is gone."""
        if self.process.stdin is not None and not self.process.stdin.is_closing():
            self.process.stdin.write(encode_line(command))


class WorkerPool:
    """``start`` it, ``roll`` it, ``close`` it. ``settings`` are those of one worker, ports fixed."""

    def __init__(self, settings: FeedSettings, count: int) -> None:
        self.settings = settings
        self.count = count
        self.workers: list[Worker] = []
        self.restarts = 0
        self._gone = _Totals()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    async def start(self) -> None:
        """Start all workers.

        Raises:
            WorkerFailed: one of them could not; none is left running.
        """
        spawning = [asyncio.create_task(self._spawn()) for _ in range(self.count)]
        try:
            self.workers = list(await asyncio.gather(*spawning))
        except BaseException:
            # Those that have started, or are about to, are not wanted without the others.
            for task in spawning:
                task.cancel()
            outcomes = await asyncio.gather(*spawning, return_exceptions=True)
            self.workers = [outcome for outcome in outcomes if isinstance(outcome, Worker)]
            await self.close()
            raise
        for worker in self.workers:
            self._watch(worker)
        self._keep(self._poll())

    def snapshots(self) -> list[Snapshot]:
        """The newest reading of each worker, and the totals of those that are gone."""
        living = [worker.snapshot for worker in self.workers if worker.snapshot is not None]
        return [*living, *self._gone.snapshots]

    def figures(self) -> list[WorkerFigures]:
        """Each worker by its place, those that are being started again included."""
        now = time.monotonic()
        return [
            WorkerFigures(
                place=place,
                running=worker.process.returncode is None and now - worker.told_at < SILENT_SECONDS,
                connections=0 if worker.snapshot is None else worker.snapshot.clients,
                process=None if worker.snapshot is None else worker.snapshot.process,
            )
            for place, worker in enumerate(self.workers)
        ]

    async def roll(self, seconds: float) -> None:
        """Replace every worker by a new one; its clients get 1012, spread over ``seconds``."""
        for old in list(self.workers):
            new = await self._spawn()
            old.retiring = True
            self.workers[self.workers.index(old)] = new
            self._watch(new)
            old.tell(Command("retire", seconds))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds + STOP_TIMEOUT):
                    await old.process.wait()
            await _end(old)
            _log.info("worker_replaced", old=old.pid, new=new.pid)

    async def drain(self, seconds: float) -> None:
        """Let every worker send its clients away over ``seconds`` (1012) and end; none takes its place."""
        leaving = [worker for worker in self.workers if worker.process.returncode is None]
        for worker in leaving:
            worker.retiring = True
            worker.tell(Command("retire", seconds))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds + STOP_TIMEOUT):
                await asyncio.gather(*(worker.process.wait() for worker in leaving))

    def reload(self) -> None:
        """Let every worker read its certificate again."""
        for worker in self.workers:
            worker.tell(Command("reload"))

    def reconfigure(self, settings: FeedSettings) -> None:
        """Give every worker, and each that is started later, what is reloadable of ``settings``."""
        self.settings = settings
        for worker in self.workers:
            worker.tell(Command("reload", settings=settings))

    async def close(self) -> None:
        """End all workers: their clients get 1001 first."""
        self._closing = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(_end(worker) for worker in self.workers))
        self.workers = []

    async def _spawn(self) -> Worker:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "omega_ai.data_feed.worker", stdin=PIPE, stdout=PIPE, limit=_LINE
        )
        worker = Worker(process)
        settings = self.settings
        assert process.stdin is not None  # noqa: S101 - PIPE was asked for
        assert process.stdout is not None  # noqa: S101
        try:
            process.stdin.write(encode_line(Start(settings)))
            async with asyncio.timeout(START_TIMEOUT):
                line = await process.stdout.readline()
            answer = decode_answer(line) if line else None
            if answer is None or not answer.ready:
                raise WorkerFailed(
                    answer.error if answer and answer.error else "a worker ended as it started"
                )
        except TimeoutError:
            await _end(worker)
            raise WorkerFailed(f"a worker was not ready within {START_TIMEOUT:g} s") from None
        except BaseException:
            await _end(worker)
            raise
        if self.settings is not settings:  # they changed while it started
            worker.tell(Command("reload", settings=self.settings))
        return worker

    def _watch(self, worker: Worker) -> None:
        self._keep(self._listen(worker))

    async def _listen(self, worker: Worker) -> None:
        """Take what a worker says until it ends; then, if it was not meant to, start another."""
        stdout = worker.process.stdout
        assert stdout is not None  # noqa: S101 - PIPE was asked for
        while line := await stdout.readline():
            snapshot = decode_answer(line).snapshot
            if snapshot is not None:
                worker.snapshot = snapshot
                worker.told_at = time.monotonic()
        code = await worker.process.wait()
        self._gone.add(worker.snapshot)
        worker.snapshot = None
        if worker.retiring or self._closing:
            return
        _log.error("worker_died", pid=worker.pid, exit_code=code)
        await self._replace(worker)

    async def _replace(self, dead: Worker) -> None:
        attempt = 0
        while True:
            await asyncio.sleep(RESTART_DELAYS[min(attempt, len(RESTART_DELAYS) - 1)])
            try:
                new = await self._spawn()
            except WorkerFailed as error:
                attempt += 1
                _log.error("worker_start_failed", error=str(error), attempt=attempt)
                continue
            self.restarts += 1
            self.workers[self.workers.index(dead)] = new
            self._watch(new)
            return

    async def _poll(self) -> None:
        while True:
            for worker in self.workers:
                worker.tell(Command("snapshot"))
            await asyncio.sleep(POLL_SECONDS)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Totals:
    """What workers that are gone had counted, so that counters never fall."""

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []

    def add(self, snapshot: Snapshot | None) -> None:
        if snapshot is None:
            return
        # Its counters go on; what it had at the moment, and the broker connection that it lost, do not.
        broker = BrokerFigures(reconnects=snapshot.broker.reconnects)
        left = structs.replace(
            snapshot,
            connections={},
            outbox_bytes=0,
            replays_active=0,
            backlog_bytes=0,
            inlet_waiting=0,
            broker=broker,
            process=None,
        )
        self.snapshots = [merge_snapshots(left, self.snapshots)]


async def _end(worker: Worker) -> None:
    """Let a worker go by closing its standard input; kill it if it does not."""
    process = worker.process
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(STOP_TIMEOUT):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
