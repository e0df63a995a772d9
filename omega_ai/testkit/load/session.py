"""A load run with all that stands around it: the server watched, the bounds that end it, live metrics."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from omega_ai.core.clock import Clock, SystemClock
from omega_ai.testkit.load.engine import run_load
from omega_ai.testkit.load.live_metrics import LiveMetrics, MetricsServer
from omega_ai.testkit.load.measured import of_window
from omega_ai.testkit.load.plan import LoadPlan
from omega_ai.testkit.load.prometheus_side import PrometheusPage
from omega_ai.testkit.load.record import LoadRecord
from omega_ai.testkit.load.server_side import Source, process_source
from omega_ai.testkit.load.tally import Window, overlap
from omega_ai.testkit.load.thresholds import parse_threshold
from omega_ai.testkit.load.trial import RunLoad
from omega_ai.testkit.load.tripwire import Tripwire
from omega_ai.testkit.load.watching import Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerView:
    """How the server can be seen; without anything, it cannot."""

    pid: int | None = None
    metrics_url: str | None = None
    metric_names: tuple[str, ...] = ()
    """Further metrics of that page."""
    interval_s: float = 1.0

    def source(self) -> Source | None:
        """Where to read.

        Raises:
            ValueError: an address or a name that cannot be.
        """
        if self.pid is not None:
            return process_source(self.pid)
        return None if self.metrics_url is None else PrometheusPage(self.metrics_url, self.metric_names)


@dataclass(slots=True)
class Session:
    """One run. ``carry_out`` does it."""

    plan: LoadPlan
    thresholds: Sequence[str] = ()
    view: ServerView = field(default_factory=ServerView)
    warm_up_s: float = 0.0
    soak: bool = False
    metrics_port: int | None = None
    """Port of the page for Prometheus on 127.0.0.1; 0 picks a free one."""
    on_window: Callable[[Window], None] = lambda _: None
    on_metrics: Callable[[str], None] = lambda _: None
    """Told where the page is."""
    clock: Clock = field(default_factory=SystemClock)
    run: RunLoad = run_load
    ended_by: str | None = None
    """Which threshold ended the run, and what was observed."""

    async def carry_out(self, stop: asyncio.Event | None = None) -> LoadRecord:
        """Run it; what was seen.

        Raises:
            PlanError, LoadError: see ``run_load``.
            ThresholdError: a threshold cannot be read.
            OSError: the port is taken.
            ValueError: the server's metrics page cannot be that.
        """
        stop = asyncio.Event() if stop is None else stop
        wire = Tripwire(map(parse_threshold, self.thresholds))
        source = self.view.source()
        metrics = LiveMetrics()
        with contextlib.ExitStack() as stack:
            if self.metrics_port is not None:
                self.on_metrics(stack.enter_context(MetricsServer(metrics, self.metrics_port)).url)
            if source is None:
                return await self._run(wire, metrics, None, stop)
            async with Watch(source, clock=self.clock, interval_s=self.view.interval_s) as watch:
                return await self._run(wire, metrics, watch, stop)

    async def _run(
        self, wire: Tripwire, metrics: LiveMetrics, watch: Watch | None, stop: asyncio.Event
    ) -> LoadRecord:
        def seen(window: Window) -> None:
            metrics.add(window, None if watch is None else watch.latest)
            if wire and self.ended_by is None:
                series = () if watch is None else watch.series()
                measured = of_window(window, series=series)
                reason = wire.add(measured, self._phase(window), self._faults(window))
                if reason is not None:
                    self.ended_by = reason
                    stop.set()
            self.on_window(window)

        tally = await self.run(self.plan, on_window=seen, stop=stop, server_pid=self.view.pid)
        return LoadRecord.of(
            self.plan,
            tally,
            thresholds=tuple(self.thresholds),
            series=() if watch is None else watch.series(tally.started_utc_ns),
            absent=_UNSEEN if watch is None else watch.absent,
            warm_up_s=self.warm_up_s,
            soak=self.soak,
        )

    def _phase(self, window: Window) -> str | None:
        middle = window.start_s + window.duration_s / 2
        for phase in self.plan.phases:
            if phase.start_s <= middle < phase.start_s + phase.duration_s:
                return phase.name
        return None

    def _faults(self, window: Window) -> list[str]:
        return [step.name for step in self.plan.faults if overlap(window, step.at_s, step.end_s)]


_UNSEEN = dict.fromkeys(
    ("rss", "pss", "cpu", "descriptors", "threads", "switches"),
    "nothing says where the server is: --server-pid or --server-metrics",
)
