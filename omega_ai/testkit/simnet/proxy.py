"""A fault proxy in virtual time: the interface of ``testkit.proxy.FaultProxy``, and the same faults."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from urllib.parse import urlsplit

from omega_ai.testkit.faults.chain import Circuit, Faults
from omega_ai.testkit.faults.model import Signal, Toxic
from omega_ai.testkit.faults.placing import Placing
from omega_ai.testkit.simnet.network import LOOPBACK, Network, Pair
from omega_ai.testkit.simnet.pipe import Pipe


class SimProxy(Placing):
    """``async with SimProxy(network, "ws://127.0.0.1:9000") as proxy``: ``proxy.url`` leads there.

    A connection through it is one connection, whose pipes go through the stages of the faults; TLS passes.
    """

    def __init__(self, network: Network, upstream: str, *, seed: int = 0) -> None:
        parts = urlsplit(upstream)
        self.network = network
        self.upstream = upstream
        self.enabled = False
        self.accepted = 0
        self.port = network.free_port()
        self.url = f"{parts.scheme}://{LOOPBACK}:{self.port}{parts.path}"
        self.faults = Faults(seed=seed, origin=network.loop.time())
        self._circuits: dict[Pair, Circuit] = {}
        port = parts.port or (443 if parts.scheme == "wss" else 80)
        network.alias(LOOPBACK, self.port, parts.hostname or LOOPBACK, port)

    async def __aenter__(self) -> SimProxy:
        await self.enable()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End every connection."""
        await self.disable()

    @property
    def toxics(self) -> Sequence[Toxic]:
        """What is placed now."""
        return self.faults.toxics

    @property
    def connections(self) -> int:
        """Connections that stand."""
        return len(self.network.between(LOOPBACK, self.port))

    def place(self, toxic: Toxic) -> None:
        """See ``Placing``."""
        self.faults.add(toxic)
        self._changed()

    def remove(self, toxic: Toxic | str) -> None:
        """Take a toxic away."""
        self.faults.remove(toxic if isinstance(toxic, str) else toxic.name)
        self._changed()

    def clear(self) -> None:
        """Take all toxics away."""
        self.faults.clear()
        self._changed()

    async def enable(self) -> None:
        """Let clients in."""
        self.enabled = True
        self.network.gates[(LOOPBACK, self.port)] = self

    async def disable(self) -> None:
        """Refuse clients, and close every connection."""
        self.enabled = False
        for pair in self.network.between(LOOPBACK, self.port):
            pair.close()

    def reset_connections(self) -> int:
        """Reset every connection; how many there were."""
        return self.network.cut(LOOPBACK, self.port)

    # What the network calls.

    async def admit(self) -> None:
        """See ``network.Gate``."""
        if not self.enabled:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "the proxy is disabled")
        opening = self.faults.opening(self.accepted, self.network.loop.time())
        if opening.delay:
            await asyncio.sleep(opening.delay)
        if opening.refuse is not None:
            self.accepted += 1
            raise ConnectionRefusedError(errno.ECONNREFUSED, "refused by a fault")
        if opening.silent:
            self.accepted += 1
            await asyncio.get_running_loop().create_future()

    def joined(self, pair: Pair) -> None:
        """See ``network.Gate``."""
        now = self.network.loop.time()
        circuit = self.faults.circuit(self.accepted, now)
        self.accepted += 1
        self._circuits[pair] = circuit
        for pipe, chain in ((pair.up, circuit.upstream), (pair.down, circuit.downstream)):
            pipe.signalled = partial(self._signalled, pair, pipe)
            pipe.follow(chain)

    def _changed(self) -> None:
        now = self.network.loop.time()
        for pair, circuit in list(self._circuits.items()):
            if pair not in self.network.connections:
                del self._circuits[pair]
                continue
            items = circuit.refresh(now)
            pair.up.refresh(items["upstream"])
            pair.down.refresh(items["downstream"])

    def _signalled(self, pair: Pair, pipe: Pipe, signal: Signal) -> None:
        if signal is Signal.CLOSE:
            pair.close()
        elif signal is Signal.RESET:
            pair.cut()
        elif signal is Signal.VANISH and pipe.sender is not None:
            pipe.sender.broke(ConnectionResetError(errno.ECONNRESET, "connection reset by peer"))
