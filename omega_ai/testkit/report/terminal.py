"""The run on a terminal: what is being done, each verdict as it falls, and at the end what to do about it.

Everything goes to standard error. Where that is no terminal there is no live line, only the verdicts.
"""

from __future__ import annotations

from types import TracebackType
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from omega_ai.testkit.case import Case
from omega_ai.testkit.result import CaseResult, Finding, RunResult, Severity, SuiteResult, ThresholdResult
from omega_ai.testkit.target import Target
from omega_ai.testkit.verdict import Verdict

_STYLES: Final = {Verdict.PASS: "green", Verdict.FAIL: "bold red", Verdict.UNKNOWN: "yellow"}
_LABELS: Final = {Verdict.PASS: "pass", Verdict.FAIL: "FAIL", Verdict.UNKNOWN: "unknown"}
_WIDTH: Final = 8
LISTED: Final = 60
"""Of a suite with more cases, only those that do not pass are listed."""
NAMED: Final = 8
"""Cases that are named of those skipped for one reason."""


class Screen:
    """Shows a run. ``with Screen(...) as screen``; an ``Observer``."""

    def __init__(self, target: Target, seed: int, console: Console | None = None) -> None:
        self.console = Console(stderr=True, highlight=False) if console is None else console
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[doing]}"),
            console=self.console,
        )
        self._live = Live(self._progress, console=self.console, transient=True, refresh_per_second=8)
        self._task: TaskID | None = None
        self._brief = False
        self._target = target
        self._seed = seed

    def __enter__(self) -> Screen:
        target = self._target
        server = f"  ({printable(target.server)})" if target.server else ""
        self._print(Text.assemble(("Testing ", "bold"), (target.url, "bold cyan"), server))
        self._print(Text(f"profile {target.profile.name}, seed {self._seed}", style="dim"))
        for fact in target.facts:
            self._print(Text(f"  It {printable(fact)}.", style="dim"))
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.console.is_terminal:
            self._live.stop()

    # Observer

    def suite_started(self, name: str, cases: int) -> None:
        """See ``Observer``."""
        self._brief = cases > LISTED
        if self._brief:
            self._print(
                Text(f"  {name}: {cases} cases, of which only those that do not pass are listed", "dim")
            )
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(name, total=cases, doing="")

    def case_progressed(self, case: Case, text: str, share: float | None) -> None:
        """See ``Observer``."""
        if self._task is not None:
            done = "" if share is None else f" {share:.0%}"
            self._progress.update(self._task, doing=f"{case.id.partition('.')[2]}: {text}{done}")

    def case_ended(self, result: CaseResult) -> None:
        """See ``Observer``."""
        if self._task is not None:
            self._progress.update(self._task, advance=1, doing="")
        if not self._brief or (result.skipped is None and result.verdict is not Verdict.PASS):
            self._print(case_line(result))

    # After the run

    def summary(self, result: RunResult) -> None:
        """What came out, what is wrong and what to do."""
        show(result, self.console)

    def _print(self, what: RenderableType) -> None:
        self.console.print(what, soft_wrap=True)


def show(result: RunResult, console: Console) -> None:
    """The end of a run: what is wrong and how to see it again, what was not checked, the verdict."""

    def print_(what: RenderableType) -> None:
        console.print(what, soft_wrap=True)

    for case in result.cases:
        if case.skipped is None and (case.verdict is not Verdict.PASS or case.warnings):
            print_(case_details(case))
    skipped = [case for case in result.cases if case.skipped is not None]
    if skipped:
        print_(_skipped(skipped))
    for limit in result.target.limits:
        print_(Text(f"Not checked: {limit}.", style="dim"))
    for threshold in result.thresholds:
        print_(threshold_line(threshold))
    for reason in result.invalid:
        print_(Text(f"Invalid: {reason}.", style="yellow"))
    print_(_table(result))
    verdict = result.verdict
    print_(
        Text.assemble(
            ("Verdict: ", "bold"),
            (_LABELS[verdict], _STYLES[verdict]),
            (f"   in {result.duration_s:.1f} s, seed {result.seed}", "dim"),
        )
    )


def case_line(result: CaseResult) -> Text:
    """One case in one line."""
    if result.skipped is not None:
        return Text(f"  {'skip':<{_WIDTH}}{result.id}: {result.title}", style="dim")
    style = _STYLES[result.verdict]
    line = Text.assemble(
        "  ", (f"{_LABELS[result.verdict]:<{_WIDTH}}", style), f"{result.id}: {result.title}"
    )
    line.append(f"  ({printable(result.finding)})", style="dim" if result.verdict is Verdict.PASS else style)
    return line


def threshold_line(result: ThresholdResult) -> Text:
    """One bound in one line: whether it held, and what was observed."""
    where = "" if result.where == "run" else f" ({result.where})"
    return Text.assemble(
        "  ",
        (f"{_LABELS[result.verdict]:<{_WIDTH}}", _STYLES[result.verdict]),
        printable(f"{result.expression}: {result.observed}{where}"),
    )


def printable(text: str) -> str:
    """Without control characters: what a server says must not steer the terminal."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def case_details(result: CaseResult) -> Group:
    """What is wrong in one case, and how to see it again."""
    style = _STYLES[result.verdict]
    lines: list[Text | Padding] = [
        Text(),
        Text.assemble(
            (f"{_LABELS[result.verdict]:<{_WIDTH}}", style), (f"{result.id}: {result.title}", "bold")
        ),
    ]
    rows = [("expected", result.expectation), ("seen", result.finding), ("by", result.spec)]
    for label, text in rows:
        if text:
            lines.append(Text.assemble(f"  {label:<9} ", printable(text)))
    lines += [_finding(finding) for finding in result.findings[:5]]
    if len(result.findings) > 5:
        lines.append(Text(f"            and {len(result.findings) - 5} more findings, in the report"))
    if result.reproduce:
        lines.append(Text(f"  again     {result.reproduce}", style="cyan"))
    if result.reproducer is not None:
        name, text = result.reproducer
        lines.append(Text(f"  as a test, to be saved as {name}:", style="cyan"))
        lines.append(Padding(Text(text.rstrip()), (1, 0, 0, 4)))
    return Group(*lines)


def _finding(finding: Finding) -> Text:
    colour = {Severity.FAILURE: "red", Severity.UNKNOWN: "yellow", Severity.WARNING: "yellow"}
    text = f"            {finding.severity.value}: {printable(finding.text)}"
    if finding.fault is not None:
        text += f" (during the fault {finding.fault})"
    return Text(text, style=colour.get(finding.severity, ""))


def _skipped(skipped: list[CaseResult]) -> Group:
    by_reason: dict[str, list[str]] = {}
    for case in skipped:
        by_reason.setdefault(case.skipped or "", []).append(case.id)
    return Group(
        Text(),
        *(
            Text(f"Skipped, because {printable(reason)}: {_names(ids)}", style="dim")
            for reason, ids in by_reason.items()
        ),
    )


def _names(ids: list[str]) -> str:
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return ", ".join(ids[:NAMED]) + more


def _table(result: RunResult) -> Padding:
    table = Table(box=None, pad_edge=False)
    for name in ("suite", "pass", "fail", "unknown", "skipped", "time"):
        table.add_column(name, justify="left" if name == "suite" else "right")
    for suite in result.suites:
        count = _counts(suite)
        table.add_row(
            suite.name,
            str(count[Verdict.PASS]),
            Text(str(count[Verdict.FAIL]), style="bold red" if count[Verdict.FAIL] else ""),
            Text(str(count[Verdict.UNKNOWN]), style="yellow" if count[Verdict.UNKNOWN] else ""),
            str(sum(case.skipped is not None for case in suite.cases)),
            f"{suite.duration_s:.1f} s",
        )
    return Padding(table, (1, 0))


def _counts(suite: SuiteResult) -> dict[Verdict, int]:
    put = [case.verdict for case in suite.cases if case.skipped is None]
    return {verdict: put.count(verdict) for verdict in Verdict}
