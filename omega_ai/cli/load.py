"""``omega load``: load on schedule against any WebSocket server, every message checked and timed."""

from __future__ import annotations

import asyncio
import platform
import secrets
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from cyclopts import Parameter

from omega_ai import __version__
from omega_ai.cli.durations import parse_duration
from omega_ai.cli.exit_codes import UsageError
from omega_ai.cli.load_levels import Levels, try_levels
from omega_ai.cli.running import run
from omega_ai.cli.terminal import command_line, console, say
from omega_ai.core.certificates import CertificateError
from omega_ai.core.timestamps import format_utc, parse_utc
from omega_ai.testkit.connection import Address, ConnectFailed
from omega_ai.testkit.experiment.model import FaultStep
from omega_ai.testkit.load.building import Wish, parse_rate, parse_shard, planned
from omega_ai.testkit.load.cases import WARM_UP
from omega_ai.testkit.load.disturbance import steps_here
from omega_ai.testkit.load.engine import LoadError
from omega_ai.testkit.load.fault_text import parse_fault
from omega_ai.testkit.load.plan import LoadPlan, PlanError
from omega_ai.testkit.load.record import LoadRecord, result_parts
from omega_ai.testkit.load.scenario import ScenarioError, load_scenario
from omega_ai.testkit.load.screen import LoadScreen, summary
from omega_ai.testkit.load.session import ServerView, Session
from omega_ai.testkit.load.thresholds import ThresholdError, parse_threshold
from omega_ai.testkit.probe import Probe, probe
from omega_ai.testkit.profile import Profile, ProfileError, load_profile
from omega_ai.testkit.report.terminal import show
from omega_ai.testkit.report.writing import Destinations, ReportError, write_reports
from omega_ai.testkit.result import RunResult, TargetFacts
from omega_ai.testkit.target import Target


def load(
    url: str,
    *more_urls: str,
    clients: int = 10,
    listeners: int = 0,
    publishers: int = 0,
    rate: str | None = None,
    duration: str = "10s",
    ramp: str | None = None,
    size: int = 0,
    shape: str = "constant",
    poisson: Annotated[bool, Parameter(negative="")] = False,
    scenario: str | None = None,
    scale_clients: float = 1.0,
    scale_rate: float = 1.0,
    scale_time: float = 1.0,
    threshold: tuple[str, ...] = (),
    fault: tuple[str, ...] = (),
    find: tuple[str, ...] = (),
    stress: Annotated[bool, Parameter(negative="")] = False,
    soak: Annotated[bool, Parameter(negative="")] = False,
    vary: Literal["rate", "clients"] = "rate",
    step: str = "5s",
    highest: float | None = None,
    budget: str = "10m",
    workers: int | None = None,
    lag_limit: str = "10ms",
    source: tuple[str, ...] = (),
    profile: str | None = None,
    ca: Path | None = None,
    token: str | None = None,
    server_pid: int | None = None,
    server_metrics: str | None = None,
    server_metric: tuple[str, ...] = (),
    metrics_port: int | None = None,
    start_at: str | None = None,
    shard: str | None = None,
    report_dir: Path | None = None,
    junit: Path | None = None,
    json: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    seed: int | None = None,
    config: Path | None = None,
) -> int:
    """Put load on a WebSocket server: exit code 0 pass, 1 fail, 2 the run proves nothing.

    Messages are sent when they are due, whatever the server does, and latency counts from then. Each is
    checked: lost, duplicated, reordered, corrupted. If the generator itself could not keep up, the run is
    invalid (2). Without a profile it finds out by a few harmless messages how the server is spoken to. Ctrl-C
    ends it early.

    Args:
        url: The server: ws://HOST:PORT/ or wss://HOST:PORT/.
        more_urls: Further addresses of the same server; clients take one each in turn.
        clients: Clients that send and get answers, or that listen where the server only speaks.
        listeners: Clients that listen to what --publishers send, or to the feed itself.
        publishers: Clients that send what listeners get.
        rate: Messages by the second, of all together: 5000 or 20k; or 100/client. Default: 1/client.
        duration: From the first message to the last: 30s, 15m, 12h.
        ramp: In what time the clients come, evenly. Default: 500 of them in a second.
        size: Bytes of the stamp that a message carries (at least 53).
        shape: How the rate goes: constant, ramp (from 0), wave (0 to the rate, twice), spike (a fifth of the
            rate, all of it in the middle fifth of the time).
        poisson: Messages come at random times with that rate.
        scenario: A scenario: a TOML or Python file, or the name of one that comes with the test kit. It says
            who comes and when, instead of the options above.
        scale_clients: So many times the clients of the scenario.
        scale_rate: So many times its messages by the second.
        scale_time: So many times its length.
        threshold: A bound that must hold (repeatable), such as 'latency.p99 < 5ms', 'lost == 0' or
            'each 10s: errors == 0 or stop'.
        fault: Something to break on purpose (repeatable): 'latency:latency=100 at 10s for 5s', written as the
            toxics of omega proxy are; or 'pause at 10s for 2s', which is done to --server-pid.
        find: Search for the highest rate at which this bound holds (repeatable): 'latency.p99 < 10ms'.
        stress: Raise the rate until the server breaks; say what broke first, and whether it recovers.
        soak: End with a verdict on growth of memory, descriptors and latency.
        vary: What --find and --stress raise: rate, or clients.
        step: How long each of their levels lasts.
        highest: Level that they do not exceed.
        budget: Time after which --find tries no further level.
        workers: Processes, at most one a core.
        lag_limit: How late the generator itself may be (99th percentile) before the run is invalid.
        source: Local address to connect from (repeatable), each in turn: beyond 28,000 connections.
        profile: How to speak to the server: omega, echo, coinbase, binance, kraken, or a TOML file.
        ca: PEM file of the authority to trust for wss.
        token: Token to show to the server. Better given as OMEGA_TOKEN: others can see a command line.
        server_pid: Process of the server on this machine, to watch its memory, CPU and descriptors.
        server_metrics: The server's Prometheus page, to watch the same.
        server_metric: A further metric of that page to watch (repeatable).
        metrics_port: Show the run to Prometheus on this port of 127.0.0.1; 0 picks a free one.
        start_at: When to start, UTC: 2026-01-31T12:00:00Z. For several machines.
        shard: Which part of the load this machine makes: 2/5. Then: omega report merge.
        report_dir: Write every kind of report into this directory.
        junit: Write a JUnit report to this file.
        json: Write the result as JSON to this file; - is standard output.
        seed: Makes what is random the same as in another run; the same on all shards.
        config: TOML file with a [load] table of options.
    """
    del config  # read while the options were gathered
    destinations = Destinations(directory=report_dir, junit=junit, json=json)
    try:
        destinations.check()
        parts = (0, 1) if shard is None else parse_shard(shard)
        if parts[1] > 1 and seed is None:
            raise PlanError("with --shard, every machine needs the same --seed")
        chosen = secrets.randbelow(2**32) if seed is None else seed
        fields: dict[str, Any] = {
            "seed": chosen,
            "sources": source,
            "token": token,
            "ca": None if ca is None else str(ca),
            "shard": parts[0],
            "shards": parts[1],
            "lag_limit_s": parse_duration(lag_limit),
            "start_at_utc_ns": None if start_at is None else parse_utc(start_at),
        }
        if workers is not None:
            fields["workers"] = workers
        for address in (url, *more_urls):
            Address.of(address)
        for text in threshold:
            parse_threshold(text)
        if stress and find:
            raise PlanError("--find and --stress: one after the other")
        faults = tuple(map(parse_fault, fault))
        if (stress or find) and faults:
            raise PlanError("--fault: a search and a stress test break nothing on purpose")
        if (stress or find) and parts[1] > 1:
            raise PlanError("--shard: a search and a stress test are made from one machine")
        if min(scale_clients, scale_rate, scale_time) <= 0:
            raise PlanError("a scale is above 0")
        levels = None
        if stress or find:
            levels = Levels(
                find=find,
                vary=vary,
                step_s=parse_duration(step),
                highest=highest,
                budget_s=parse_duration(budget),
            )
            levels.check()
        order = Order(
            urls=(url, *more_urls),
            scenario=scenario,
            wish=Wish(
                clients=clients,
                listeners=listeners,
                publishers=publishers,
                rate=None if rate is None else parse_rate(rate, publishers or clients),
                duration_s=parse_duration(duration),
                ramp_s=None if ramp is None else parse_duration(ramp),
                size=size,
                shape=shape,
                random=poisson,
            ),
            fields=fields,
            profile=None if profile is None else load_profile(profile),
            thresholds=threshold,
            faults=faults,
            view=ServerView(pid=server_pid, metrics_url=server_metrics, metric_names=server_metric),
            scale=(scale_clients, scale_rate, scale_time),
            soak=soak,
            levels=levels,
            metrics_port=metrics_port,
        )
        result = run(_load(order))
    except (PlanError, ScenarioError, ThresholdError, ProfileError, CertificateError, ReportError) as error:
        raise UsageError(f"{error}.") from None
    except LoadError as error:
        raise UsageError(f"{error}.") from None
    except ConnectFailed as error:
        raise UsageError(f"{url}: {error}.", "Is the server running, and is the URL right?") from None
    except (ValueError, OSError) as error:
        raise UsageError(f"{error}.") from None
    try:
        for path in write_reports(result, destinations):
            say(f"Report: {path}")
    except ReportError as error:
        raise UsageError(f"{error}.") from None
    return result.verdict.exit_code


@dataclass(frozen=True, kw_only=True)
class Order:
    """The options, read."""

    urls: tuple[str, ...]
    scenario: str | None
    wish: Wish
    fields: dict[str, Any]
    profile: Profile | None
    thresholds: tuple[str, ...]
    view: ServerView
    faults: tuple[FaultStep, ...]
    metrics_port: int | None
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Of the scenario: clients, rates, time."""
    soak: bool = False
    levels: Levels | None = None
    """A search or a stress test, instead of one run."""


async def _load(order: Order) -> RunResult:
    found = await _known(order)
    session = _session(order, found.profile)
    plan = session.plan
    screen = console()
    screen.print(f"Load on [bold cyan]{plan.urls[0]}[/]", soft_wrap=True)
    say(f"profile {plan.profile.name}, seed {plan.seed}")
    for group in plan.groups:
        say(f"  {group.clients} x {group.title}" + (f": {group.messages}" if group.messages else ""))
    if order.levels is not None:
        target = _facts(plan, found)
        again = _again(plan.seed)
        result = await try_levels(order.levels, plan, session.thresholds, session.view, target, again)
        show(result, screen)
        return result
    with LoadScreen(plan, console(wrap=True)) as live, _stoppable() as stop:
        session.on_window = live.seen
        session.on_metrics = lambda where: say(f"Prometheus: {where}")
        record = await session.carry_out(stop)
    if session.ended_by is not None:
        say(f"Ended early: {session.ended_by}.")
    for line in summary(plan, record.tally):
        say(line)
    _somebody_came(record)
    result = result_of(record, found)
    show(result, screen)
    return result


async def _known(order: Order) -> Probe:
    """The profile that was named, or one that is found out."""
    if order.profile is not None:
        return Probe(order.profile, (), ())
    ca = order.fields["ca"]
    target = Target(
        order.urls[0], Profile(name="unknown"), None, None if ca is None else Path(ca), order.fields["token"]
    )
    return await probe(target, seed=order.fields["seed"])


def _session(order: Order, profile: Profile) -> Session:
    if order.scenario is None:
        plan = planned(order.wish, order.urls, profile, **order.fields)
        thresholds, warm_up, soak = order.thresholds, 0.0, False
    else:
        clients, rate, time = order.scale
        scenario = load_scenario(order.scenario).scaled(clients=clients, rate=rate, time=time)
        plan = scenario.plan(order.urls, profile, **order.fields)
        thresholds = (*scenario.thresholds, *order.thresholds)
        warm_up, soak = scenario.warm_up_s, scenario.soak
    if order.faults:
        plan = msgspec.structs.replace(plan, faults=(*plan.faults, *order.faults))
    if order.soak:
        soak, warm_up = True, warm_up or WARM_UP * plan.duration_s
    plan.check()
    steps_here(plan, order.view.pid)
    return Session(
        plan=plan,
        thresholds=thresholds,
        view=order.view,
        warm_up_s=warm_up,
        soak=soak,
        metrics_port=order.metrics_port,
    )


def _somebody_came(record: LoadRecord) -> None:
    """A server that is not there at all is no server that failed."""
    total, detours = record.tally.total, record.tally.detours
    nobody = bool(total.errors) and all(kind.startswith("tcp:") for kind in total.errors)
    if detours:  # it is the proxy that connects
        nobody = all(cost.connections == cost.unreached > 0 for cost in detours)
    if not total.counts.connected and nobody:
        worst = max(total.errors, key=total.errors.__getitem__)
        raise UsageError(
            f"{record.plan.urls[0]}: no connection came about ({worst.removeprefix('tcp: ')}).",
            "Is the server running, and is the URL right?",
        )


def result_of(record: LoadRecord, found: Probe) -> RunResult:
    """The result of a run, for reports."""
    plan, tally = record.plan, record.tally
    command = _again(plan.seed)
    parts = result_parts(record, reproduce=command)
    return RunResult(
        target=_facts(plan, found),
        seed=plan.seed,
        started=format_utc(tally.started_utc_ns),
        duration_s=tally.duration_s,
        suites=(parts.suite,),
        histograms=parts.histograms,
        series=parts.series,
        fault_windows=parts.fault_windows,
        thresholds=parts.thresholds,
        invalid=parts.invalid,
        versions={
            "omega-btc-ai": __version__,
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        },
        command=command,
        load=record.to_builtins(),
    )


def _facts(plan: LoadPlan, found: Probe) -> TargetFacts:
    return TargetFacts(
        url=plan.urls[0],
        profile=plan.profile.name,
        server=found.server,
        facts=found.facts,
        limits=found.limits,
    )


def _again(seed: int) -> str:
    return shlex.join([command_line(), *_repeated(sys.argv[1:], seed)])


def _repeated(arguments: list[str], seed: int) -> list[str]:
    """The command line again, with its seed and without its token."""
    kept: list[str] = []
    skip = False
    for word in arguments:
        if skip:
            skip = False
        elif word == "--token":
            skip = True
        elif not word.startswith("--token="):
            kept.append(word)
    named = any(word == "--seed" or word.startswith("--seed=") for word in kept)
    return kept if named else [*kept, "--seed", str(seed)]


@contextmanager
def _stoppable() -> Iterator[asyncio.Event]:
    """Ctrl-C ends the run early, with what was seen; a second one ends the command."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def interrupted() -> None:
        if stop.is_set() and task is not None:
            task.cancel()
        else:
            say("Ending early; Ctrl-C again to leave at once.")
            stop.set()

    before = signal.getsignal(signal.SIGINT)
    loop.add_signal_handler(signal.SIGINT, interrupted)
    try:
        yield stop
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, before)
