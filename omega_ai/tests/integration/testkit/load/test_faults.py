"""Faults in the midst of a load, on real sockets and real processes: made in time, seen, and undone."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import ssl
import sys
import time
from pathlib import Path

import msgspec
import pytest

from omega_ai.testkit.experiment.model import FaultStep
from omega_ai.testkit.load.disturber import Begin, Prepare, Reports, Standing
from omega_ai.testkit.load.engine import LoadError, run_load
from omega_ai.testkit.load.plan import PlanError
from omega_ai.testkit.load.record import LoadRecord, join, result_parts
from omega_ai.testkit.result import Severity
from omega_ai.testkit.verdict import Verdict
from omega_ai.tests.certificates import Authority
from omega_ai.tests.integration.testkit.load.server import serving
from omega_ai.tests.integration.testkit.load.test_engine import echoes, plan_for
from omega_ai.tests.integration.testkit.load.test_truth import server_process

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
LONG = {"recovery_s": 60.0, "window_s": 0.1, "grace_s": 20.0}
"""A busy machine may take its time."""


def fault(**fields) -> FaultStep:
    """A fault from half a second on."""
    return msgspec.convert({"name": "x", "at_s": 0.5, "for_s": 0.5} | fields, FaultStep)


def state(pid: int) -> str:
    """``T`` is stopped."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]


async def until(what, within_s=30.0):
    """Wait until ``what()``."""
    async with asyncio.timeout(within_s):
        while not what():
            await asyncio.sleep(0.01)


async def test_what_is_slowed_down_on_the_way_is_seen_slow_and_nothing_else():
    """Through a proxy in a process of its own, which tells what it adds."""
    slow = fault(network="latency", **{"with": {"latency": 150}})
    async with serving() as (url, site):
        plan = plan_for(url, echoes(rate=200.0), duration_s=1.5, faults=(slow,), **LONG)
        tally = await run_load(plan)
    delivery = tally.delivery()
    assert delivery.delivered == delivery.due == site.behaviour.messages == 300
    (window,) = tally.faults
    assert window.name == "x"
    assert 0.45 <= window.start_s < window.end_s
    assert window.end_s - window.start_s >= 0.4
    assert tally.total.latency.above(149_000_000) > 20
    assert tally.total.latency.minimum < 149_000_000  # before it, and after it
    (cost,) = tally.detours
    assert (cost.connections, cost.unreached) == (4, 0)
    assert cost.added_ns is not None
    assert {case.verdict for case in result_parts(LoadRecord.of(plan, tally)).suite.cases} == {Verdict.PASS}


async def test_who_is_cut_off_comes_back_and_that_is_laid_to_the_fault():
    """The server did nothing wrong."""
    cut = fault(network="reset_peer")
    async with serving() as (url, _):
        plan = plan_for(url, echoes(rate=200.0, reconnect_s=0.1), duration_s=1.5, faults=(cut,), **LONG)
        tally = await run_load(plan)
    assert tally.total.counts.dropped >= 4
    assert tally.total.counts.connected > 4
    parts = result_parts(LoadRecord.of(plan, tally))
    assert {case.verdict for case in parts.suite.cases} == {Verdict.PASS}
    closed = [item for case in parts.suite.cases for item in case.findings if item.kind == "closed"]
    assert [(item.fault, item.severity) for item in closed] == [("x", Severity.NOTE)] * len(closed) != []


@pytest.mark.parametrize(("kind", "given"), [("ws_drop", {"probability": 0.3}), ("latency", {"latency": 20})])
async def test_over_tls_faults_see_what_they_need_to_see(kind, given, tmp_path):
    """A frame, for one: then TLS ends at the proxy, and begins anew behind it. Otherwise it is left alone."""
    authority = Authority()
    ca = authority.write(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue().write(tmp_path))
    broken = fault(network=kind, at_s=0.0, for_s=1.0, **{"with": given})
    async with serving(tls=context) as (url, _):
        plan = plan_for(
            url, echoes(rate=200.0), duration_s=1.0, ca=str(ca), faults=(broken,), **(LONG | {"grace_s": 2.0})
        )
        tally = await run_load(plan)
    assert tally.total.counts.connected == 4
    assert tally.detours[0].unreached == 0
    assert (tally.delivery().lost > 0) is (kind == "ws_drop")


@LINUX
async def test_a_server_that_is_stopped_is_let_go_in_time():
    """Without a proxy: nothing happens on the way."""
    pause = fault(process="pause")
    async with server_process() as (url, pid):
        plan = plan_for(url, echoes(rate=200.0), duration_s=1.5, faults=(pause,), **LONG)
        tally = await run_load(plan, server_pid=pid)
        assert state(pid) != "T"
    (window,) = tally.faults
    assert tally.total.latency.maximum / 1e9 >= 0.9 * (window.end_s - window.start_s) >= 0.4
    assert tally.detours == []
    assert tally.delivery().delivered == 300


@LINUX
async def test_a_run_that_is_ended_early_ends_its_faults_first():
    """Or the server would stay as it is."""
    stop, windows = asyncio.Event(), []
    async with server_process() as (url, pid):
        pause = fault(process="pause", at_s=0.2, for_s=50.0)
        later = fault(name="later", act="reset", at_s=55.0)
        settings = LONG | {"duration_s": 60.0, "faults": (pause, later), "grace_s": 60.0}
        plan = plan_for(url, echoes(rate=50.0), **settings)
        running = asyncio.create_task(run_load(plan, on_window=windows.append, server_pid=pid, stop=stop))
        await until(lambda: state(pid) == "T")
        windows.clear()
        await until(lambda: sum(window.counts.sent for window in windows) > 10)
        stop.set()  # what was sent is answered when the server goes on, for which there is a minute
        await until(lambda: state(pid) != "T", within_s=20)
        tally = await running
    (window,) = tally.faults
    assert window.end_s < 50.0
    assert tally.undone == {"later": "the run ended before"}
    assert tally.delivery().lost == 0


@LINUX
async def test_a_run_that_is_cut_off_leaves_nothing_stopped():
    """As by a second Ctrl-C."""
    async with server_process() as (url, pid):
        pause = fault(process="pause", at_s=0.2, for_s=50.0)
        plan = plan_for(url, echoes(rate=50.0), duration_s=60.0, faults=(pause,), **LONG)
        running = asyncio.create_task(run_load(plan, server_pid=pid))
        await until(lambda: state(pid) == "T")
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        assert state(pid) != "T"


@LINUX
@pytest.mark.parametrize("how", ["input ends", "SIGTERM"])
async def test_who_makes_the_faults_undoes_them_when_nobody_is_there_any_more(how):
    """The command was killed; what it had stopped must go on."""
    victim = await asyncio.create_subprocess_exec("sleep", "600")
    disturber = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "omega_ai.testkit.load.disturber",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert disturber.stdin is not None
    assert disturber.stdout is not None
    try:
        steps = (fault(process="pause", at_s=0.0, for_s=500.0),)
        order = Prepare(steps=steps, urls=("ws://127.0.0.1:1/",), clients=0, seed=1, pid=victim.pid)
        disturber.stdin.write(msgspec.json.encode(order) + b"\n")
        report = msgspec.json.decode(await disturber.stdout.readline(), type=Reports)
        assert report == Standing(None)
        disturber.stdin.write(msgspec.json.encode(Begin(time.monotonic_ns())) + b"\n")
        await until(lambda: state(victim.pid) == "T")
        if how == "SIGTERM":
            disturber.send_signal(signal.SIGTERM)
        else:
            disturber.stdin.close()
        async with asyncio.timeout(30):
            assert await disturber.wait() == 0
        assert state(victim.pid) != "T"
    finally:
        for process in (victim, disturber):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        disturber.stdin.close()
        await disturber.stdout.read()
        await asyncio.gather(victim.wait(), disturber.wait())


async def test_what_cannot_be_disturbed_is_said_before_the_load():
    """No process was given; or it is gone."""
    child = await asyncio.create_subprocess_exec("true")
    await child.wait()
    plan = plan_for("ws://127.0.0.1:1/", echoes(), duration_s=1.0, faults=(fault(process="pause"),))
    with pytest.raises(PlanError, match="--server-pid"):
        await run_load(plan)
    with pytest.raises(LoadError, match=r"the faults cannot be made: .*(No such process|does not run)"):
        await run_load(plan, server_pid=child.pid)


async def test_each_machine_has_its_own_proxy_and_their_windows_are_one():
    """As far as one machine can stand for two."""
    reset = fault(act="reset", at_s=0.2, for_s=0.2)
    hung = fault(process="pause", name="hung", at_s=0.4, for_s=0.1)
    async with serving() as (url, _):
        plan = plan_for(url, echoes(), duration_s=0.6, faults=(reset, hung), shards=2, **LONG)
        records = []
        for shard in (0, 1):
            mine = msgspec.structs.replace(plan, shard=shard)
            records.append(LoadRecord.of(mine, await run_load(mine)))
    whole = join(records)
    assert [window.name for window in whole.tally.faults] == ["x"]
    assert [(cost.shard, cost.connections >= 2) for cost in whole.tally.detours] == [(0, True), (1, True)]
    faults = next(case for case in result_parts(whole).suite.cases if case.id == "load.faults")
    assert faults.verdict is Verdict.UNKNOWN  # nobody had the process
    assert "--server-pid" in faults.finding
