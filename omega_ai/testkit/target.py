"""A server under test: where it is, how to speak to it, and what it offers."""

from __future__ import annotations

import random
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from omega_ai.core.client_tls import client_context
from omega_ai.testkit.case import Need
from omega_ai.testkit.connection import Address
from omega_ai.testkit.profile import Profile

if TYPE_CHECKING:
    from omega_ai.testkit.conformance.clients.arrivals import Arrivals
    from omega_ai.testkit.contract.document import Contract


class Control(Protocol):
    """A server that we started ourselves, and so may disturb."""

    @property
    def pid(self) -> int | None:
        """Its process, while it runs."""
        ...

    async def stop(self) -> None:
        """End it as an operator does (SIGTERM)."""
        ...

    async def kill(self) -> None:
        """Cut it off (SIGKILL)."""
        ...

    async def start(self) -> None:
        """Start it again, on the same ports."""
        ...


@dataclass(slots=True)
class Target:
    """What is put to the test. Nothing in it is bound to one case."""

    url: str
    """ws:// or wss://; where messages are exchanged."""
    profile: Profile
    secure_url: str | None = None
    """wss:// of the same server; ``url`` itself if that is secure."""
    ca: Path | None = None
    """PEM file of the authority to trust."""
    token: str | None = None
    """Shown in the Authorization header."""
    control: Control | None = None
    facts: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    server: str | None = None
    clients: Arrivals | None = None
    """Where the client under test arrives, if it is a client."""
    server_pid: int | None = None
    """Its process, where it runs on this machine and we did not start it."""
    server_metrics: str | None = None
    """Where it shows metrics for Prometheus."""
    contract: Contract | None = None
    """Which messages it takes and sends."""
    withheld: frozenset[Need] = frozenset()
    """What the profile has, but this server was seen not to do."""
    _context: ssl.SSLContext | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        Address.of(self.url)  # a wrong URL is said at once
        if self.secure_url is None and self.url.startswith("wss://"):
            self.secure_url = self.url

    @property
    def needs_met(self) -> frozenset[Need]:
        """What it offers."""
        profile = self.profile
        met = {
            Need.ECHO: profile.echo is not None,
            Need.PUBLISH: profile.publish is not None,
            Need.FEED: profile.feed is not None and profile.feed.own,
            Need.SEQUENCE: profile.feed is not None and profile.feed.sequence is not None,
            Need.RESUME: profile.resume is not None,
            Need.PRICES: profile.feed is not None and profile.feed.price is not None,
            Need.ERRORS: profile.errors is not None,
            Need.TLS: self.secure_url is not None,
            Need.CLIENT: self.clients is not None,
            Need.CONTRACT: self.contract is not None,
            Need.CONTROL: self.control is not None,
            Need.PROCESS: self.pid is not None or self.server_metrics is not None,
        }
        return frozenset(need for need, has in met.items() if has) - self.withheld

    @property
    def pid(self) -> int | None:
        """Its process, if it runs on this machine and is known."""
        return self.server_pid if self.control is None else self.control.pid

    def lacks(self, needs: Iterable[Need]) -> str | None:
        """Why a case with ``needs`` cannot be put to it; None if it can."""
        missing = [need for need in Need if need in set(needs) - self.needs_met]
        return None if not missing else "; ".join(_WHY[need] for need in missing)

    def tls_context(self) -> ssl.SSLContext:
        """For connections that are not about TLS itself: verified, by ``ca`` or the system's authorities."""
        if self._context is None:
            host = Address.of(self.secure_url or self.url).host
            self._context = client_context(self.ca, host=host)
        return self._context

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Added to every handshake."""
        given = tuple(self.profile.connect.headers.items())
        return given if self.token is None else (*given, ("Authorization", f"Bearer {self.token}"))


_WHY = {
    Need.ECHO: "no message is known that it answers to its sender",
    Need.PUBLISH: "no message is known that it passes on to others",
    Need.FEED: "it is not known to send messages of its own",
    Need.SEQUENCE: "its messages are not numbered, as far as is known",
    Need.RESUME: "it is not known how a client asks for what it missed",
    Need.PRICES: "its messages carry no price, as far as is known",
    Need.ERRORS: "it is not known how it says that a message was wrong",
    Need.TLS: "no wss:// address is known",
    Need.CLIENT: "it is a server; for a client, see omega test --client",
    Need.CONTRACT: "no contract is given: --contract FILE or URL",
    Need.CONTROL: "only a server that this command started itself may be stopped",
    Need.PROCESS: "its process is not known (--server-pid), nor a page with its metrics (--server-metrics)",
}


def new_run(rng: random.Random) -> str:
    """A name for the stamps of one run."""
    return "".join(rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789") for _ in range(8))
