"""Both judges over servers that differ: ``python -m omega_ai.tests.conformance.compare``.

Every defect that Autobahn finds must be found by a case of ours that looks at the same, or be explained.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from omega_ai.testkit.profile import load_profile
from omega_ai.testkit.result import CaseResult, RunResult
from omega_ai.testkit.runner import Runner
from omega_ai.testkit.suites import load_suite
from omega_ai.testkit.target import Target
from omega_ai.testkit.verdict import Verdict
from omega_ai.tests.conformance.autobahn import ENVIRONMENT, FAIL, PASS, NoJudge, _read, _start, wstest
from omega_ai.tests.conformance.contenders.start import CONTENDERS, Unavailable, contender
from omega_ai.tests.conformance.mapping import ours_for, reason_for, without_counterpart
from omega_ai.tests.conformance.table import Results

CASES = "1.*,2.*,3.*,4.*,5.*,6.*,7.*,9.*,10.*"
"""Groups 12 and 13 take some minutes a server; name them with ``--cases``."""
GOOD, LOOSE, BAD = 0, 1, 2
_GOOD = ("OK", "INFORMATIONAL")


@dataclass(frozen=True, slots=True)
class Difference:
    """A finding of Autobahn's, and what ours says of the same thing."""

    contender: str
    case: str
    told: str
    ours: tuple[str, ...]
    """Our cases that found it."""
    reason: str | None

    @property
    def found(self) -> bool:
        """Whether ours found it."""
        return bool(self.ours)


def level(behavior: str, close: str) -> int:
    """How bad Autobahn's verdict is."""
    if behavior in _GOOD and close in _GOOD:
        return GOOD
    return LOOSE if behavior == "NON-STRICT" and close in _GOOD else BAD


def our_level(case: CaseResult) -> int:
    """How bad ours is."""
    if case.verdict is Verdict.FAIL:
        return BAD
    return LOOSE if case.warnings else GOOD


def differences(name: str, theirs: Results, ours: RunResult) -> list[Difference]:
    """Everything that Autobahn found, in the order of its cases."""
    levels = {case.id.removeprefix("conformance."): our_level(case) for case in ours.cases}
    found = []
    for case, (behavior, close) in sorted(theirs.items(), key=lambda item: _order(item[0])):
        wanted = level(behavior, close)
        if wanted == GOOD:
            continue
        patterns = ours_for(case)
        same = [
            our
            for our, severity in levels.items()
            if severity >= wanted and any(fnmatch(our, pattern) for pattern in patterns)
        ]
        reason = None if same else reason_for(case, behavior, close)
        found.append(Difference(name, case, f"{behavior}/{close}", tuple(same), reason))
    return found


def _order(case: str) -> list[int]:
    return [int(part) for part in case.split(".")]


async def measure(
    name: str, program: Path, cases: Sequence[str], directory: Path
) -> tuple[Results, RunResult]:
    """Put one server before both judges."""
    async with contender(name) as url:
        runner = Runner(Target(url, load_profile("echo")), seed=1)
        ours = await runner.run([load_suite("conformance")])
        home = directory / name
        home.mkdir(parents=True, exist_ok=True)
        spec = {
            "outdir": str(home),
            "servers": [{"agent": "server", "url": url}],
            "cases": list(cases),
            "exclude-cases": [],
            "exclude-agent-cases": {},
        }
        process = await _start(program, "fuzzingclient", spec, home)
        await process.wait()
    theirs = _read(home)
    (directory / f"{name}.autobahn.json").write_text(json.dumps(theirs))
    (directory / f"{name}.ours.json").write_bytes(ours.to_json())
    return theirs, ours


def read(name: str, directory: Path) -> tuple[Results, RunResult]:
    """What ``measure`` left in an earlier run."""
    theirs = json.loads((directory / f"{name}.autobahn.json").read_text())
    results = {case: (behavior, close) for case, (behavior, close) in theirs.items()}
    return results, RunResult.from_json((directory / f"{name}.ours.json").read_bytes())


def counts(theirs: Results, ours: RunResult) -> list[str]:
    """Cells of the table of servers."""
    them = Counter(level(*pair) for pair in theirs.values())
    us = Counter(our_level(case) for case in ours.cases if case.skipped is None)
    beyond = sum(
        our_level(case) == BAD and without_counterpart(case.id.removeprefix("conformance."))
        for case in ours.cases
    )
    skipped = sum(case.skipped is not None for case in ours.cases)
    cells = [len(theirs), them[BAD], them[LOOSE], len(ours.cases), us[BAD], us[LOOSE], skipped, beyond]
    return [*map(str, cells), f"{ours.duration_s:.0f} s"]


def table(results: dict[str, tuple[Results, RunResult]]) -> str:
    """Markdown: the servers, and every finding of Autobahn's with ours."""
    lines = [
        "| server | Autobahn's cases | failed | non-strict | our cases | failed | non-strict | skipped "
        "| failed where Autobahn does not look | our time |",
        "|---|" + "---:|" * 9,
    ]
    lines += [f"| {name} | {' | '.join(counts(*pair))} |" for name, pair in results.items()]
    lines += ["", "| server | Autobahn's case | its verdict | found by ours in |", "|---|---|---|---|"]
    for name, pair in results.items():
        lines += [_row(group) for group in _groups(differences(name, *pair))]
    return "\n".join(lines)


def _groups(found: list[Difference]) -> list[list[Difference]]:
    """Findings of one group of cases with one verdict are told in one row."""
    groups: dict[tuple[str, str, bool, str | None], list[Difference]] = {}
    for one in found:
        key = (".".join(one.case.split(".")[:2][:1]), one.told, one.found, one.reason)
        groups.setdefault(key, []).append(one)
    return list(groups.values())


def _row(group: list[Difference]) -> str:
    first = group[0]
    cases = " ".join(one.case for one in group[:12]) + (
        f" and {len(group) - 12} more" if len(group) > 12 else ""
    )
    if first.found:
        names = list(dict.fromkeys(name for one in group for name in one.ours[:2]))
        said = ", ".join(f"`{name}`" for name in names[:3]) + (
            f" and {len(names) - 3} more" if names[3:] else ""
        )
    else:
        said = f"not a defect: {first.reason}" if first.reason else "**not found**"
    return f"| {first.contender} | {cases} | {first.told} | {said} |"


def beyond(results: dict[str, tuple[Results, RunResult]]) -> str:
    """Markdown: what ours finds where Autobahn has no case."""
    lines = ["| server | failed |", "|---|---|"]
    for name, (_, ours) in results.items():
        names = [case.id.removeprefix("conformance.") for case in ours.cases if our_level(case) == BAD]
        names = [one for one in names if without_counterpart(one)]
        shown = ", ".join(f"`{one}`" for one in names[:24]) + (
            f" and {len(names) - 24} more" if names[24:] else ""
        )
        lines.append(f"| {name} | {shown or 'nothing'} |")
    return "\n".join(lines)


def write(path: Path, mark: str, text: str) -> None:
    """Put ``text`` between the marks of a Markdown file. Raises ``ValueError`` if it has none."""
    begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    page = path.read_text()
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"{path} has no place for it: put '{begin}' and '{end}' into it")
    path.write_text(pattern.sub(lambda _: f"{begin}\n\n{text}\n\n{end}", page))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables; 0 if every finding of Autobahn's is found by ours or explained."""
    parser = argparse.ArgumentParser(prog="python -m omega_ai.tests.conformance.compare", description=__doc__)
    parser.add_argument("--servers", default=",".join(CONTENDERS), help="names, separated by commas")
    parser.add_argument("--cases", default=CASES, help=f"Autobahn's cases (default: {CASES})")
    parser.add_argument("--keep", type=Path, help="directory for the results of both judges")
    parser.add_argument(
        "--reuse", action="store_true", help="take the results that --keep holds, measure nothing"
    )
    parser.add_argument("--table", type=Path, help="put the tables into this Markdown file")
    options = parser.parse_args(arguments)
    results: dict[str, tuple[Results, RunResult]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        directory = (options.keep or Path(temporary)).resolve()
        directory.mkdir(parents=True, exist_ok=True)
        try:
            program = Path() if options.reuse else wstest()
            for name in options.servers.split(","):
                try:
                    results[name] = (
                        read(name, directory)
                        if options.reuse
                        else asyncio.run(measure(name, program, options.cases.split(","), directory))
                    )
                except Unavailable as reason:
                    print(f"{name} is left out: {reason}", file=sys.stderr)
        except NoJudge as error:
            print(f"skipped: {error}", file=sys.stderr)
            return ENVIRONMENT
    print(table(results), beyond(results), sep="\n\n")
    if options.table:
        write(options.table, "comparison", table(results))
        write(options.table, "beyond", beyond(results))
    everything = [one for name, pair in results.items() for one in differences(name, *pair)]
    missed = [one for one in everything if not one.found and one.reason is None]
    for one in missed:
        print(f"not found: {one.contender} {one.case} {one.told}", file=sys.stderr)
    return FAIL if missed or not results else PASS


if __name__ == "__main__":
    sys.exit(main())
