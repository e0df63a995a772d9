"""Where clients under test arrive: a listening socket, and the command that makes them come.

The command is run again and again, several at once, so that a client is always there when a case wants one.
Each is told an address of its own (``ws://127.0.0.1:PORT/7``), by which it is known whose connection it is. A
client that connects again by itself when a connection ends is not started anew, which is much quicker.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
from collections import deque
from collections.abc import Sequence
from typing import Final, cast

from omega_ai.testkit.conformance.clients.caller import Caller

HOST: Final = "127.0.0.1"
AT_ONCE: Final = 8
"""Processes of the command that run at the same time."""
LEAVE_S: Final = 1.0
"""Seconds in which a client must have ended, or come again, after its connection; or it is ended."""
BARREN: Final = 5
"""So many that end without having connected, one after the other, and the command is given up."""
TAIL_LINES: Final = 12
END_S: Final = 2.0


class NoClient(Exception):
    """No client came; says why, as far as that is known."""


class CannotListen(Exception):
    """The port cannot be had; says which, and why."""


class _Run:
    """One process of the command."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.connections = 0


class Arrivals:
    """Takes connections. ``async with`` it. ``command`` has ``{url}`` in it; None: clients come unasked."""

    def __init__(self, command: Sequence[str] | None, *, port: int = 0, at_once: int = AT_ONCE) -> None:
        self.command = None if command is None else list(command)
        self.log: deque[str] = deque(maxlen=200)
        """The last lines that the command wrote."""
        self.keys: set[str] = set()
        """Every Sec-WebSocket-Key that was seen."""
        self.repeated_keys = 0
        self.arrived = 0
        self._port = port
        self._at_once = at_once
        self._queue: asyncio.Queue[Caller] = asyncio.Queue()
        self._numbers = itertools.count(1)
        self._runs: dict[str, _Run] = {}
        self._workers: list[asyncio.Task[None]] = []
        self._barren = 0
        self._last_end = ""
        self._gave_up = asyncio.Event()
        self._callers: set[Caller] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Where clients are to connect."""
        return f"ws://{HOST}:{self._port}/"

    async def __aenter__(self) -> Arrivals:
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: cast(asyncio.BaseProtocol, Caller(self._came)), HOST, self._port, backlog=64
            )
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            raise CannotListen(f"port {self._port} cannot be listened on: {reason}") from None
        self._port = self._server.sockets[0].getsockname()[1]
        if self.command is not None:
            self._workers = [asyncio.create_task(self._work(self.command)) for _ in range(self._at_once)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._workers.clear()
        for caller in list(self._callers):
            caller.hang_up(rudely=True)
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def next(self, within: float) -> Caller:
        """The next client that has come.

        Raises:
            NoClient: none came within so many seconds.
        """
        try:
            async with asyncio.timeout(within):
                while True:
                    caller = await self._wait()
                    if caller.ended is None:  # it may have lost patience
                        return caller
        except TimeoutError:
            raise NoClient(f"no client came within {within:g} s{self._why()}") from None

    async def _wait(self) -> Caller:
        if self._queue.empty() and self._gave_up.is_set():
            raise NoClient(f"the command ends without connecting{self._why()}")
        waiting = asyncio.ensure_future(self._queue.get())
        lost = asyncio.ensure_future(self._gave_up.wait())
        try:
            await asyncio.wait((waiting, lost), return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                return waiting.result()
        finally:
            lost.cancel()
            if not waiting.done():
                waiting.cancel()
        raise NoClient(f"the command ends without connecting{self._why()}")

    def release(self, caller: Caller) -> None:
        """A case is done with it: hang up; who does not leave by himself is ended."""
        caller.hang_up(rudely=True)
        run = self._runs.get(caller.target)
        if run is not None:
            asyncio.get_running_loop().call_later(LEAVE_S, self._see_off, run, caller.number)

    def _see_off(self, run: _Run, number: int) -> None:
        if run.connections == number:  # it has not come again since
            _signal(run.process, signal.SIGKILL)

    def _came(self, caller: Caller) -> None:
        self.arrived += 1
        self._barren = 0
        run = self._runs.get(caller.target)
        if run is not None:
            run.connections += 1
            caller.number = run.connections
        self.repeated_keys += caller.key in self.keys
        self.keys.add(caller.key)
        self._callers = {one for one in self._callers if one.ended is None} | {caller}
        self._queue.put_nowait(caller)

    def _why(self) -> str:
        said = "\n".join(list(self.log)[-TAIL_LINES:])
        parts = [self._last_end] if self._last_end else []
        parts += [f"its last lines:\n{said}"] if said else []
        return ": " + "; ".join(parts) if parts else ""

    # The command.

    async def _work(self, command: list[str]) -> None:
        while not self._gave_up.is_set():
            target = f"/{next(self._numbers)}"
            words = [word.replace("{url}", self.url.rstrip("/") + target) for word in command]
            try:
                process = await asyncio.create_subprocess_exec(
                    *words,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                    env={**os.environ, "PYTHONUNBUFFERED": "1"},
                    start_new_session=True,
                )
            except OSError as error:
                self._last_end = f"{words[0]} cannot be started: {error.strerror}"
                self._gave_up.set()
                return
            run = self._runs[target] = _Run(process)
            try:
                await self._watch(run)
            finally:
                del self._runs[target]
                _signal(process, signal.SIGKILL)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(END_S):
                        await process.wait()

    async def _watch(self, run: _Run) -> None:
        process = run.process
        assert process.stdout is not None  # noqa: S101 - it was asked for
        with contextlib.suppress(ValueError):  # a line without end: nobody needs to read it
            while line := await process.stdout.readline():
                self.log.append(line.decode("utf-8", "backslashreplace").rstrip()[:500])
        code = await process.wait()
        if not run.connections:
            self._barren += 1
            self._last_end = f"it ended with exit code {code}"
            if self._barren >= BARREN and not self.arrived:
                self._gave_up.set()
            await asyncio.sleep(0.1)


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    """To the process and those that it started."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
