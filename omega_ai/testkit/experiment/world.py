"""Where an experiment happens: real sockets or virtual time, by one interface, so that the same file runs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Protocol

from omega_ai.testkit.case import NotApplicable
from omega_ai.testkit.experiment.model import FaultStep
from omega_ai.testkit.faults.model import Stream, Toxic


class Proxy(Protocol):
    """What stands between clients and server: ``FaultProxy``, or ``SimProxy``."""

    @property
    def url(self) -> str:
        """Where clients connect."""
        ...

    def add(
        self,
        fault: Any,
        *,
        stream: Stream = "downstream",
        toxicity: float = 1.0,
        name: str | None = None,
    ) -> Toxic:
        """Place a fault."""
        ...

    def remove(self, toxic: Toxic | str) -> None:
        """Take it away."""
        ...

    def reset_connections(self) -> int:
        """Reset all."""
        ...

    async def enable(self) -> None:
        """Let clients in."""
        ...

    async def disable(self) -> None:
        """Refuse clients."""
        ...

    async def close(self) -> None:
        """Let go of everything."""
        ...


class Machine(Protocol):
    """The server's process, as far as it may be disturbed."""

    def lacks(self, step: FaultStep) -> str | None:
        """Why this cannot be done to it; None if it can."""
        ...

    async def begin(self, step: FaultStep) -> None:
        """Do it."""
        ...

    async def end(self, _step: FaultStep, /) -> None:
        """Undo it: the server runs again as before."""
        ...


class NoMachine:
    """A server that is not ours to disturb."""

    def lacks(self, step: FaultStep) -> str | None:
        """See ``Machine``."""
        return f"{step.name}: only a server that was started for the test may be disturbed (--start)"

    async def begin(self, step: FaultStep) -> None:
        """See ``Machine``."""
        raise NotApplicable(str(self.lacks(step)))

    async def end(self, step: FaultStep) -> None:
        """See ``Machine``."""


@dataclass(slots=True)
class World:
    """A proxy before the server, and the server's process."""

    proxy: Proxy
    machine: Machine
    direct: str
    """The server's own URL, past the proxy."""


async def slow_handshakes(url: str, count: int) -> list[asyncio.StreamWriter]:
    """Open ``count`` connections that begin a handshake and never finish it; the caller closes them."""
    from omega_ai.testkit.connection import Address

    address = Address.of(url)
    writers = []
    for _ in range(count):
        try:
            _, writer = await asyncio.open_connection(address.host, address.port)
        except OSError:
            continue
        writer.write(f"GET {address.target} HTTP/1.1\r\nHost: {address.host_header}\r\nX-Slow: ".encode())
        writers.append(writer)
    return writers
