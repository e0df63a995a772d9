"""A plain WebSocket user for Locust, for those who have a cluster of it: extra ``locust`` of the package.

    from locust import task
    from omega_ai.testkit.load.locust_user import WebSocketUser

    class Desk(WebSocketUser):
        host = "ws://localhost:9000/"
        profile = "echo"

        @task
        def talk(self):
            for due in self.schedule(rate=5, seconds=10):
                self.echo(due)

Every message carries a stamp. Its answer is told from others by that, and counts from when the message was
*due*, not from when this user got round to sending it. What never comes is a failure named ``lost``, what
comes twice, damaged or unasked one of that name. Locust rounds what it shows to milliseconds, and a busy
Locust process is late itself: ``send lag`` among the requests says by how much.
"""

from __future__ import annotations

import contextlib
import random
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

try:
    import gevent
    import websocket
    from locust import User
except ImportError as error:  # pragma: no cover - it depends on the installation
    raise ImportError(
        "WebSocketUser needs Locust and websocket-client: pip install 'omega-btc-ai[locust]'"
    ) from error

from omega_ai.core.timestamps import format_utc
from omega_ai.testkit.profile import Profile, fill, load_profile
from omega_ai.testkit.stamp import Damaged, Stamp, make_stamp, read_stamp
from omega_ai.testkit.target import new_run

CONNECT_S: Final = 10.0
LOST_S: Final = 30.0
"""An answer that has not come after so long is counted as lost."""
SEEN: Final = 10_000
"""Answers that are remembered, to know one that comes again."""
GRACE_S: Final = 2.0
"""At the end of a user, how long is waited for answers that are on their way."""


class WebSocketUser(User):
    """One connection. Subclass it; ``host`` is the URL, ``profile`` says how to speak (docs/testkit)."""

    abstract = True
    profile: ClassVar[str] = "echo"
    headers: ClassVar[Mapping[str, str]] = {}
    subprotocols: ClassVar[Sequence[str]] = ()
    ca: ClassVar[str | None] = None
    """PEM file of the authority to trust for wss."""
    grace_s: ClassVar[float] = GRACE_S
    _context: ClassVar[ssl.SSLContext | None] = None

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._profile: Profile = load_profile(self.profile)
        self._socket: Any = None
        self._reader: Any = None
        self._run = ""
        self._number = 0
        self._due: dict[int, float] = {}
        self._seen: dict[int, None] = {}
        self._leaving = False

    # What Locust calls.

    def on_start(self) -> None:
        """Connect, before the first task."""
        self.connect()

    def on_stop(self) -> None:
        """Wait for what is on its way, count what never came, and close."""
        deadline = time.monotonic() + self.grace_s
        while self._due and self._socket is not None and time.monotonic() < deadline:
            gevent.sleep(0.01)
        for _ in range(len(self._due)):
            self._fire("lost", exception=RuntimeError("no answer came"))
        self._due.clear()
        self.close()

    # What tasks call.

    def connect(self) -> bool:
        """Connect, again if need be; whether it came about."""
        self.close()
        self._leaving = False
        self._run = new_run(random.SystemRandom())
        began = time.perf_counter()
        try:
            self._socket = websocket.create_connection(
                self.host,
                timeout=CONNECT_S,
                header=[f"{name}: {value}" for name, value in self._headers().items()],
                subprotocols=list(self.subprotocols or self._profile.connect.subprotocols) or None,
                sslopt=self._tls() if str(self.host).startswith("wss:") else None,
                suppress_origin=True,
            )
        except (OSError, websocket.WebSocketException) as error:
            self._fire("connect", began, exception=error)
            return False
        self._fire("connect", began)
        self._socket.settimeout(None)
        self._reader = gevent.spawn(self._read, self._socket)
        for text in self._profile.subscribe.send:
            self.send(fill(text, self._values()).decode())
        return True

    def close(self) -> None:
        """Close the connection."""
        self._leaving = True
        socket, self._socket = self._socket, None
        if socket is not None:
            with contextlib.suppress(OSError, websocket.WebSocketException):
                socket.close(timeout=1)
        if self._reader is not None:
            self._reader.kill()
            self._reader = None

    def schedule(self, rate: float, seconds: float | None = None) -> Iterator[float]:
        """When messages are due, ``rate`` a second: waits until each; a slow answer shifts none."""
        begin = time.perf_counter()
        number = 0
        while seconds is None or number / rate < seconds:
            due = begin + number / rate
            gevent.sleep(max(0.0, due - time.perf_counter()))
            yield due
            number += 1

    def echo(self, due: float | None = None, *, size: int = 0) -> None:
        """Send a stamped message that is to come back; it is not waited for.

        Args:
            due: When it was to be sent (``time.perf_counter``); now, if it is not said.
            size: Bytes of the stamp at least.
        """
        if self._profile.echo is None:
            raise RuntimeError(f"the profile {self.profile} knows no message that is echoed")
        now = time.perf_counter()
        due = now if due is None else due
        number = self._number
        self._number += 1
        stamp = make_stamp(self._run, 0, number, time.monotonic_ns(), size).decode("ascii")
        text = fill(self._profile.echo.send, self._values(stamp=stamp)).decode()
        if self._socket is None:
            self._fire("echo", due, exception=ConnectionError("there is no connection"))
            return
        self._give_up(now)
        self._due[number] = due
        self._fire("send lag", due)
        self.send(text)

    def send(self, text: str) -> None:
        """Send a text as it is."""
        socket = self._socket
        if socket is None:
            return
        try:
            socket.send(text)
        except (OSError, websocket.WebSocketException) as error:
            self._lose(error)

    def on_message(self, text: bytes) -> None:
        """A message without a stamp of this user came. Override it to look at a feed."""

    # Inside.

    @classmethod
    def _tls(cls) -> dict[str, Any]:
        """Verified; made once, since reading the system's authorities takes a while."""
        if cls._context is None:
            cls._context = ssl.create_default_context(cafile=cls.ca)
        return {"context": cls._context}

    def _give_up(self, now: float) -> None:
        while self._due:
            number, due = next(iter(self._due.items()))
            if now - due < LOST_S:
                return
            del self._due[number]
            self._fire("lost", exception=RuntimeError(f"no answer within {LOST_S:g} s"))

    def _headers(self) -> dict[str, str]:
        return {**self._profile.connect.headers, **self.headers}

    def _values(self, **more: object) -> dict[str, object]:
        utc = time.time_ns()
        return {
            "id": self._number + 1,
            "utc": format_utc(utc),
            "utc_ms": utc // 1_000_000,
            "price": "60000.00",
            **more,
        }

    def _read(self, socket: Any) -> None:
        while True:
            try:
                data = socket.recv()
            except (OSError, websocket.WebSocketException) as error:
                self._lose(error)
                return
            if not data and not socket.connected:
                self._lose(ConnectionError("the server closed the connection"))
                return
            self._take(data.encode() if isinstance(data, str) else data)

    def _take(self, data: bytes) -> None:
        stamp = read_stamp(data)
        if stamp is None or stamp.run != self._run:
            profile = self._profile
            if stamp is None and profile.format == "text" and profile.feed is None:  # a plain echo server
                self._fire("unexpected", exception=ValueError("a message that nobody asked for"))
            self.on_message(data)
            return
        if isinstance(stamp, Damaged):
            self._fire("corrupted", exception=ValueError("its checksum fails"))
            if stamp.number is not None:
                self._due.pop(stamp.number, None)
            return
        assert isinstance(stamp, Stamp)  # noqa: S101 - the other two are dealt with
        due = self._due.pop(stamp.number, None)
        if due is not None:
            self._seen[stamp.number] = None
            if len(self._seen) > SEEN:
                del self._seen[next(iter(self._seen))]
            self._fire("echo", due, length=len(data))
        else:
            kind = "duplicated" if stamp.number in self._seen else "unexpected"
            self._fire(kind, exception=ValueError(f"message {stamp.number}"))

    def _lose(self, error: Exception) -> None:
        """The connection ended, and not by us."""
        if self._leaving or self._socket is None:
            return
        self._socket = None
        self._fire("connection", exception=error)

    def _fire(
        self,
        name: str,
        began: float | None = None,
        *,
        length: int = 0,
        exception: Exception | None = None,
    ) -> None:
        took = 0.0 if began is None else max(0.0, (time.perf_counter() - began) * 1000)
        self.environment.events.request.fire(
            request_type="WebSocket",
            name=name,
            response_time=took,
            response_length=length,
            exception=exception,
            context={},
        )
