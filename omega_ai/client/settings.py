"""Everything that can be set about a client. Times in seconds, sizes in bytes."""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from omega_ai.client.messages import Mode
from omega_ai.core.clock import Clock, SystemClock

Token = str | Callable[[], str]


class Options(TypedDict, total=False):
    """The keywords of ``connect``; each is explained at the attribute of ``ClientSettings`` with its name."""

    channels: Iterable[str] | None
    mode: Mode
    interval_ms: int
    since: Mapping[str, tuple[str, int]]
    token: Token | None
    headers: Mapping[str, str]
    tls: ssl.SSLContext | Path | str | None
    compression: bool
    events: bool
    reconnect: bool
    max_attempts: int | None
    first_delay: float
    longest_delay: float
    start_timeout: float
    open_timeout: float
    close_timeout: float
    request_timeout: float
    heartbeat_timeout: float | None
    ping_interval: float | None
    pong_timeout: float
    max_message_size: int
    queue_size: int
    clock: Clock
    rng: random.Random


@dataclass(frozen=True, kw_only=True)
class ClientSettings:
    """Settings of one feed; the defaults are good for a price feed over the internet."""

    channels: Iterable[str] | None = None
    """What to subscribe to; None: what ``?channels=`` in the URL says, or else prices and broadcasts."""
    mode: Mode = "all"
    """``all``: every message, in order, holes are told. ``latest``: the newest state, jumps are legal."""
    interval_ms: int = 0
    """In ``latest``: at most one message per channel in so many milliseconds."""
    since: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    """Resume from positions (``epoch``, ``seq``) that an earlier run has kept, by channel."""
    token: Token | None = None
    """A JWT, or a function that gives one for each connection. Sent as ``Authorization``, not in the URL."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """More headers for the handshake."""
    tls: ssl.SSLContext | Path | str | None = None
    """For wss: a context, or the PEM file of the authorities to trust; None: the system's."""
    compression: bool = False
    """Offer permessage-deflate (RFC 7692)."""
    events: bool = False
    """Iterate over events as well as messages. Without, a hole in ``mode: all`` raises ``MessagesLost``."""
    reconnect: bool = True
    """Come back after a connection is lost; without, iteration raises ``ConnectionClosed``."""
    max_attempts: int | None = None
    """Give up after so many failed attempts in a row to come back; None: never."""
    first_delay: float = 0.5
    """Bound of the first, random delay before coming back; it doubles each time."""
    longest_delay: float = 30.0
    """Bound of the delay."""
    start_timeout: float = 0.0
    """How long to go on trying when the server is not there at the start; 0: one attempt."""
    open_timeout: float = 10.0
    """For TCP, TLS and the WebSocket handshake together; also for the answer to a subscription."""
    close_timeout: float = 5.0
    """How long the server has to answer a close, before the socket is cut."""
    request_timeout: float = 10.0
    """How long ``send``, ``request`` and all that is built on them wait."""
    heartbeat_timeout: float | None = 5.0
    """A connection silent for so long is dead (the server beats each second); None: no heartbeats."""
    ping_interval: float | None = 20.0
    """After so long a silence a WebSocket ping is sent; None: never."""
    pong_timeout: float = 20.0
    """A connection that brings nothing for so long after a ping is dead."""
    max_message_size: int = 1 << 24
    """A larger message fails the connection with 1009; an answer to ``history`` is the largest that comes."""
    queue_size: int = 10_000
    """Messages that wait for the program; when full, the socket is not read any more until half is taken."""
    clock: Clock = field(default_factory=SystemClock)
    """Where time comes from."""
    rng: random.Random = field(default_factory=random.SystemRandom)
    """What the delays are drawn from."""

    def __post_init__(self) -> None:
        """Check the bounds; raises ``ValueError`` naming the setting."""
        if self.mode not in ("all", "latest"):
            raise ValueError(f"mode must be 'all' or 'latest', not {self.mode!r}")
        if isinstance(self.channels, str):
            raise ValueError(f"channels must be several names: [{self.channels!r}], not {self.channels!r}")
        for name, low, high in _BOUNDS:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ValueError(f"{name} must be {low:g} to {high:g}, not {value}")
        if self.first_delay > self.longest_delay:
            raise ValueError(
                f"first_delay ({self.first_delay}) must not exceed longest_delay ({self.longest_delay})"
            )


_BOUNDS: tuple[tuple[str, float, float], ...] = (
    ("interval_ms", 0, 60_000),
    ("max_attempts", 1, 1_000_000_000),
    ("first_delay", 0.001, 3600),
    ("longest_delay", 0.001, 86_400),
    ("start_timeout", 0, 86_400),
    ("open_timeout", 0.01, 3600),
    ("close_timeout", 0.01, 3600),
    ("request_timeout", 0.01, 86_400),
    ("heartbeat_timeout", 0.1, 86_400),
    ("ping_interval", 0.05, 86_400),
    ("pong_timeout", 0.05, 86_400),
    ("max_message_size", 1024, 1 << 30),
    ("queue_size", 1, 100_000_000),
)
