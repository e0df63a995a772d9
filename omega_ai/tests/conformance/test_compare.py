"""The comparison with Autobahn, as far as it goes without running it."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import pytest

from omega_ai.testkit.conformance.suite import SUITE
from omega_ai.testkit.result import CaseResult, Finding, RunResult, Severity, SuiteResult, TargetFacts
from omega_ai.testkit.verdict import Verdict
from omega_ai.tests.conformance.compare import beyond, differences, main, table
from omega_ai.tests.conformance.mapping import MAPPING, ours_for
from omega_ai.tests.conformance.table import GROUPS, Results


def ours(**verdicts: str) -> RunResult:
    """A result of ours: names with ``_`` for ``-``, and ``fail``, ``loose`` or ``pass``."""
    warning = Finding(kind="non-strict", text="late", severity=Severity.WARNING)
    cases = tuple(
        CaseResult(
            id=f"conformance.{name.replace('_', '-')}",
            suite="conformance",
            title=name,
            expectation="",
            verdict=Verdict.FAIL if verdict == "fail" else Verdict.PASS,
            findings=(warning,) if verdict == "loose" else (),
        )
        for name, verdict in verdicts.items()
    )
    return RunResult(
        target=TargetFacts(url="ws://x/", profile="echo"),
        seed=1,
        started="",
        suites=(SuiteResult(name="conformance", cases=cases),),
    )


def test_a_defect_is_found_by_a_case_that_looks_at_the_same_thing_and_is_as_strict() -> None:
    """A case about something else finds nothing, and non-strict is not enough for a failure."""
    theirs: Results = {"3.1": ("FAILED", "FAILED"), "6.4.1": ("NON-STRICT", "OK"), "1.1.1": ("OK", "OK")}
    found = differences("x", theirs, ours(rsv_001_text="fail", utf8_early_ff_in_fragments="loose"))
    assert [(one.case, one.found) for one in found] == [("3.1", True), ("6.4.1", True)]
    missed = differences("x", theirs, ours(rsv_001_text="loose", rsv_010_text="fail"))
    assert [(one.case, one.found, one.reason) for one in missed] == [
        ("3.1", False, None),
        ("6.4.1", False, None),
    ]


def test_limits_are_explained_and_a_failure_elsewhere_is_not() -> None:
    """A reason is for one kind of case and verdict alone."""
    theirs: Results = {
        "9.3.1": ("FAILED", "FAILED"),
        "7.7.1": ("FAILED", "FAILED"),
        "6.5.1": ("OK", "UNCLEAN"),
    }
    reasons = {one.case: one.reason for one in differences("x", theirs, ours())}
    assert "limit" in (reasons["9.3.1"] or "")
    assert "second" in (reasons["6.5.1"] or "")
    assert reasons["7.7.1"] is None


def test_every_group_of_autobahn_has_cases_of_ours_and_every_pattern_finds_some() -> None:
    """A renamed case must not leave a hole in the comparison."""
    names = [case.id.removeprefix("conformance.") for case in SUITE]
    for theirs, patterns in MAPPING:
        for pattern in patterns:
            assert any(fnmatch(name, pattern) for name in names), (theirs, pattern)
    for group in GROUPS:
        assert ours_for(f"{group}.1") or ours_for(f"{group}.1.1"), group


def test_the_tables_name_what_was_found_by_which_case_and_what_was_not() -> None:
    """In Markdown."""
    theirs: Results = {"3.1": ("FAILED", "FAILED"), "7.7.1": ("FAILED", "FAILED")}
    results = {"x": (theirs, ours(rsv_001_text="fail", open_wrong_no_key="fail"))}
    text = table(results)
    assert "| x | 3.1 | FAILED/FAILED | `rsv-001-text` |" in text
    assert "| x | 7.7.1 | FAILED/FAILED | **not found** |" in text
    assert "| x | `open-wrong-no-key` |" in beyond(results)


def test_what_was_kept_is_compared_again_and_a_miss_is_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is measured with --reuse."""
    (tmp_path / "ws.autobahn.json").write_text('{"3.1": ["FAILED", "FAILED"]}')
    (tmp_path / "ws.ours.json").write_bytes(ours(rsv_001_text="fail").to_json())
    arguments = ["--reuse", "--keep", str(tmp_path), "--servers", "ws"]
    assert main(arguments) == 0
    (tmp_path / "ws.ours.json").write_bytes(ours(rsv_001_text="pass").to_json())
    assert main(arguments) == 1
    assert "not found: ws 3.1" in capsys.readouterr().err
