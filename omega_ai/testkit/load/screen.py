"""A load run in a terminal: a live view while it goes on, and a summary at its end. On standard error."""

from __future__ import annotations

from types import TracebackType
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from omega_ai.core.histogram import Histogram
from omega_ai.testkit.load.fault_case import detour_texts, fault_text
from omega_ai.testkit.load.plan import LoadPlan
from omega_ai.testkit.load.tally import Tally, Window, add_window, empty_window, overlap

PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9, 100.0)
ERRORS: Final = 4
"""Kinds of error that the live view names."""


class LoadScreen:
    """Shows a run. ``with LoadScreen(plan) as screen``; give it each window."""

    def __init__(self, plan: LoadPlan, console: Console) -> None:
        self._plan, self._console = plan, console
        self._total = empty_window(0.0, 0.0)
        self._live = Live(self._view(None), console=console, transient=True, refresh_per_second=8)

    def __enter__(self) -> LoadScreen:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def seen(self, window: Window) -> None:
        """A window is over."""
        add_window(self._total, window)
        if self._console.is_terminal:
            self._live.update(self._view(window))

    def _view(self, window: Window | None) -> Group:
        plan = self._plan
        if window is None:
            return Group(Text("starting", "dim"))
        end = window.start_s + window.duration_s
        counts, length = window.counts, window.duration_s
        head = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=plan.duration_s, completed=min(end, plan.duration_s), width=30)
        phases = [p.name for p in plan.phases if p.start_s <= window.start_s < p.start_s + p.duration_s]
        phases += [f"fault {step.name}" for step in plan.faults if overlap(window, step.at_s, step.end_s)]
        head.add_row(bar, f"{end:.0f} of {plan.duration_s:.0f} s", ", ".join(phases))
        rows = [
            f"{window.open} open   {counts.sent / length:,.0f} sent/s of {counts.intended / length:,.0f} due"
            f"   {counts.received / length:,.0f} received/s",
            f"latency  {percentiles(window.latency)}",
        ]
        if window.age:
            rows.append(f"age      {percentiles(window.age)}")
        lag = window.send_lag.percentile(99) or 0
        rows.append(
            f"generator  {window.busiest_cpu:.0%} of a core at most, late by {lag / 1e6:.1f} ms (p99), "
            f"{window.rss_bytes / 1e6:.0f} MB"
        )
        wrong = troubles(self._total)
        trouble = Text("   ".join(wrong[:ERRORS]), "red") if wrong else Text("no errors", "dim")
        return Group(head, *(Text(row) for row in rows), trouble)


def percentiles(histogram: Histogram) -> str:
    """``p50 0.21  p90 0.30 ... ms``, or a dash of nothing."""
    if not histogram:
        return "-"
    parts = [
        f"{'max' if percent == 100 else f'p{percent:g}'} {(histogram.percentile(percent) or 0) / 1e6:.3f}"
        for percent in PERCENTILES
    ]
    return "  ".join(parts) + " ms"


def troubles(window: Window) -> list[str]:
    """What went wrong so far, the most frequent first."""
    counts = window.counts
    found = [
        (getattr(counts, name), f"{getattr(counts, name)} {name}")
        for name in ("duplicated", "reordered", "corrupted", "unexpected", "unknown", "unsent", "skipped")
        if getattr(counts, name)
    ]
    if counts.missing > 0:
        found.append((counts.missing, f"{counts.missing} missing"))
    found += [(times, f"{times} x {kind}") for kind, times in window.errors.items()]
    found += [(times, f"{times} closed with {code}") for code, times in window.closes.items()]
    return [text for _, text in sorted(found, key=lambda item: -item[0])]


def summary(plan: LoadPlan, tally: Tally) -> list[str]:
    """The run in a few lines: rates asked for and reached, times, what became of every message."""
    total, delivery = tally.total, tally.delivery()
    counts = total.counts
    lines = [
        f"connections  {counts.connected} of {counts.connects_intended}, at most "
        f"{sum(part.most_open for part in tally.parts)} at once; {counts.refused} refused, "
        f"{counts.dropped} lost" + (f", {counts.churned} closed by plan" if counts.churned else "")
    ]
    sending = _sending_seconds(plan)
    if counts.intended:
        lines.append(
            f"rate         {counts.intended / sending:,.1f}/s asked for, "
            f"{counts.sent / sending:,.1f}/s sent, {counts.received / sending:,.1f}/s received"
        )
    elif counts.received:
        lines.append(f"rate         {counts.received / max(tally.duration_s, 1e-9):,.1f}/s received")
    for name, histogram in (
        ("latency", total.latency),
        ("service", total.service),
        ("connect", total.connect),
        ("age", total.age),
    ):
        if histogram:
            lines.append(f"{name:<13}{percentiles(histogram)}")
    lines.append(
        f"messages     {delivery.delivered} of {delivery.due} delivered; {delivery.lost} lost, "
        f"{delivery.duplicated} duplicated, {delivery.reordered} reordered, {delivery.corrupted} corrupted, "
        f"{delivery.unexpected} unexpected, {delivery.unknown} unknown"
    )
    cpu = sum(part.cpu_s for part in tally.parts)
    lines.append(
        f"generator    {cpu:.2f} CPU s, sent late by {_p99(total.send_lag)}, read late by "
        f"{_p99(total.loop_lag)} (p99), {sum(part.rss_bytes for part in tally.parts) / 1e6:.0f} MB"
    )
    lines += [f"proxy        {text}" for text in detour_texts(tally)]
    lines += [f"fault        {fault.name}: {fault_text(plan, tally, fault)}" for fault in tally.faults]
    return lines


def _sending_seconds(plan: LoadPlan) -> float:
    """Seconds in which messages are due."""
    starts = [g.messages_start_s for g in plan.groups if g.messages is not None or g.think_s is not None]
    ends = [g.messages_end_s or plan.duration_s for g in plan.groups if g.messages is not None or g.think_s]
    return max(max(ends, default=plan.duration_s) - min(starts, default=0.0), 1e-9)


def _p99(histogram: Histogram) -> str:
    return f"{(histogram.percentile(99) or 0) / 1e6:.2f} ms"
