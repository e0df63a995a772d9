"""A worker: a process that carries out its part of a plan, in one loop of its own.

``python -m omega_ai.testkit.load.worker``: reads its orders from standard input, one JSON object a line, and
writes what it sees to standard output, as MessagePack behind four bytes of length. It ends when its input
does.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from typing import BinaryIO, Final

import msgspec
from msgspec import Struct

from omega_ai.core.certificates import CertificateError
from omega_ai.testkit.connection import ConnectFailed
from omega_ai.testkit.load.detour import Detour
from omega_ai.testkit.load.group import GroupRun
from omega_ai.testkit.load.plan import LoadPlan, PlanError
from omega_ai.testkit.load.poller import READ, open_poller
from omega_ai.testkit.load.recorder import cpu_seconds, rss_bytes
from omega_ai.testkit.load.room import Room
from omega_ai.testkit.load.tally import (
    Accounts,
    Offender,
    Part,
    Tally,
    Window,
    coarsen,
    worst,
)
from omega_ai.testkit.load.wire import OPEN

COALESCE_NS: Final = 50_000
"""What is due within so short a time after a turn waits for the next turn: it spares the processor more
than it adds to the lag."""
OVERTIME_NS: Final = 1_000_000_000
"""How long after the last message was due a generator that is late may go on sending."""
OVERTIME_TURNS: Final = 50
"""And how many turns it has at least: a machine that held us up for long is no reason to send nothing."""
LINGER_NS: Final = 200_000_000
"""How long is listened on when all has come: for copies."""
LOOK_NS: Final = 10_000_000
"""How often it is looked whether all has come."""
LAST_WORD_NS: Final = 500_000_000
"""How long servers have to answer our good-byes."""


class Order(Struct, tag_field="order", tag=str.lower):
    """What the parent says."""


class Prepare(Order):
    """Get ready."""

    plan: LoadPlan
    worker: int
    detour: Detour | None = None


class Start(Order):
    """Start at ``at_ns`` of ``time.monotonic_ns``."""

    at_ns: int


class Stop(Order):
    """Stop sending."""


class Report(Struct, tag_field="report", tag=str.lower):
    """What the worker says."""


class Ready(Report):
    """It only waits for the start."""


class Seen(Report):
    """A window is over."""

    window: Window


class Done(Report):
    """All is over."""

    tally: Tally


class Failed(Report):
    """It cannot go on."""

    text: str


Orders = Prepare | Start | Stop
Reports = Ready | Seen | Done | Failed


class Worker:
    """One process's part of a run."""

    def __init__(
        self, plan: LoadPlan, worker: int, say: BinaryIO, orders: int, detour: Detour | None = None
    ) -> None:
        self._plan, self._worker = plan, worker
        self._out, self._orders = say, orders
        self._poller = open_poller()
        self.room = Room(plan, plan.shard * plan.workers + worker, self._poller, detour)
        self.room.open_doors()
        self._groups: list[GroupRun] = []
        offset = 0
        for group in plan.groups:
            self._groups.append(GroupRun(self.room, group, offset))
            offset += group.clients
        self._windows: list[Window] = []
        self._window_s = plan.window_s
        self._end = round(plan.duration_s * 1e9)
        self._stopped = False
        self._look_again = self._quiet_since = self._overtime_turns = 0
        self._rss_idle = rss_bytes()

    def say(self, report: Reports) -> None:
        """Tell the parent."""
        data = msgspec.msgpack.encode(report)
        self._out.write(len(data).to_bytes(4, "big") + data)
        self._out.flush()

    def run(self, start_ns: int) -> None:
        """Carry it out, from ``start_ns`` on."""
        room = self.room
        room.base = start_ns
        room.utc_base = time.time_ns() + start_ns - time.monotonic_ns()
        started_utc = room.utc_base
        while (left := start_ns - time.monotonic_ns()) > 0:
            time.sleep(left / 1e9)
        room.recorder.restart()
        self._poller.add(self._orders, READ)
        self._loop(self._sending)
        self._stop_sending()
        self._quiet_since = room.now()
        grace_ends = room.now() + round(self._plan.grace_s * 1e9)
        self._loop(lambda now: now < grace_ends and self._awaited(now))
        accounts = self._settle()
        self._good_bye()
        duration = room.now() / 1e9
        self._roll(room.now())
        recorder = room.recorder
        recorder.total.duration_s = duration
        part = Part(
            shard=self._plan.shard,
            worker=self._worker,
            cpu_s=cpu_seconds() - recorder.cpu_started,
            wall_s=duration,
            rss_bytes=max((window.rss_bytes for window in self._windows), default=rss_bytes()),
            rss_idle_bytes=self._rss_idle,
            most_open=recorder.most_open,
        )
        self.say(
            Done(
                Tally(
                    started_utc_ns=started_utc,
                    duration_s=duration,
                    total=recorder.total,
                    windows=self._windows,
                    window_s=self._window_s,
                    accounts=accounts,
                    offenders=self._offenders(),
                    parts=[part],
                    stopped_early=self._stopped,
                    examples=recorder.examples,
                )
            )
        )

    def _loop(self, go_on: Callable[[int], bool]) -> None:
        """Turn after turn, as long as ``go_on(now)`` says so."""
        room, poller, groups, links = self.room, self._poller, self._groups, self.room.links
        recorder, base, orders = room.recorder, room.base, self._orders
        clock = time.monotonic_ns
        began = ended = clock() - base
        while go_on(began):
            sending = began < self._end and not self._stopped
            due = min(recorder.ends, self._end if sending else began + LOOK_NS)
            timer = room.next_timer
            if timer is not None and timer < due:
                due = timer
            for group in groups:
                due = min(due, group.next_due)
            wake = max(due, ended + COALESCE_NS) if due > ended else due
            ready = poller.wait(wake + base)
            began = clock() - base
            late = began - wake if not ready and began > wake else 0
            for fd, events in ready:
                link = links.get(fd)
                if link is not None:
                    if events == READ:
                        link.read()
                    else:
                        link.ready(events)
                elif fd == orders:
                    self._ordered()
            now = clock() - base
            if room.next_timer is not None:
                room.run_timers(now)
            for group in groups:
                if group.next_due <= now:
                    group.turn(now)
            ended = clock() - base
            recorder.loop_lags[(late + ended - began) >> 13] += 1
            if ended >= recorder.ends:
                self._roll(ended)

    def _sending(self, now: int) -> bool:
        if self._stopped:
            return False
        if now < self._end:
            return True
        self._overtime_turns += 1
        if now >= self._end + OVERTIME_NS and self._overtime_turns > OVERTIME_TURNS:
            return False
        return any(group.next_message <= self._end for group in self._groups)

    def _awaited(self, now: int) -> bool:
        """Whether anything that is due may still come, or a copy of what came last."""
        if now >= self._look_again:
            self._look_again = now + LOOK_NS
            if self._due():
                self._quiet_since = now
        return now < self._quiet_since + LINGER_NS

    def _due(self) -> bool:
        plan = self._plan
        if self.room.hears and plan.workers * plan.shards > 1:
            return True  # whoever listens cannot know what others have yet to send
        return any(group.in_flight() > 0 or group.behind() for group in self._groups)

    def _stop_sending(self) -> None:
        until = self.room.now() if self._stopped else self._end
        for group in self._groups:
            late = group.overdue(until)
            self.room.recorder.counts.intended += late
            self.room.recorder.counts.skipped += late
            group.stop()
        self.room.ending = True

    def _settle(self) -> Accounts:
        accounts = Accounts()
        for group in self._groups:
            accounts.add(group.settle())
        self.room.settled = True
        return accounts

    def _offenders(self) -> list[Offender]:
        found = [
            Offender(client=client.title, kind=kind, count=times)
            for group in self._groups
            for client in group.clients
            if client.found
            for kind, times in client.found.items()
        ]
        return worst(found)

    def _good_bye(self) -> None:
        """Close what is open; those that do not answer in time are cut."""
        room = self.room
        now = room.now()
        for group in self._groups:
            for client in group.clients:
                client.closing = True
                if client.state == OPEN:
                    client.close(now)
        limit = now + LAST_WORD_NS
        while room.links and (now := room.now()) < limit:
            for fd, events in self._poller.wait(limit + room.base):
                link = room.links.get(fd)
                if link is not None:
                    link.ready(events)
        for link in list(room.links.values()):
            link.abort()
        self._poller.close()

    def _ordered(self) -> None:
        """The parent has said something, or is gone."""
        data = os.read(self._orders, 65_536)
        if not data:
            os._exit(1)
        if b'"stop"' in data:
            self._stopped = True

    def _roll(self, now: int) -> None:
        recorder = self.room.recorder
        while True:
            window = recorder.roll(now)
            self._windows.append(window)
            self.say(Seen(window))
            if now < recorder.ends:
                break
        self._windows, self._window_s = coarsen(self._windows, self._window_s)


def main() -> None:
    """Do what standard input says."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    out = os.fdopen(os.dup(1), "wb", buffering=1 << 16)
    os.dup2(2, 1)  # whatever prints must not disturb the reports
    fd = sys.stdin.fileno()
    decode = msgspec.json.Decoder(Orders).decode
    lines = iter(lambda: _line(fd), b"")
    order = decode(next(lines, b"{}"))
    if not isinstance(order, Prepare):
        sys.exit(1)
    try:
        worker = Worker(order.plan, order.worker, out, fd, order.detour)
    except (PlanError, CertificateError, ConnectFailed, OSError, ValueError) as error:
        data = msgspec.msgpack.encode(Failed(str(error)))
        out.write(len(data).to_bytes(4, "big") + data)
        out.flush()
        return
    gc.collect()
    gc.freeze()
    gc.disable()  # nothing of ours hangs in cycles, and a collection is a pause
    worker.say(Ready())
    line = next(lines, b"")
    if not line:
        return  # it was not to start, after all
    order = decode(line)
    if isinstance(order, Start):
        with contextlib.suppress(BrokenPipeError):
            worker.run(order.at_ns)


def _line(fd: int) -> bytes:
    """One line, read so that nothing after it is taken."""
    data = bytearray()
    while byte := os.read(fd, 1):
        data += byte
        if byte == b"\n":
            break
    return bytes(data)


if __name__ == "__main__":
    main()
