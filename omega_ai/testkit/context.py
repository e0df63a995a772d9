"""What a case is given: recording clients, stamped messages, time, randomness, a place for results."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from omega_ai.core.clock import Clock, SystemClock
from omega_ai.core.scheduler import LoopScheduler
from omega_ai.core.timestamps import format_utc
from omega_ai.core.websocket.client import Opening
from omega_ai.core.websocket.endpoint import Options
from omega_ai.core.websocket.frames import TEXT
from omega_ai.core.websocket.handshake import new_key
from omega_ai.testkit.case import Failed, Undecided
from omega_ai.testkit.connection import (
    DEFAULT_WAIT,
    PRECONDITION_WAIT,
    Address,
    ConnectFailed,
    Connection,
    is_data,
    open_connection,
)
from omega_ai.testkit.history import Happening, History, Received, Sent
from omega_ai.testkit.profile import Match, fill, matches
from omega_ai.testkit.reading import Reading, read
from omega_ai.testkit.result import Distribution, FaultWindow, ThresholdResult, TimeSeries
from omega_ai.testkit.stamp import Stamp, make_stamp, read_stamp
from omega_ai.testkit.target import Target, new_run

MESSAGE_LIMIT = 64 << 20
"""What we accept, larger than what any case asks for: whether it is too long is for the case to say."""


@dataclass(slots=True)
class Products:
    """What a case leaves for the report, beside its outcome."""

    histograms: dict[str, Distribution] = field(default_factory=dict)
    series: list[TimeSeries] = field(default_factory=list)
    fault_windows: list[FaultWindow] = field(default_factory=list)
    thresholds: list[ThresholdResult] = field(default_factory=list)
    invalid: list[str] = field(default_factory=list)

    def add(self, other: Products) -> None:
        """Everything of ``other`` too; histograms of one name are merged."""
        for name, histogram in other.histograms.items():
            mine = self.histograms.get(name)
            self.histograms[name] = histogram if mine is None else mine.merge(histogram)
        self.series += other.series
        self.fault_windows += other.fault_windows
        self.thresholds += other.thresholds
        self.invalid += other.invalid


class Context:
    """One case's own. ``async with`` it: whatever was opened is closed at the end."""

    def __init__(
        self,
        target: Target,
        *,
        seed: int,
        name: str = "case",
        clock: Clock | None = None,
        start_ns: int | None = None,
        progress: Callable[[str, float | None], None] | None = None,
    ) -> None:
        self.target = target
        self.profile = target.profile
        self.clock: Clock = SystemClock() if clock is None else clock
        self.rng = random.Random(f"{seed}:{name}")
        self._mask_rng = random.Random(f"{seed}:{name}:masks")  # or frames would change the choices
        self.seed = seed
        self.name = name
        self.history = History(new_run(self.rng), self.now_ns() if start_ns is None else start_ns)
        self.products = Products()
        self.cleanup: list[Callable[[], Any]] = []
        """Called, and awaited, in reverse order at the end: to stop what the case started."""
        self.held_up: Callable[[], float] = lambda: 0.0
        """How long, in seconds, our own event loop was held up since the case began."""
        self.held_up_since: Callable[[float], float] = lambda _: 0.0
        """How long since then, in seconds of monotonic time."""
        self.hold_ups: Callable[[], Sequence[tuple[int, int]]] = lambda: ()
        """When it was: begin and end of each, in nanoseconds of monotonic time."""
        self._progress = progress
        self._connections: list[Connection] = []
        self._options: Options | None = None
        self._ids = 0

    async def __aenter__(self) -> Context:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.release()

    async def release(self) -> None:
        """Stop and close whatever was started and opened."""
        try:
            while self.cleanup:
                result = self.cleanup.pop()()
                if asyncio.iscoroutine(result):
                    await result
        finally:
            await asyncio.gather(*(connection.release() for connection in self._connections))
            self._connections.clear()

    # Time and words.

    def held_up_during(self, begin_ns: int) -> float:
        """For how many seconds in all our event loop was held up since then."""
        held = (end - max(begin_ns, begin) for begin, end in self.hold_ups())
        return sum(part for part in held if part > 0) / 1e9

    def now_ns(self) -> int:
        """Monotonic time, as histories have it."""
        return round(self.clock.monotonic() * 1e9)

    def progress(self, text: str, share: float | None = None) -> None:
        """Say what is being done, for a live display; ``share`` of the case is done, if that is known."""
        if self._progress is not None:
            self._progress(text, share)

    # Connecting.

    async def connect(
        self,
        name: str,
        *,
        listen: bool = False,
        url: str | None = None,
        query: str | None = None,
        subprotocols: Sequence[str] | None = None,
        headers: Sequence[tuple[str, str]] = (),
        compression: bool = False,
        source: str | None = None,
        within: float | None = None,
        must: bool = True,
    ) -> Connection:
        """Connect the client ``name``, again if it was connected before; ``listen``: and subscribe.

        ``within``: seconds; by default more where the case only needs it to begin (``must``).

        Raises:
            Undecided: there is no connection, and so nothing can be said (``must``).
            ConnectFailed: there is no connection, and the case wants to know why (not ``must``).
            Failed: the server did not confirm the subscription.
        """
        profile = self.profile
        if within is None:
            within = PRECONDITION_WAIT if must else DEFAULT_WAIT
        if query is None:
            query = profile.connect.query
            if listen and profile.subscribe.query is not None:
                query = profile.subscribe.query
        client = self.history.client(name, listens=listen)
        client.listens = client.listens or listen
        life = 1 + max((event.life for event in client.events), default=-1)
        address = Address.of(url or self.target.url, query)
        opening = Opening(
            host=address.host_header,
            target=address.target,
            key=new_key(self.rng.randbytes(16)),
            subprotocols=tuple(profile.connect.subprotocols if subprotocols is None else subprotocols),
            compression=compression,
            headers=(*self.target.headers(), *headers),
        )
        try:
            connection = await open_connection(
                address,
                opening,
                history=client,
                life=life,
                clock=self.clock,
                options=self.options,
                tls=self.target.tls_context() if address.secure else None,
                source=source,
                within=within,
            )
        except ConnectFailed as error:
            if must:
                raise Undecided(f"{name} could not connect: {error}") from error
            raise
        connection.held_up = self.held_up_since
        self._connections.append(connection)
        if listen:
            await self.subscribe(connection, within=within)
        return connection

    @property
    def options(self) -> Options:
        """What our connections have in common."""
        if self._options is None:
            self._options = Options(
                scheduler=LoopScheduler(asyncio.get_running_loop()),
                message_limit=MESSAGE_LIMIT,
                handshake_timeout=60.0,
                close_timeout=30.0,
                mask_key=lambda: self._mask_rng.randbytes(4),
            )
        return self._options

    async def subscribe(self, connection: Connection, within: float = DEFAULT_WAIT) -> None:
        """Do what the profile says a client does to see what is published.

        Raises:
            Failed: it was not confirmed.
        """
        subscription = self.profile.subscribe
        for text in subscription.send:
            connection.send(fill(text, self.values()))
            if subscription.confirmed is not None:
                confirmed = subscription.confirmed
                if await self.receive_match(connection, confirmed, within) is None:
                    raise Failed(
                        f"{connection.name}: the subscription was not confirmed within {within:g} s",
                        by_silence=True,
                    )
        connection.event(Happening.SUBSCRIBED, by_us=True)

    @asynccontextmanager
    async def clients(
        self, count: int, prefix: str = "listener", **options: Any
    ) -> AsyncIterator[list[Connection]]:
        """``count`` connections at once, named ``prefix 1`` and on."""
        yield list(
            await asyncio.gather(*(self.connect(f"{prefix} {n + 1}", **options) for n in range(count)))
        )

    # Messages.

    def values(self, **more: object) -> Mapping[str, object]:
        """What placeholders stand for: a new id, the time, a price, and ``more``."""
        self._ids += 1
        utc_ns = self.clock.time_ns()
        return {
            "id": self._ids,
            "utc": format_utc(utc_ns),
            "utc_ms": utc_ns // 1_000_000,
            "price": f"{60_000 + self.rng.randrange(1_000_000) / 100:.2f}",
            **more,
        }

    def stamp(
        self, connection: Connection, *, intended_ns: int | None = None, size: int = 0
    ) -> tuple[int, int, str]:
        """A new stamp for a message of ``connection``: its number, its intended time, its text."""
        intended = self.now_ns() if intended_ns is None else intended_ns
        number = connection.next_number()
        text = make_stamp(self.history.run, connection.history.number, number, intended, size)
        return number, intended, text.decode("ascii")

    def send_echo(
        self, connection: Connection, *, size: int = 0, intended_ns: int | None = None, compress: bool = False
    ) -> Sent:
        """Send a stamped message that is to come back."""
        echo = self.profile.echo
        if echo is None:
            raise RuntimeError("this case needs Need.ECHO")
        number, intended, text = self.stamp(connection, intended_ns=intended_ns, size=size)
        payload = fill(echo.send, self.values(stamp=text))
        return connection.send(payload, intended_ns=intended, number=number, compress=compress)

    def publish(self, connection: Connection, *, size: int = 0, intended_ns: int | None = None) -> Sent:
        """Send a stamped message that is to reach all who listen."""
        publish = self.profile.publish
        if publish is None:
            raise RuntimeError("this case needs Need.PUBLISH")
        number, intended, text = self.stamp(connection, intended_ns=intended_ns, size=size)
        payload = fill(publish.send, self.values(stamp=text))
        return connection.send(payload, intended_ns=intended, number=number, published=True)

    async def receive_stamp(
        self, connection: Connection, sent: Sent, within: float = DEFAULT_WAIT
    ) -> Received | None:
        """The message that carries the stamp of ``sent``, whole; None if it did not come in time."""
        wanted = read_stamp(sent.data)

        def carries(item: Received) -> bool:
            return is_data(item) and read_stamp(item.data) == wanted and isinstance(wanted, Stamp)

        return await connection.receive(carries, within=within)

    async def receive_match(self, connection: Connection, match: Match, within: float = DEFAULT_WAIT) -> Any:
        """The next JSON message that has the values of ``match``, decoded; None if none came in time."""
        found: list[Any] = []

        def fits(item: Received) -> bool:
            message = decode(item)
            if message is None or not matches(message, match):
                return False
            found.append(message)
            return True

        await connection.receive(fits, within=within)
        return found[0] if found else None

    async def round_trip(self, connection: Connection, within: float = DEFAULT_WAIT) -> float:
        """Seconds of one echo, or of one ping where the target echoes nothing.

        Raises:
            Failed: no answer, or the connection is gone.
        """
        if self.profile.echo is not None:
            sent = self.send_echo(connection)
            answer = await self.receive_stamp(connection, sent, within)
            if answer is not None:
                return (answer.at_ns - sent.at_ns) / 1e9
        elif connection.open:
            seconds = await connection.ping(self.rng.randbytes(8), within)
            if seconds is not None:
                return seconds
        how = f"the connection ended: {connection.ended}" if connection.over else f"not within {within:g} s"
        raise Failed(f"{connection.name}: no answer came ({how})", by_silence=not connection.over)

    def reading(self, grace_s: float = 1.0) -> Reading:
        """All that was seen so far, understood by the profile: what checkers and assertions look at."""
        reading = read(self.history, self.profile, end_ns=self.now_ns(), grace_s=grace_s)
        reading.held_up_s = self.held_up()
        reading.hold_ups = tuple(self.hold_ups())
        return reading

    async def settle(self, quiet_s: float = 0.25, limit_s: float = 5.0) -> None:
        """Wait until nothing has arrived for ``quiet_s`` seconds, at most ``limit_s``.

        Of a server that sends messages of its own all the time, what it only passes on is waited for.
        """
        deadline = self.clock.monotonic() + limit_s
        feed = self.profile.feed
        stamped = feed is not None and feed.own
        seen = -1
        while seen != (now := self.history.arrived(stamped=stamped)) and self.clock.monotonic() < deadline:
            seen = now
            await asyncio.sleep(quiet_s)


def decode(item: Received) -> Any:
    """A text message as JSON; None if it is none."""
    if item.opcode != TEXT:
        return None
    try:
        return msgspec.json.decode(item.data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
