"""A feed for tests: in a thread of this process, quick and seen by coverage, or in a process of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import structlog
import uvloop

from omega_ai.data_feed.feed import Endpoints
from omega_ai.data_feed.service import run_feed
from omega_ai.data_feed.settings import FeedSettings

START_SECONDS = 30.0
STOP_SECONDS = 15.0


class Listening(NamedTuple):
    """Where a feed listens."""

    ws: str
    wss: str | None
    http: str | None


def quiet_settings(**changes: Any) -> FeedSettings:
    """A feed on free ports of this machine, without a source, TLS or HTTP, kept in memory."""
    defaults: dict[str, Any] = {
        "port": 0,
        "tls_port": None,
        "http_port": None,
        "source": "none",
        "broker": "memory",
        "close_timeout": 1.0,
    }
    return FeedSettings(**(defaults | changes))


class FeedThread:
    """``with FeedThread(settings) as feed``: runs until the block ends; ``feed.at`` says where it listens.

    Raises, on entering, what the feed raises when it cannot start.
    """

    def __init__(self, settings: FeedSettings) -> None:
        self._settings = settings
        self._ready: concurrent.futures.Future[Endpoints] = concurrent.futures.Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._main, name="feed under test", daemon=True)
        self._quiet = False
        self.at = Listening("", None, None)

    def __enter__(self) -> FeedThread:
        if not structlog.is_configured():
            # Its log would come between the lines of pytest, whose capturing does not reach between tests.
            structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
            self._quiet = True
        self._thread.start()
        try:
            endpoints = self._ready.result(START_SECONDS)
        except BaseException:
            self._thread.join(STOP_SECONDS)
            raise
        assert endpoints.ws is not None
        self.at = Listening(endpoints.ws, endpoints.wss, endpoints.http)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(STOP_SECONDS)
        if self._quiet:
            structlog.reset_defaults()
        assert not self._thread.is_alive(), f"the feed did not stop within {STOP_SECONDS:g} s"

    def _main(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._run())
        except BaseException as error:
            if not self._ready.done():
                self._ready.set_exception(error)
            else:
                raise

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        await run_feed(self._settings, ready=self._ready.set_result, stop=self._stop)


class FeedProcess:
    """``omega serve ARGUMENTS`` as a child process, as anybody runs it; its log goes to ``directory``.

    Can be started again after ``stop`` or ``kill``.
    """

    def __init__(
        self, directory: Path, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self._log = directory / "omega-serve.log"
        self._arguments = arguments
        self._environment = {**os.environ, "OMEGA_LOG_FORMAT": "json", **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self.at = Listening("", None, None)

    def start(self) -> None:
        """Start, and return once it listens."""
        begin = self._log.stat().st_size if self._log.exists() else 0
        command = [sys.executable, "-m", "omega_ai", "serve", *self._arguments]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            for line in self.log(begin).splitlines():
                if '"event": "ready"' in line:
                    fields = json.loads(line)
                    self.at = Listening(fields["ws"], fields["wss"], fields["http"])
                    return
            if self._process.poll() is not None:
                break
            time.sleep(0.02)
        self.kill()
        raise AssertionError(f"omega serve did not start; its log:\n{self.log(begin)}")

    def start_with(self, *arguments: str) -> None:
        """Start with other arguments than before."""
        self._arguments = arguments
        self.start()

    def log(self, begin: int = 0) -> str:
        """What it has written to its log, from byte ``begin``."""
        with self._log.open("rb") as log:
            log.seek(begin)
            return log.read().decode(errors="replace")

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def stop(self) -> None:
        """SIGTERM: clients are closed with 1001."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: connections are cut, without a close frame."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(number)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"omega serve did not stop; its log:\n{self.log()}") from None

    def __enter__(self) -> FeedProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
