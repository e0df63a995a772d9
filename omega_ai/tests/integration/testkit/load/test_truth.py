"""What the figures must be, by arithmetic: a server that stood still, and a clock that jumps."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
import sys
import time
from collections.abc import AsyncIterator

import msgspec

from omega_ai.testkit.load import worker as worker_module
from omega_ai.testkit.load.engine import run_load
from omega_ai.testkit.load.poller import SelectorPoller
from omega_ai.testkit.load.tally import Tally
from omega_ai.testkit.load.worker import Done, Reports, Seen, Worker
from omega_ai.tests.integration.testkit.load.server import serving
from omega_ai.tests.integration.testkit.load.test_engine import echoes, plan_for


@contextlib.asynccontextmanager
async def server_process() -> AsyncIterator[tuple[str, int]]:
    """A server that can be stopped without stopping us: its URL and process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "omega_ai.tests.integration.testkit.load.server",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(30):
            yield (await process.stdout.readline()).decode().strip(), process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


async def test_a_pause_of_the_server_is_in_the_percentiles_as_arithmetic_says():
    """What was due in the pause waited for its end. Who waits for answers before sending sees none of it."""
    seconds, begun = 2.5, asyncio.Event()
    async with server_process() as (url, pid):

        async def pause() -> float:
            await begun.wait()
            os.kill(pid, signal.SIGSTOP)
            start = time.monotonic()
            await asyncio.sleep(0.5)
            length = time.monotonic() - start
            os.kill(pid, signal.SIGCONT)
            return length

        paused = asyncio.create_task(pause())
        plan = plan_for(url, echoes(clients=10, rate=400.0), duration_s=seconds, window_s=0.25)
        tally = await run_load(plan, on_window=lambda _: begun.set())
        length = await paused
    assert tally.delivery().delivered == 1000
    for percent in (90, 95, 99):
        # As long as it lasted, less the share of the run that waited longer.
        truth = length - (1 - percent / 100) * seconds
        found = tally.total.latency.percentile(percent)
        assert found is not None
        assert found / 1e9 >= 0.97 * truth
    assert tally.total.latency.maximum / 1e9 >= 0.97 * length - 1 / 400
    half = tally.total.latency.percentile(50)
    assert half is not None
    assert length > seconds / 4 or half / 1e9 < length / 2  # most messages were not due in the pause


def run_here(worker: Worker, out: io.BytesIO) -> tuple[Tally, list[Seen]]:
    """Carry a worker's part out in this process, and read what it reported."""
    worker.run(time.monotonic_ns() + 10_000_000)
    data, reports = out.getvalue(), []
    while data:
        size = int.from_bytes(data[:4], "big")
        reports.append(msgspec.msgpack.decode(data[4 : 4 + size], type=Reports))
        data = data[4 + size :]
    done = reports[-1]
    assert isinstance(done, Done)
    return done.tally, [report for report in reports if isinstance(report, Seen)]


async def test_it_runs_where_there_is_no_epoll(monkeypatch):
    """macOS, for one: with what selectors has."""
    monkeypatch.setattr(worker_module, "open_poller", SelectorPoller)
    async with serving() as (url, _):
        reading, writing = os.pipe()
        out = io.BytesIO()
        try:
            worker = Worker(plan_for(url, echoes(rate=200.0, churn=5.0), duration_s=0.6), 0, out, reading)
            tally, _ = await asyncio.to_thread(run_here, worker, out)
        finally:
            os.close(reading)
            os.close(writing)
    assert tally.delivery().delivered == tally.total.counts.sent == 120


async def test_a_wall_clock_that_jumps_changes_nothing(monkeypatch):
    """Hours forth and back at every look; everything is measured by the clock that cannot be set."""
    true, looks = time.time_ns, iter(range(10**9))
    async with serving() as (url, _):
        reading, writing = os.pipe()
        out = io.BytesIO()
        try:
            worker = Worker(plan_for(url, echoes(rate=200.0), duration_s=0.6, window_s=0.2), 0, out, reading)
            monkeypatch.setattr(time, "time_ns", lambda: true() + (-1) ** next(looks) * 3600 * 10**9)
            monkeypatch.setattr(time, "time", lambda: time.time_ns() / 1e9)
            tally, seen = await asyncio.to_thread(run_here, worker, out)
        finally:
            os.close(reading)
            os.close(writing)
    assert tally.delivery().delivered == 120
    assert 0 <= tally.total.latency.minimum <= tally.total.latency.maximum < 60e9
    assert 0.6 <= tally.duration_s < 60
    assert [report.window.start_s for report in seen[:3]] == [0.0, 0.2, 0.4]
