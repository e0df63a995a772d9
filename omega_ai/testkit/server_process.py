"""A server as a child process: started, waited for, stopped, killed and started again on the same ports."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

START_SECONDS: Final = 20.0
STOP_SECONDS: Final = 10.0
LOG_LINES: Final = 400
LINE_LIMIT: Final = 1 << 20


class ServerFailed(Exception):
    """The server did not start, or not stop; the text ends with the last lines of its log."""


class ServerProcess:
    """Runs ``command`` until it is stopped.

    It is up when ``ready`` accepts a line of its output, or, without ``ready``, when ``url`` takes a TCP
    connection. ``{port}`` in the command is replaced by a free port, the same one at every start.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        url: str | None = None,
        ready: Callable[[str], bool] | None = None,
        environment: Mapping[str, str] | None = None,
        start_seconds: float = START_SECONDS,
    ) -> None:
        if url is None and ready is None:
            raise ValueError("by what is it known to be up: a url, or a line of its output?")
        self.log: deque[str] = deque(maxlen=LOG_LINES)
        """The last lines that it wrote, standard output and error together."""
        port = str(free_port()) if any("{port}" in part for part in (*command, url or "")) else ""
        self.command = [part.replace("{port}", port) for part in command]
        self.url = None if url is None else url.replace("{port}", port)
        self._ready = ready
        self._environment = {**os.environ, **(environment or {})}
        self._start_seconds = start_seconds
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._up = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """Its process id, while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def start(self) -> None:
        """Start it, and return once it is up.

        Raises:
            ServerFailed: it ended, or was not up in time.
        """
        if self.pid is not None:
            return
        self._up.clear()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=self._environment,
                limit=LINE_LIMIT,
            )
        except OSError as error:
            raise ServerFailed(f"{self.command[0]} cannot be started: {error.strerror}") from None
        self._reader = asyncio.create_task(self._read(self._process))
        try:
            async with asyncio.timeout(self._start_seconds):
                while not await self._is_up():
                    if self._process.returncode is not None:
                        break
                    await asyncio.sleep(0.02)
                else:
                    return
        except TimeoutError:
            await self.kill()
            raise ServerFailed(f"not up within {self._start_seconds:g} s{self._tail()}") from None
        except asyncio.CancelledError:
            await self.kill()
            raise
        code = self._process.returncode
        await self.kill()
        raise ServerFailed(f"it ended with exit code {code} before it was up{self._tail()}")

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL if that does not help."""
        await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """SIGKILL: connections are cut."""
        await self._end(signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        """Send it a signal, such as SIGSTOP and SIGCONT."""
        pid = self.pid
        if pid is not None:
            os.kill(pid, number)

    async def __aenter__(self) -> ServerProcess:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise ServerFailed(f"it did not stop within {STOP_SECONDS:g} s{self._tail()}") from None
        finally:
            if self._reader is not None:
                self._reader.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._reader
                self._reader = None

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # longer than LINE_LIMIT: nobody needs to read it
                continue
            if not line:
                return
            text = line.decode("utf-8", "backslashreplace").rstrip()
            self.log.append(text)
            if self._ready is not None and not self._up.is_set() and self._ready(text):
                self._up.set()

    async def _is_up(self) -> bool:
        if self._ready is not None or self.url is None:
            return self._up.is_set()
        parts = urlsplit(self.url)
        port = parts.port or (443 if parts.scheme == "wss" else 80)
        try:
            _, writer = await asyncio.open_connection(parts.hostname, port)
        except OSError:
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True

    def _tail(self) -> str:
        return (
            "; it said nothing" if not self.log else "; its last lines:\n" + "\n".join(list(self.log)[-12:])
        )


class OwnServer(ServerProcess):
    """A feed of ours without a source, on free ports of this machine."""

    def __init__(self, *arguments: str) -> None:
        self.secure_url: str | None = None
        self.ca: Path | None = None
        self._arguments = arguments
        super().__init__(
            [],
            ready=self._announced,
            environment={"OMEGA_LOG_FORMAT": "json", "OMEGA_LOG_LEVEL": "info"},
        )

    async def start(self) -> None:
        """See ``ServerProcess``; after the first time on the same ports."""
        self.command = [
            *(sys.executable, "-m", "omega_ai", "serve", "--source", "none", "--broker", "memory"),
            *("--host", "127.0.0.1", "--http-port", "off"),
            *("--port", str(_port(self.url)), "--tls-port", str(_port(self.secure_url))),
            *self._arguments,
        ]
        await super().start()

    def _announced(self, line: str) -> bool:
        try:
            fields: Any = json.loads(line)
        except ValueError:
            return False
        if not isinstance(fields, dict) or fields.get("event") != "ready":
            return False
        self.url, self.secure_url = fields["ws"], fields["wss"]
        ca = re.search(r"ca=PosixPath\('([^']+)'\)", str(fields.get("certificate")))
        self.ca = Path(ca[1]) if ca is not None else None
        return True


def _port(url: str | None) -> int:
    return 0 if url is None else urlsplit(url).port or 0


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
