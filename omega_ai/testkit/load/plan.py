"""What a load run is to do: whole, frozen, and as JSON, since it goes to processes and to other machines.

Times ending in ``_s`` are seconds since the start of the run; rates are per second, of all clients of a group
together, over all workers and shards.
"""

from __future__ import annotations

import random
from enum import StrEnum
from typing import Final

import msgspec
from msgspec import Struct

from omega_ai.testkit.experiment.model import FaultStep
from omega_ai.testkit.load.fault_plan import RECOVERY_S, fault_problems, is_proxied
from omega_ai.testkit.load.shapes import Shape, ShapeError, curve
from omega_ai.testkit.profile import Profile
from omega_ai.testkit.target import new_run

MAX_CLIENTS: Final = 1_000_000
"""Clients of a run, over all shards: what the fixed-width stamp has digits for is more."""
MAX_SIZE: Final = 1 << 24


MAX_WORKERS: Final = 256
MAX_PROXIED: Final = 8192
"""Connections at once through a fault proxy."""


class PlanError(ValueError):
    """A plan that cannot be carried out; ``str(error)`` says why and what to do."""


class Role(StrEnum):
    """What a client does with its connection."""

    ECHO = "echo"
    """Sends, and each message comes back to itself (``profile.echo``)."""
    PUBLISH = "publish"
    """Sends what all who listen get (``profile.publish``). It does not subscribe; what comes to it is not
    judged."""
    LISTEN = "listen"
    """Subscribes, and gets what is published by us (stamped), or by the feed itself (``profile.feed``)."""


class Group(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Clients that are alike."""

    role: Role
    clients: int
    name: str = ""
    """In reports; empty: the role."""

    start_s: float = 0.0
    """When its first client comes."""
    ramp_s: float = 0.0
    """The clients come evenly over so many seconds; 0: all at once."""
    arrivals: Shape | None = None
    """Connections per second, instead of ``ramp_s``; who has not come by the end does not come."""
    random_arrivals: bool = False
    """Connections come as a Poisson process with that rate."""
    leave_s: float | None = None
    """When its clients close their connections; None: at the end of the run."""

    messages: Shape | None = None
    """Messages per second of the whole group, its time beginning at ``messages_start_s``. None: none are
    sent. Message ``k`` goes to the clients in turn, of those that have come."""
    random_messages: bool = False
    """Messages are a Poisson process with that rate."""
    messages_start_s: float = 0.0
    messages_end_s: float | None = None
    """None: ``LoadPlan.duration_s``."""
    size: int = 0
    """Bytes that the stamp is padded to (at least ``stamps.WIDTH``), which is the payload where the profile
    sends the stamp alone."""
    think_s: float | None = None
    """Closed loop instead of ``messages``, only for ``echo``: each client sends, waits for the answer,
    thinks for so many seconds (intended time: answer + think), and sends again."""
    random_think: bool = False
    """Thinking times are exponential with that mean."""
    answer_timeout_s: float = 10.0
    """Closed loop: go on without the answer after so long."""

    churn: float = 0.0
    """Connections per second that are closed on purpose (1000), of all in turn, and opened anew at once."""
    reconnect_s: float | None = 1.0
    """Seconds until a connection that was refused or lost is tried anew; None: it stays away."""
    read_pause_s: float = 0.0
    """A slow reader: after each read it reads nothing for so long. Its times say little of the server."""
    timed: bool = True
    """Its latencies count in the histograms."""

    @property
    def title(self) -> str:
        """What it is called."""
        return self.name or self.role.value

    def check(self, profile: Profile) -> None:
        """Find out what cannot be.

        Raises:
            PlanError: and what to do.
        """
        where = f"the group {self.title}"
        if self.clients < 1:
            raise PlanError(f"{where} has no clients")
        if not 0 <= self.size <= MAX_SIZE:
            raise PlanError(f"{where}: a size is from 0 to {MAX_SIZE} bytes, not {self.size}")
        if self.role is Role.ECHO and profile.echo is None:
            raise PlanError(f"{where}: the profile {profile.name} knows no message that is echoed ([echo])")
        if self.role is Role.PUBLISH and profile.publish is None:
            raise PlanError(
                f"{where}: the profile {profile.name} knows no message that is passed on ([publish])"
            )
        if self.think_s is not None and (self.role is not Role.ECHO or self.messages is not None):
            raise PlanError(f"{where}: think_s is for echo, and instead of messages")
        if self.messages is not None and self.role is Role.LISTEN:
            raise PlanError(f"{where}: who listens sends no messages")
        if min(self.start_s, self.ramp_s, self.messages_start_s, self.churn, self.read_pause_s) < 0:
            raise PlanError(f"{where}: a time or a rate is less than 0")
        for shape in (self.arrivals, self.messages):
            if shape is not None:
                try:
                    curve(shape)
                except ShapeError as error:
                    raise PlanError(f"{where}: {error}") from None


class Phase(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A named stretch of the run, for thresholds and reports."""

    name: str
    start_s: float
    duration_s: float


class LoadPlan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole run. Workers and shards each get the same plan and take their part of it."""

    urls: tuple[str, ...]
    """Where the server is; of several, clients take one each in turn (more than 28,000 connections from one
    address to one port cannot be)."""
    profile: Profile
    groups: tuple[Group, ...]
    duration_s: float
    """From the start until the last message is due."""
    seed: int = 0
    phases: tuple[Phase, ...] = ()
    faults: tuple[FaultStep, ...] = ()
    """What is broken on purpose, and when."""
    recovery_s: float = RECOVERY_S
    """How long after a fault what goes wrong is laid to it."""
    window_s: float = 1.0
    """Length of a window of the tally."""
    grace_s: float = 2.0
    """After ``duration_s``, how long is waited for what is still on its way. Ends early when nothing is."""
    workers: int = 1
    """Processes on this machine, at most one a core."""
    sources: tuple[str, ...] = ()
    """Local addresses to connect from, each in turn; empty: the system chooses."""
    token: str | None = None
    """Shown in the Authorization header."""
    ca: str | None = None
    """PEM file of the authority to trust for wss."""
    connect_timeout_s: float = 10.0
    """TCP, TLS and WebSocket handshake together."""
    lag_limit_s: float = 0.010
    """How late (99th percentile) the generator itself may be before the run is invalid; see ``validity``."""
    start_at_utc_ns: int | None = None
    """All shards start then (nanoseconds since the Unix epoch); None: as soon as all workers are ready."""
    shard: int = 0
    """Which of ``shards`` this machine is, from 0."""
    shards: int = 1

    @property
    def run(self) -> str:
        """The run's name in stamps: the same for all shards, as the seed is."""
        return new_run(random.Random(f"{self.seed}:load"))

    @property
    def clients(self) -> int:
        """Of all groups, over all shards."""
        return sum(group.clients for group in self.groups)

    def to_json(self) -> bytes:
        """JSON; ``from_json`` takes it back."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, data: bytes) -> LoadPlan:
        """Read what ``to_json`` wrote.

        Raises:
            PlanError: it is no plan.
        """
        try:
            return msgspec.json.decode(data, type=cls)
        except msgspec.DecodeError as error:
            raise PlanError(f"no load plan: {error}") from None

    def check(self) -> None:
        """Find out what cannot be, before anything is started.

        Raises:
            PlanError: and what to do.
        """
        if not self.groups or not self.urls:
            raise PlanError("a plan needs at least one group of clients, and one URL")
        if not 0 < self.clients <= MAX_CLIENTS:
            raise PlanError(f"from 1 to {MAX_CLIENTS} clients, not {self.clients}")
        if not (self.duration_s > 0 and self.window_s > 0 and self.grace_s >= 0):
            raise PlanError("a duration and a window are more than 0 s, and the grace is not less")
        if not (1 <= self.workers <= MAX_WORKERS and 0 <= self.shard < self.shards):
            raise PlanError(f"from 1 to {MAX_WORKERS} workers; shard i of n has 0 <= i < n")
        if self.profile.read_only and any(group.role is not Role.LISTEN for group in self.groups):
            raise PlanError(f"the profile {self.profile.name} is read-only: its server is not ours to strain")
        for group in self.groups:
            group.check(self.profile)
        self._check_faults()

    def _check_faults(self) -> None:
        if problems := fault_problems(self.faults, self.duration_s):
            raise PlanError("; ".join(problems))
        if self.recovery_s < 0:
            raise PlanError("a recovery is not less than 0 s")
        if not any(map(is_proxied, self.faults)):
            return
        if self.sources:
            raise PlanError(
                "with faults of the network, all connections come from the fault proxy: no --source"
            )
        most = MAX_PROXIED * len(self.urls) * self.shards
        if self.clients > most:
            raise PlanError(
                f"{self.clients} clients, and a fault proxy holds {MAX_PROXIED} connections: "
                f"{most} are the most here; with more machines (--shard), each has a proxy"
            )
