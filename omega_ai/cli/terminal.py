"""Speaking to people: on standard error, in colour where there is a terminal, no line broken by us."""

from __future__ import annotations

import contextlib
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def console(*, wrap: bool = False) -> Console:
    """The console on standard error. Made anew, because tests and users redirect the stream.

    ``wrap`` breaks lines at the width of the terminal, for what is drawn rather than printed.
    """
    from rich.console import Console  # costs start-up time, and most commands print nothing with it

    return Console(stderr=True, highlight=False, soft_wrap=not wrap)


def say(text: str = "") -> None:
    """One line for a person; no markup, so that it may hold anything."""
    print(text, file=sys.stderr, flush=True)


def command_line() -> str:
    """How a person types our command here: ``omega`` if it is on the path, else where it lies."""
    beside = Path(sys.executable).with_name("omega")
    found = shutil.which("omega")
    if found is not None and Path(found).resolve() == beside.resolve():
        return "omega"
    with contextlib.suppress(ValueError):
        return str(beside.relative_to(Path.cwd()))
    return str(beside)


def complain(problem: str, advice: str | None = None) -> None:
    """What went wrong and what to do, for a command that ends now."""
    say(f"omega: {problem}")
    if advice:
        say(f"       {advice}")
