"""How a command ends, and the one error that a command raises to end with a sentence."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The contract of every command."""

    PASS = 0
    FAIL = 1
    UNKNOWN = 2
    """Nothing was seen, or what was seen proves nothing."""
    USAGE = 3
    """A bad option, a busy port, a missing file, no server: something to mend and try again."""
    INTERRUPTED = 130
    """Ctrl-C before there was a result; what shells expect of SIGINT."""


class UsageError(Exception):
    """The command cannot go on: ``str(error)`` says what is wrong, ``advice`` what to do, if it is known."""

    def __init__(self, problem: str, advice: str | None = None) -> None:
        super().__init__(problem)
        self.advice = advice
