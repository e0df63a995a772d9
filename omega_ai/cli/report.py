"""``omega report``: compare two results of ``omega test``, or join those of several machines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from omega_ai.cli.exit_codes import ExitCode, UsageError
from omega_ai.cli.terminal import console, say
from omega_ai.testkit.report.comparing import Comparison, compare, merge
from omega_ai.testkit.report.writing import Destinations, ReportError, write_reports
from omega_ai.testkit.result import ResultError, RunResult

MAX_RESULT_BYTES = 512 << 20


def report(
    action: Literal["compare", "merge", "show"],
    *results: Path,
    report_dir: Path | None = None,
    junit: Path | None = None,
    json: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    config: Path | None = None,
) -> int:
    """Say what became worse from one run to another; join the results of several machines; show one again.

    omega report compare BEFORE AFTER: exit code 1 if anything became worse beyond noise, 2 if nothing could
    be compared. omega report merge RESULT ...: one result of several, and its verdict. omega report show
    RESULT: one result again.

    Args:
        action: compare, merge or show.
        results: Files that omega test wrote with --json or --report-dir (result.json).
        report_dir: Write every kind of report of the joined or shown result into this directory.
        junit: Write its JUnit report to this file.
        json: Write it as JSON to this file; - is standard output.
        config: TOML file with a [report] table of options.
    """
    del config  # read while the options were gathered
    wanted = Destinations(directory=report_dir, junit=junit, json=json)
    try:
        wanted.check()
        read = [_read(path) for path in results]
        if action == "compare":
            if len(read) != 2:
                raise UsageError(f"compare takes two results, not {len(read)}.", _COMPARE)
            return _compare(*read)
        if action == "show" and len(read) != 1:
            raise UsageError(f"show takes one result, not {len(read)}.")
        joined = merge(read)
        _show(joined)
        for path in write_reports(joined, wanted):
            say(f"Report: {path}")
    except ReportError as error:
        raise UsageError(f"{error}.") from None
    except ValueError as error:
        raise UsageError(f"the results cannot be joined: {error}.") from None
    return joined.verdict.exit_code


_COMPARE = "Example: omega report compare before/result.json after/result.json"


def _read(path: Path) -> RunResult:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_RESULT_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    if len(data) > MAX_RESULT_BYTES:
        raise UsageError(f"{path} is larger than {MAX_RESULT_BYTES} bytes, so no result.")
    try:
        return RunResult.from_json(data)
    except ResultError as error:
        raise UsageError(f"{path}: {error}.", "Results are written by: omega test --json FILE") from None


def _compare(before: RunResult, after: RunResult) -> ExitCode:
    if before.target.url != after.target.url:
        say(f"Note: they are of different targets, {before.target.url} and {after.target.url}.")
    comparison = compare(before, after)
    _print_changes(comparison)
    return ExitCode(comparison.verdict.exit_code)


def _print_changes(comparison: Comparison) -> None:
    screen = console()
    names = {1: ("worse", "bold red"), -1: ("better", "green"), 0: ("other", "dim")}
    for change in comparison.changes:
        label, style = names[change.weight]
        screen.print(f"{label:<7}", style=style, end="")
        screen.print(f"{change.what}: {change.before} -> {change.after}", markup=False)
    worse = sum(change.weight > 0 for change in comparison.changes)
    better = sum(change.weight < 0 for change in comparison.changes)
    say(f"{comparison.compared} compared: {worse} worse, {better} better beyond noise.")


def _show(result: RunResult) -> None:
    from omega_ai.testkit.report.terminal import show

    show(result, console(wrap=True))
