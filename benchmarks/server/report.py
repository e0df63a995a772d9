"""Results as tables on the terminal, as Markdown and as JSON."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.server.results import Goal, Result, Spread


def machine() -> dict[str, str]:
    """What the figures were taken on."""
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    return {
        "cpu": cpu.group(1).strip() if cpu else platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": f"{int(memory.group(1)) / 2**20:.0f} GiB" if memory else "unknown",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def figure(spread: Spread | None, digits: int) -> str:
    """``median (low-high)``; a dash for nothing."""
    if spread is None:
        return "-"
    median, low, high = (f"{value:,.{digits}f}" for value in spread)
    return median if low == high else f"{median} ({low}-{high})"


def headings(result: Result) -> list[str]:
    """The heads of a result's table."""
    return ["", result.unit, "ratio", *(column.heading for column in result.columns)]


def lines(result: Result) -> Iterator[list[str]]:
    """A line for each contender: figures are medians, the main ones with their extremes."""
    for row, label in result.labels.items():
        if result.spread(row) is None and row in result.notes:
            yield [label, f"not measured: {result.notes[row]}", *([""] * (1 + len(result.columns)))]
            continue
        ratio = "1" if result.baselines.get(row) == row else figure(result.ratio(row), 2)
        others = []
        for column in result.columns:
            spread = result.spread(row, column.key)
            others.append("-" if spread is None else f"{spread.median:,.{column.digits}f}")
        yield [label, figure(result.spread(row), result.digits), ratio, *others]


def judged(result: Result) -> Iterator[str]:
    """A sentence for each goal."""
    for goal, value, reached in result.verdicts():
        label = result.labels.get(goal.row, goal.row)
        yield f"{label}: {_bound(goal)}: {value:,.2f}, {'reached' if reached else 'MISSED'}"


def _bound(goal: Goal) -> str:
    what = "ratio" if goal.of == "ratio" else goal.of
    return f"goal {what} {'≤' if goal.better == 'lower' else '≥'} {goal.bound:g}"


def terminal_table(result: Result) -> Table:
    """For rich."""
    table = Table(title=f"{result.title}", caption="\n".join(judged(result)) or None, title_justify="left")
    for number, heading in enumerate(headings(result)):
        table.add_column(heading, justify="left" if number == 0 else "right", no_wrap=number == 0)
    for line in lines(result):
        table.add_row(*line, style="bold" if line[0].startswith("OMEGA") else None)
    return table


MEASURED = "<!-- The next section is written by python -m benchmarks.server --document. -->"


def put_into(document: str, report: str) -> str:
    """``document`` with ``report`` in place of the section that follows the line ``MEASURED``.

    Raises:
        ValueError: it has no such line.
    """
    text, mark, rest = document.partition(MEASURED)
    if not mark:
        raise ValueError(f"there is no line {MEASURED!r} in it")
    others = rest.split("\n## ")[2:]
    return "\n## ".join((f"{text}{MEASURED}\n\n{report}", *others))


def markdown(results: list[Result], facts: Mapping[str, Any]) -> str:
    """The whole report."""
    text = ["## Measured", ""]
    text += [f"- {name}: {value}" for name, value in facts["machine"].items()]
    text += [f"- {name}: {value}" for name, value in facts["versions"].items()]
    text += [f"- skipped, {name}: {reason}" for name, reason in facts["skipped"].items()]
    text += [f"- {facts['noise']}", f"- command: `{facts['command']}`", ""]
    for result in results:
        text += [f"### {result.title} (`{result.name}`)", "", result.about, ""]
        heads = headings(result)
        text += ["| " + " | ".join(heads) + " |", "|" + "---|" + "---:|" * (len(heads) - 1)]
        text += ["| " + " | ".join(line) + " |" for line in lines(result)]
        text += ["", *(f"{sentence}." for sentence in judged(result)), ""]
    return "\n".join(text).rstrip() + "\n"
