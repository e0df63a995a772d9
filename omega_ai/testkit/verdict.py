"""Three verdicts, and what may be concluded from several of them."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Verdict(StrEnum):
    """What a case, a suite or a run proved."""

    PASS = "pass"  # noqa: S105 - a verdict, no secret
    FAIL = "fail"
    UNKNOWN = "unknown"
    """Nothing was seen, or what was seen proves nothing: in flight at a close, too few messages, no time."""

    @property
    def exit_code(self) -> int:
        """What a command that ends with this verdict returns: 0 pass, 1 fail, 2 unknown."""
        return _EXIT_CODES[self]


_EXIT_CODES = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.UNKNOWN: 2}


def combine(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict on the whole: fail if any part failed; pass only if there is a part and every one passed.

    One proof of a fault stands whatever else stays open; one open question keeps the whole from passing; and
    of nothing at all nothing is proved.
    """
    seen = set(verdicts)
    if Verdict.FAIL in seen:
        return Verdict.FAIL
    if seen == {Verdict.PASS}:
        return Verdict.PASS
    return Verdict.UNKNOWN
