"""Which outcomes are put to the proof a second time: those that a slow machine, ours, may have made.

Something wrong that came is wrong all the same, and is never asked for again. Something that did not come, or
came late, on a machine that was busy, must be missing twice.
"""

from __future__ import annotations

import os
from typing import Final

from omega_ai.testkit.case import Outcome
from omega_ai.testkit.result import Finding, Severity
from omega_ai.testkit.verdict import Verdict

TIMED: Final = frozenset({"late", "skew", "slow", "stale", "gap", "pong", "close", "open", "answer"})
"""Kinds of finding that say that something did not come, or not in time. A loss is one only if nothing later
came (``Finding.by_silence``)."""
BUSY_LAG_S: Final = 0.1
"""Held up for longer, the machine was busy ..."""
BUSY_LOAD: Final = 1.0
"""... or with more processes that want to run than this for each processor."""
TRIES: Final = 3
"""How often one case is put to the target at most."""
FEW: Final = 12
"""So many doubtful cases of a suite, or a quarter of it, may be chance; more is none, and not repeated."""


def is_busy(lag_s: float) -> bool:
    """Whether this machine had too much to do; ``lag_s``: how long our event loop was held up."""
    if lag_s >= BUSY_LAG_S:
        return True
    try:
        return os.getloadavg()[0] > BUSY_LOAD * (os.cpu_count() or 1)
    except OSError:  # not known here
        return False


def depends_on_time(outcome: Outcome) -> bool:
    """Whether it failed only for what did not come in time."""
    if outcome.by_silence:
        return True
    failures = [one for one in outcome.findings if one.severity is Severity.FAILURE]
    return bool(failures) and all(one.by_silence or one.kind in TIMED for one in failures)


def is_doubtful(outcome: Outcome, *, busy: bool) -> bool:
    """Whether it is worth another try: unknown, or a failure that a busy machine may have made."""
    if outcome.verdict is Verdict.UNKNOWN:
        return True
    return outcome.verdict is Verdict.FAIL and busy and depends_on_time(outcome)


def worth_repeating(doubtful: int, cases: int) -> bool:
    """Whether so few of a suite's cases are doubtful that it may be chance."""
    return doubtful <= max(FEW, cases // 4)


def unconfirmed(verdict: Verdict, finding: str) -> Finding:
    """What the report says of a first try that a second one did not confirm."""
    return Finding(
        kind="unconfirmed",
        text=f"{verdict} at first, while this machine was busy, and not again: {finding}",
        severity=Severity.WARNING if verdict is Verdict.FAIL else Severity.NOTE,
    )
