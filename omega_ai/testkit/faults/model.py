"""What a fault is, for whoever moves the bytes: real sockets (``proxy``) or virtual time (``simnet``).

Nothing here knows a socket or a clock, and chance comes from a ``random.Random`` handed in. Times are seconds
of whatever monotonic clock the driver has; attributes of faults are milliseconds where their docstring says
so.

There are three kinds of fault:

- an **opening fault** (``OpeningFault``) decides, once for each new connection, what becomes of it: reset at
  once, connected late, never connected, shown a wrong certificate. It answers with an ``Opening``.
- a **stream fault** (``StreamFault``) makes a ``Stage`` for a direction of a connection. The stage gets bytes
  with the time at which they came, and gives bytes and ``Signal``s to hand on *now*. What is to go later it
  keeps, and says by ``next_wake`` when it wants to be asked again.
- a **frame fault** (``frame.FrameFault``) is a stream fault that sees whole WebSocket frames.

A ``Toxic`` is a fault that was placed: on a direction, for a share of the connections, in a window of time.
``chain.Circuit`` is the pair of chains of stages of one connection; a driver needs nothing else.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from enum import Enum
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar

import msgspec

Stream = Literal["upstream", "downstream"]
"""``upstream``: from the client to the server; ``downstream``: from the server to the client."""
UPSTREAM: Final = "upstream"
DOWNSTREAM: Final = "downstream"
STREAMS: Final[tuple[Stream, Stream]] = ("upstream", "downstream")

DAY_MS: Final = 86_400_000
Milliseconds = (
    Annotated[int, msgspec.Meta(ge=0, le=DAY_MS)] | Annotated[float, msgspec.Meta(ge=0.0, le=float(DAY_MS))]
)
"""A length of time in an attribute: 0 to a day."""
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 50)]
"""A number of bytes or frames."""
Probability = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]

HOLD_LIMIT: Final = 65_536
"""Bytes that a stage holds before it wants no more (``Stage.full``), unless it says otherwise."""

T = TypeVar("T")


class BadFault(ValueError):
    """A fault cannot be made of this; the text says what is wrong and what would be right."""


class Signal(Enum):
    """What a stage hands on beside bytes. After any of them the direction carries nothing more."""

    END = "end"
    """The sender has sent all it will (FIN). The other direction goes on."""
    CLOSE = "close"
    """The connection is closed, in order, towards both peers: bytes handed on before still arrive."""
    RESET = "reset"
    """The connection is reset (RST) towards both peers: bytes not yet taken are lost."""
    VANISH = "vanish"
    """The sender of this direction is cut off by a reset, and the receiver is not told: to it, the connection
    is half-open. What the receiver still sends goes through its chain (which may answer with RESET), and
    nowhere."""


Item = bytes | Signal
"""What goes through a chain. Bytes are never empty."""


class Context:
    """What a stage may know of where it is, and the chance it has.

    ``rng`` depends on the seed, the connection's number, the direction and the toxic's name, and on nothing
    else; so a connection's faults are the same whatever other connections do.
    """

    __slots__ = ("_connection", "_toxic", "connection", "fresh", "now", "placed", "rng", "stream")

    def __init__(
        self,
        *,
        stream: Stream,
        placed: Stream,
        connection: int,
        now: float,
        rng: random.Random,
        connection_memory: dict[str, Any],
        toxic_memory: dict[str, Any],
        fresh: bool = True,
    ) -> None:
        self.stream = stream
        """The direction that the stage works on."""
        self.placed = placed
        """The direction that the toxic names; another than ``stream`` only for faults of ``both``
        directions."""
        self.connection = connection
        """Number of the connection, from 0 in the order of acceptance."""
        self.now = now
        """When the stage begins: the connection opened, the toxic was added, or its window began."""
        self.fresh = fresh
        """Whether nothing has passed in this direction yet: the stage will see the stream from its first
        byte."""
        self.rng = rng
        self._connection = connection_memory
        self._toxic = toxic_memory

    def of_connection(self, key: str, make: Callable[[], T]) -> T:
        """Something that the toxic's stages in both directions of one connection have in common."""
        return _remembered(self._connection, key, make)

    def of_toxic(self, key: str, make: Callable[[], T]) -> T:
        """Something that the toxic's stages in all connections have in common."""
        return _remembered(self._toxic, key, make)


def _remembered(memory: dict[str, Any], key: str, make: Callable[[], T]) -> T:
    if key not in memory:
        memory[key] = make()
    found: T = memory[key]
    return found


class Stage:
    """One fault at work in one direction of one connection. As it stands, it lets everything pass.

    The driver calls ``feed``, ``finish`` and ``tick`` with times that never go back, and hands on what they
    return, in order, at once. Whatever a stage keeps, it keeps in its own queue, and counts in ``held``.
    """

    __slots__ = ()

    hold_limit: int = HOLD_LIMIT

    def feed(self, data: bytes, now: float) -> list[Item]:
        """Bytes have come; they are the stage's to keep. ``data`` is not empty."""
        del now
        return [data]

    def finish(self, signal: Signal, now: float) -> list[Item]:
        """``signal`` has come, behind all bytes; nothing will follow."""
        del now
        return [signal]

    def tick(self, now: float) -> list[Item]:
        """The time that ``next_wake`` named has come (or something else happened; being asked early is
        harmless)."""
        del now
        return []

    def next_wake(self) -> float | None:
        """When ``tick`` must be called at the latest; None as long as there is nothing to wait for."""
        return None

    def stop(self, now: float) -> list[Item]:
        """The fault is taken away: give what is still kept. The stage is not used again.

        A stage that kept a signal gives that too, last.
        """
        del now
        return []

    @property
    def held(self) -> int:
        """Bytes kept."""
        return 0

    @property
    def full(self) -> bool:
        """Whether the driver should stop reading from the sender until this is False.

        What is fed regardless is still taken; the bound on memory is the driver's, by not reading.
        """
        return self.held >= self.hold_limit


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of a fault. Subclasses are registered in ``faults.FAULTS`` under their ``kind``."""

    kind: ClassVar[str]
    """The name in JSON, TOML and on the command line (Toxiproxy: ``type``)."""
    level: ClassVar[Literal["tcp", "message"]] = "tcp"
    """Whether it can happen over a real TCP connection, or only where messages are handled: in a broken
    server, client, library or intermediary that re-frames."""
    both: ClassVar[bool] = False
    """Whether one toxic of it has a stage in each direction, wherever it was placed."""
    loses: ClassVar[bool] = False
    """Whether bytes that were sent may fail to arrive, or arrive changed or in another order, on a connection
    that does not end by it. A fault that only ends connections loses nothing in this sense."""
    ends: ClassVar[bool] = False
    """Whether connections may end, or not come about, by it: at once, or as a peer rightly gives them up."""

    def check(self) -> None:
        """Conditions between attributes.

        Raises:
            BadFault: they do not go together.
        """


class StreamFault(Fault, frozen=True, kw_only=True):
    """A fault that works on the bytes of a connection that is open."""

    def stage(self, context: Context) -> Stage:
        """A stage for the direction ``context.stream`` of a connection."""
        raise NotImplementedError

    def update(self, old: Stage, context: Context) -> Stage | None:
        """A stage for a toxic whose attributes have become these, going on where ``old`` is; None: begin
        anew.

        When it begins anew, ``old`` is stopped and what it kept is handed on.
        """
        del old, context
        return None

    def removed(self) -> Signal | None:
        """What becomes of connections from which a toxic of this fault is taken away; None: they go on."""
        return None


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a new connection."""

    refuse: Literal["reset", "close"] | None = None
    """End it at once, by RST or FIN, and do not connect to the server. (In simnet: refused.)"""
    delay: float = 0.0
    """Seconds to wait before the server is connected to and a byte is read. A proxy's client is connected
    meanwhile, since the kernel accepts for it; a simulated one may be kept waiting."""
    silent: bool = False
    """Accepted, but the server is never connected to and no byte is read or written, until the client
    goes."""
    certificate: str | None = None
    """The kind of certificate to show instead of the right one (see ``tls_certificate``); without TLS:
    nothing."""
    cut_handshake: int | None = None
    """Reset after so many bytes of our side of the TLS handshake were sent; without TLS: nothing."""

    def joined(self, other: Opening) -> Opening:
        """Both: delays add up, otherwise the first to say something is right."""
        return Opening(
            refuse=self.refuse or other.refuse,
            delay=self.delay + other.delay,
            silent=self.silent or other.silent,
            certificate=self.certificate or other.certificate,
            cut_handshake=self.cut_handshake if self.cut_handshake is not None else other.cut_handshake,
        )


class OpeningFault(Fault, frozen=True, kw_only=True):
    """A fault that decides over a connection once, when it is opened. Its toxic's ``stream`` means
    nothing."""

    def decide(self, context: Context) -> Opening:
        """What becomes of the connection ``context.connection``."""
        raise NotImplementedError


class Window(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a toxic is at work, in seconds since the driver's ``origin`` (the proxy's or the experiment's
    start).

    From ``start`` for ``duration`` (None: for ever); with ``every``, again and again with that period. Where
    a window ends the fault is taken away, as if its toxic were removed, except that no connection is closed
    by it; where it begins the fault is new.
    """

    start: Annotated[float, msgspec.Meta(ge=0.0, le=1e9)] = 0.0
    duration: Annotated[float, msgspec.Meta(gt=0.0, le=1e9)] | None = None
    every: Annotated[float, msgspec.Meta(gt=0.0, le=1e9)] | None = None

    def __post_init__(self) -> None:
        if self.every is not None and (self.duration is None or self.duration >= self.every):
            raise ValueError("a window that comes every so often needs a duration, shorter than that period")

    def active(self, at: float) -> bool:
        """Whether ``at`` lies in the window: begin included, end excluded."""
        begin = self._begin(self._round(at))
        return at >= begin and (self.duration is None or at < begin + self.duration)

    def next_edge(self, at: float) -> float | None:
        """The next moment after ``at`` at which the window begins or ends; None if there is none."""
        turn = self._round(at)
        begin = self._begin(turn)
        if at < begin:
            return begin
        if self.duration is not None and at < begin + self.duration:
            return begin + self.duration
        return None if self.every is None else self._begin(turn + 1)

    def _begin(self, turn: int) -> float:
        return self.start + turn * (self.every or 0.0)

    def _round(self, at: float) -> int:
        """The number of the last turn that has begun at ``at``; 0 if none has."""
        if self.every is None or at < self.start:
            return 0
        turn = int((at - self.start) / self.every)
        # The quotient is rounded; what counts is the beginning as it is computed everywhere else.
        if self._begin(turn + 1) <= at:
            turn += 1
        elif turn and self._begin(turn) > at:
            turn -= 1
        return turn


class Toxic(msgspec.Struct, frozen=True, kw_only=True):
    """A fault, placed. The name is Toxiproxy's."""

    name: str
    """Unique among the toxics of a proxy; by default ``<kind>_<stream>``."""
    fault: Fault
    stream: Stream = "downstream"
    toxicity: Probability = 1.0
    """The share of connections that it works on: drawn once for each connection."""
    window: Window | None = None
    """When it works; None: always."""


def place(
    fault: Fault,
    *,
    stream: Stream = "downstream",
    toxicity: float = 1.0,
    window: Window | None = None,
    name: str | None = None,
) -> Toxic:
    """A toxic of ``fault``, named ``<kind>_<stream>`` unless a name is given.

    Raises:
        BadFault: no such stream, or a toxicity outside 0 to 1.
    """
    if stream not in STREAMS:
        raise BadFault(f"the stream is 'upstream' or 'downstream', not {stream!r}")
    if not 0.0 <= toxicity <= 1.0:
        raise BadFault(f"toxicity is a share between 0 and 1, not {toxicity!r}")
    return Toxic(
        name=name or f"{fault.kind}_{stream}", fault=fault, stream=stream, toxicity=toxicity, window=window
    )


def random_for(seed: int, *parts: object) -> random.Random:
    """Chance of its own for each thing: the same seed and parts give the same numbers, on every machine."""
    return random.Random("/".join(map(str, (seed, *parts))))
