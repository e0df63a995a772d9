"""What a busy machine excuses, and what it does not."""

from __future__ import annotations

import pytest

from omega_ai.testkit.case import failed
from omega_ai.testkit.doubt import depends_on_time, is_doubtful
from omega_ai.testkit.result import Finding, Severity


def finding(kind: str, *, by_silence: bool = False, severity: Severity = Severity.FAILURE) -> Finding:
    return Finding(kind=kind, text=kind, by_silence=by_silence, severity=severity)


@pytest.mark.parametrize(
    ("findings", "excused"),
    [
        ([finding("late")], True),
        ([finding("lost", by_silence=True)], True),
        ([finding("lost")], False),
        ([finding("late"), finding("lost")], False),
        ([finding("late"), finding("duplicated")], False),
        ([finding("late"), finding("duplicated", severity=Severity.WARNING)], True),
        ([], False),
    ],
)
def test_only_what_did_not_come_in_time_is_asked_for_again(findings: list[Finding], excused: bool) -> None:
    """A loss that something later overtook is wrong however busy the machine is."""
    outcome = failed("wrong", findings=findings)
    assert depends_on_time(outcome) is excused
    assert is_doubtful(outcome, busy=True) is excused
    assert not is_doubtful(outcome, busy=False)
