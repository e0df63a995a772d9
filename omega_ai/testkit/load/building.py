"""A plan from a handful of numbers, as they are given on a command line. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from omega_ai.testkit.load.plan import Group, LoadPlan, PlanError, Role
from omega_ai.testkit.load.shapes import Constant, Ramp, Shape, Spike, Wave
from omega_ai.testkit.profile import Profile

ARRIVALS_PER_S: Final = 500.0
"""Clients that come in a second, if nothing else is said."""
SETTLE_S: Final = 0.3
"""From when the last client has come until the first message is due."""
SHAPES: Final = ("constant", "ramp", "wave", "spike")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is wanted."""

    clients: int = 10
    """Clients that send and are answered; or that listen, where the server only speaks."""
    listeners: int = 0
    publishers: int = 0
    rate: float | None = None
    """Messages per second of all clients together; None: one of each client."""
    duration_s: float = 10.0
    """From the first message until the last."""
    ramp_s: float | None = None
    """In which the clients come."""
    size: int = 0
    shape: str = "constant"
    random: bool = False
    """Messages are a Poisson process."""

    def groups(self, profile: Profile) -> tuple[Group, ...]:
        """Who comes.

        Raises:
            PlanError: the profile knows nothing of that kind, or a number that cannot be.
        """
        if min(self.clients, self.listeners, self.publishers) < 0 or self.duration_s <= 0:
            raise PlanError("clients are 0 or more, and a duration is more than 0 s")
        if self.listeners or self.publishers:
            return self._channel(profile, self.listeners, self.publishers)
        if profile.echo is not None:
            return (self._senders(Role.ECHO, self.clients),)
        if profile.publish is not None:
            return self._channel(profile, self.clients, 1)
        if profile.feed is not None:
            return (Group(role=Role.LISTEN, clients=self.clients, ramp_s=self.ramp),)
        raise PlanError(
            f"the profile {profile.name} knows nothing to send and nothing to listen to; "
            "--profile says how to speak to a server"
        )

    @property
    def ramp(self) -> float:
        """Seconds in which the clients come."""
        everybody = self.listeners + self.publishers or self.clients
        return everybody / ARRIVALS_PER_S if self.ramp_s is None else self.ramp_s

    @property
    def start_s(self) -> float:
        """When the first message is due."""
        return self.ramp + SETTLE_S

    @property
    def end_s(self) -> float:
        """When the last message is due."""
        return self.start_s + self.duration_s

    def _channel(self, profile: Profile, listeners: int, publishers: int) -> tuple[Group, ...]:
        if publishers and profile.publish is None:
            raise PlanError(f"the profile {profile.name} knows no message that is passed on: no --publishers")
        groups = []
        if listeners:
            groups.append(Group(role=Role.LISTEN, clients=listeners, ramp_s=self.ramp))
        if publishers:
            groups.append(self._senders(Role.PUBLISH, publishers))
        return tuple(groups)

    def _senders(self, role: Role, clients: int) -> Group:
        return Group(
            role=role,
            clients=clients,
            ramp_s=self.ramp,
            messages=self._shape(float(clients) if self.rate is None else self.rate),
            random_messages=self.random,
            messages_start_s=self.start_s,
            size=self.size,
        )

    def _shape(self, rate: float) -> Shape:
        length = self.duration_s
        match self.shape:
            case "constant":
                return Constant(rate)
            case "ramp":
                return Ramp(0.0, rate, length)
            case "wave":
                return Wave(rate / 2, rate / 2, length / 2)
            case "spike":
                return Spike(rate / 5, rate, length * 0.4, length * 0.2)
            case _:
                raise PlanError(f"no shape {self.shape!r}; there are {', '.join(SHAPES)}")


def parse_rate(text: str, clients: int) -> float:
    """``5000`` of all clients together, or ``100/client``; ``5k`` is 5,000 and ``1M`` a million.

    Raises:
        PlanError: it is no rate.
    """
    number, slash, each = text.strip().partition("/")
    factor = {"k": 1e3, "K": 1e3, "M": 1e6}.get(number[-1:], 1.0)
    try:
        rate = float(number.rstrip("kKM") if factor != 1.0 else number) * factor
    except ValueError:
        rate = -1.0
    if not 0 <= rate < float("inf") or (slash and each != "client"):
        raise PlanError(f"{text[:40]!r} is no rate: write 5000 (by the second, of all), or 100/client")
    return rate * clients if slash else rate


def parse_shard(text: str) -> tuple[int, int]:
    """``2/5``, the second of five: (1, 5).

    Raises:
        PlanError: it is none.
    """
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise PlanError(f"{text[:40]!r} is no shard: write 1/3, 2/3 and 3/3 on three machines")
    return int(number) - 1, int(count)


def planned(wish: Wish, urls: tuple[str, ...], profile: Profile, **more: object) -> LoadPlan:
    """The plan; ``more`` are further fields of ``LoadPlan``.

    Raises:
        PlanError: see ``Wish.groups``.
    """
    fields: dict[str, object] = {"profile": profile, "groups": wish.groups(profile), "duration_s": wish.end_s}
    return LoadPlan(urls=urls, **(fields | more))  # type: ignore[arg-type]
