"""The test kit for tests that are not coroutines: an event loop in a thread, and plain calls into it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import uvloop

from omega_ai.testkit.connection import DEFAULT_WAIT, Connection, Ended, is_data
from omega_ai.testkit.context import Context
from omega_ai.testkit.history import History, Received
from omega_ai.testkit.reading import Reading

T = TypeVar("T")
LIMIT = 120.0
"""Seconds after which a call is given up, whatever it waits for."""


class Portal:
    """An event loop in a thread. ``with`` it."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop
        self._started = threading.Event()
        self._stop: asyncio.Event
        self._thread = threading.Thread(target=self._main, name="WebSocket test kit")

    def __enter__(self) -> Portal:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def call(self, work: Coroutine[Any, Any, T], limit: float = LIMIT) -> T:
        """Run a coroutine in the loop, and wait for its result.

        Raises:
            TimeoutError: not done within ``limit`` seconds; it was cancelled.
        """
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(limit)
        except BaseException:
            future.cancel()
            raise

    def _main(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._run())

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._started.set()
        await self._stop.wait()


class Client:
    """One recording client."""

    def __init__(self, tester: Tester, connection: Connection) -> None:
        self._tester = tester
        self.connection = connection

    @property
    def name(self) -> str:
        """What it was called."""
        return self.connection.name

    @property
    def ended(self) -> Ended | None:
        """How the connection ended; None while it has not."""
        return self.connection.ended

    @property
    def messages(self) -> list[Received]:
        """All data messages that it received."""
        return [item for item in self.connection.history.received if is_data(item)]

    def send(self, data: str | bytes) -> None:
        """Send a text message as it is."""
        self._do(lambda: self.connection.send(data))

    def echo(self, count: int = 1, *, size: int = 0) -> None:
        """Send ``count`` stamped messages that are to come back to this client."""
        self._do(lambda: [self._tester.context.send_echo(self.connection, size=size) for _ in range(count)])

    def publish(self, count: int = 1, *, size: int = 0) -> None:
        """Send ``count`` stamped messages that are to reach all who listen."""
        self._do(lambda: [self._tester.context.publish(self.connection, size=size) for _ in range(count)])

    def receive(self, within: float = DEFAULT_WAIT) -> bytes | None:
        """The next data message; None if none came within ``within`` seconds."""
        item: Received | None = self._tester.portal.call(self.connection.receive(within=within))
        return None if item is None else item.data

    def ping(self, payload: bytes = b"omega", within: float = DEFAULT_WAIT) -> float | None:
        """Seconds until the right pong came; None if it did not."""
        return self._tester.portal.call(self.connection.ping(payload, within))

    def close(self, code: int = 1000, reason: str = "") -> Ended | None:
        """Close; how the server ended it, None if it did not."""
        return self._tester.portal.call(self.connection.close(code, reason))

    def abort(self) -> None:
        """Cut the TCP connection."""
        self._do(self.connection.abort)

    def _do(self, work: Callable[[], object]) -> None:
        async def run() -> None:
            work()

        self._tester.portal.call(run())


class Tester:
    """What the fixture ``ws`` is: clients of one target, and their common history."""

    __test__ = (
        False  # pytest takes a class of this name for one of tests, where somebody imports it as a type
    )

    def __init__(self, portal: Portal, context: Context) -> None:
        self.portal = portal
        self.context = context

    @property
    def history(self) -> History:
        """What all clients saw."""
        return self.context.history

    def connect(self, name: str = "client", *, listen: bool = False, **options: Any) -> Client:
        """Connect a client; ``listen``: and subscribe as the profile says. More: see ``Context``."""
        return Client(self, self.portal.call(self.context.connect(name, listen=listen, **options)))

    def listeners(self, count: int) -> Sequence[Client]:
        """``count`` clients that listen."""
        return [self.connect(f"listener {number + 1}", listen=True) for number in range(count)]

    def settle(self, quiet_s: float = 1.0, limit_s: float = 30.0) -> None:
        """Wait until nothing has come for ``quiet_s`` seconds: as long as ``assert_no_loss`` has grace."""
        self.portal.call(self.context.settle(quiet_s + 0.1, limit_s))

    def reading(self, grace_s: float = 1.0) -> Reading:
        """All that was seen so far, understood by the profile."""
        return self.context.reading(grace_s)
