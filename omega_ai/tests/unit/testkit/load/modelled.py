"""A server that is a formula: ``run_load`` without sockets, for what is built on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from omega_ai.core.histogram import Histogram
from omega_ai.testkit.load.plan import LoadPlan
from omega_ai.testkit.load.shapes import curve
from omega_ai.testkit.load.tally import (
    Accounts,
    Counts,
    Delivery,
    Part,
    Tally,
    Window,
    add_window,
    empty_window,
)

MS = 1_000_000


@dataclass
class Modelled:
    """Answers ``capacity`` messages by the second in 1 ms; what is beyond waits in a queue.

    ``refuses_above`` and ``loses_above`` are rates above which it does that; ``keeps_queue`` is how much of
    its queue is still there when the load goes; ``generator`` is the rate that we can send.
    """

    capacity: float
    refuses_above: float = 1e12
    loses_above: float = 1e12
    keeps_queue: float = 0.0
    generator: float = 1e12
    levels: list[float] = field(default_factory=list)
    queue: float = 0.0

    async def __call__(
        self,
        plan: LoadPlan,
        *,
        on_window: Callable[[Window], None] | None = None,
        stop: asyncio.Event | None = None,
        server_pid: int | None = None,
    ) -> Tally:
        """See ``run_load``."""
        shapes = [group.messages for group in plan.groups if group.messages is not None]
        rate = sum(curve(shape).rate(0.0) for shape in shapes)
        self.levels.append(rate)
        self.queue *= self.keeps_queue
        windows = []
        due = lost = 0
        for second in range(round(plan.duration_s)):
            sent = min(rate, self.generator)
            self.queue = max(0.0, self.queue + sent - self.capacity)
            wait = round((1 + 1000 * self.queue / self.capacity) * MS)
            gone = round(sent * 0.01) if rate > self.loses_above else 0
            window = empty_window(float(second), 1.0)
            window.counts = Counts(
                intended=round(rate),
                sent=round(sent),
                skipped=round(rate - sent),
                received=round(sent) - gone,
                answered=round(sent) - gone,
                missing=gone,
                connects_intended=10,
                connected=10,
                refused=1 if rate > self.refuses_above else 0,
            )
            window.latency.record(wait, max(1, round(sent) - gone))
            window.send_lag = Histogram.of([1000] * 100)
            due += round(sent)
            lost += gone
            windows.append(window)
            if on_window is not None:
                on_window(window)
        total = empty_window(0.0, plan.duration_s)
        for window in windows:
            add_window(total, window)
        return Tally(
            started_utc_ns=0,
            duration_s=plan.duration_s,
            total=total,
            windows=windows,
            window_s=1.0,
            accounts=Accounts(echo=Delivery(due=due, delivered=due - lost, lost=lost)),
            offenders=[],
            parts=[
                Part(shard=0, worker=0, cpu_s=1.0, wall_s=1.0, rss_bytes=1, rss_idle_bytes=1, most_open=10)
            ],
        )
