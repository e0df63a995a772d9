"""A process that makes the faults of a load run: the proxy on the way, and signals to the server's process.

``python -m omega_ai.testkit.load.disturber``: reads its orders from standard input and writes its reports to
standard output, one JSON object a line. It is by itself, so that moving bytes takes no time from who
measures. Whatever ends it, its input included, it undoes first what it has done.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import msgspec
import uvloop
from msgspec import Struct

from omega_ai.core.certificates import CertificateError
from omega_ai.testkit.experiment.model import FaultStep
from omega_ai.testkit.experiment.world import Machine, NoMachine, World
from omega_ai.testkit.load.detour import Detour, DetourCost, Lateness
from omega_ai.testkit.load.fault_plan import is_proxied, looks_inside
from omega_ai.testkit.load.proxy_cost import added_by_proxy
from omega_ai.testkit.load.recorder import cpu_seconds
from omega_ai.testkit.load.timeline import GivenMachine, GivenProcess, Timeline
from omega_ai.testkit.proxy import Event, FaultProxy, ProxyTls
from omega_ai.testkit.proxy.address import BadAddress, join_host_port
from omega_ai.testkit.result import FaultWindow

LINE_LIMIT: Final = 1 << 20
LOOK_S: Final = 0.01
"""How often it looks how late it is itself."""
SPARE: Final = 256
"""Descriptors beside those of connections, of which each takes two."""


class Order(Struct, tag_field="order", tag=str.lower):
    """What the parent says."""


class Prepare(Order):
    """Get ready: for which faults, before which server."""

    steps: tuple[FaultStep, ...]
    urls: tuple[str, ...]
    clients: int
    """Connections at once."""
    seed: int
    ca: str | None = None
    pid: int | None = None


class Begin(Order):
    """The run starts at ``at_ns`` of ``time.monotonic_ns``."""

    at_ns: int


class Stop(Order):
    """End what is under way, and begin nothing more; what is on its way may still arrive."""


class End(Order):
    """The run is over."""


class Report(Struct, tag_field="report", tag=str.lower):
    """What it says."""


class Standing(Report):
    """It only waits for the start."""

    detour: Detour | None


class Ended(Report):
    """What was done."""

    windows: list[FaultWindow]
    undone: dict[str, str]
    cost: DetourCost | None


class Failed(Report):
    """It cannot be done."""

    text: str


Orders = Prepare | Begin | Stop | End
Reports = Standing | Ended | Failed


class _Service:
    """The process: from its first order to its last report."""

    def __init__(self, order: Prepare, stack: AsyncExitStack) -> None:
        self._order, self._stack = order, stack
        self._proxies: list[FaultProxy] = []
        self._added: int | None = None
        self._unreached = 0
        self._late = Lateness()
        self._began = time.monotonic()
        self._cpu = 0.0

    async def stand(self) -> tuple[Detour | None, list[World]]:
        """Make the proxies, and look whether the process can be disturbed.

        Raises:
            OSError, ValueError, CertificateError: it cannot be done; the text says why.
        """
        order = self._order
        machine: Machine = NoMachine()
        if order.pid is not None:
            machine = GivenMachine(GivenProcess(order.pid))
            os.kill(order.pid, 0)
        for step in order.steps:
            if step.process is not None and (lacking := machine.lacks(step)) is not None:
                raise ValueError(f"the fault {lacking}")
        inside = any(map(looks_inside, order.steps))
        detours = any(map(is_proxied, order.steps))
        worlds = []
        for url in order.urls:
            tls = ProxyTls(ca=None if order.ca is None else Path(order.ca)) if inside else None
            mine = tls if url.startswith("wss:") else None
            proxy = FaultProxy(url, seed=order.seed, tls=mine, on_event=self._noted)
            if detours:
                await self._stack.enter_async_context(proxy)
                self._proxies.append(proxy)
            worlds.append(World(proxy, machine, url))
        if not detours:
            return None, worlds
        _allow_descriptors(order.clients)
        self._added = await added_by_proxy()
        return Detour(
            addresses=tuple(join_host_port(proxy.host, proxy.port) for proxy in self._proxies),
            authorities=tuple(None if proxy.ca is None else str(proxy.ca) for proxy in self._proxies),
        ), worlds

    def _noted(self, _: FaultProxy, event: Event) -> None:
        self._unreached += event.what == "server not reached"

    async def watch(self) -> None:
        """Note how late this process itself is, as long as it runs."""
        self._began, self._cpu = time.monotonic(), cpu_seconds()
        while True:
            due = time.monotonic() + LOOK_S
            await asyncio.sleep(LOOK_S)
            self._late.note(time.monotonic() - due)

    def cost(self) -> DetourCost | None:
        """What the proxies did; None if there were none."""
        if not self._proxies:
            return None
        return DetourCost(
            connections=sum(proxy.accepted for proxy in self._proxies),
            unreached=self._unreached,
            added_ns=self._added,
            late_p99_ns=self._late.p99_ns,
            cpu_s=cpu_seconds() - self._cpu,
            wall_s=time.monotonic() - self._began,
        )


def _allow_descriptors(clients: int) -> None:
    wanted = 2 * clients + SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise ValueError(
            f"a fault proxy for {clients} clients opens {wanted} files and sockets, and {hard} are allowed "
            "(ulimit -Hn)"
        )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def serve() -> None:
    """Do what standard input says, until it ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LINE_LIMIT)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, reader.feed_eof)
    order = await _order(reader)
    if not isinstance(order, Prepare):
        return
    async with AsyncExitStack() as stack:
        service = _Service(order, stack)
        try:
            detour, worlds = await service.stand()
        except (OSError, ValueError, CertificateError, BadAddress) as error:
            say(Failed(getattr(error, "strerror", None) or str(error)))
            return
        say(Standing(detour))
        first = await _order(reader)
        if not isinstance(first, Begin):
            return
        timeline = Timeline(order.steps, worlds, first.at_ns / 1e9)
        watching = asyncio.create_task(service.watch())
        work = asyncio.create_task(timeline.run())
        try:
            while isinstance(await _order(reader), Stop):
                timeline.stop()
        finally:  # the run is over, or nobody is there any more
            timeline.stop()
            await work
            watching.cancel()
        say(Ended(timeline.windows, timeline.undone, service.cost()))


async def _order(reader: asyncio.StreamReader) -> Orders | None:
    line = await reader.readline()
    return _decode(line) if line else None


def say(report: Reports) -> None:
    """Tell the parent, if there still is one."""
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
        sys.stdout.buffer.flush()


_decode: Final = msgspec.json.Decoder(Orders).decode


def main() -> None:
    """Run until told to end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())


if __name__ == "__main__":
    main()
