"""Reading a command's options, and reading them again while it runs."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

from cyclopts import App, CycloptsError, Group, Parameter

from omega_ai.cli.configuration import Configuration
from omega_ai.cli.exit_codes import UsageError

_under_way: ContextVar[tuple[str, tuple[str, ...]] | None] = ContextVar("command under way", default=None)


def run_command(command: str, arguments: Sequence[str]) -> object:
    """Run ``command``; returns what it returns.

    Raises:
        UsageError: an option is wrong.
    """
    app = _app(command)
    before = _under_way.set((command, tuple(arguments)))
    try:
        return app(arguments)
    except CycloptsError as error:
        raise _readable(error, command) from None
    finally:
        _under_way.reset(before)


def parse_again() -> Callable[[], dict[str, Any]] | None:
    """A function that reads the options of the command under way again, the file of ``--config`` included.

    It gives them by name, raises ``UsageError``, and may be called from any thread. None if the command was
    called as a function, without a command line.
    """
    given = _under_way.get()
    if given is None:
        return None
    command, arguments = given

    def parse() -> dict[str, Any]:
        try:
            _, bound, _ = _app(command).parse_args(arguments)
        except CycloptsError as error:
            raise _readable(error, command) from None
        bound.apply_defaults()
        return dict(bound.arguments)

    return parse


def _app(command: str) -> App:
    app = App(
        name=f"omega {command}",
        version_flags=[],
        group_commands=Group(show=False),  # its one entry is --help, which whoever reads this has found
        default_parameter=Parameter(negative_iterable=(), negative_bool="no-"),
        config=Configuration(command, os.environ),
        help_format="markdown",
        result_action="return_value",
        suppress_keyboard_interrupt=False,
        print_error=False,
        exit_on_error=False,
    )
    app.default(getattr(importlib.import_module(f"omega_ai.cli.{command}"), command))
    return app


def _readable(error: CycloptsError, command: str) -> UsageError:
    return UsageError(" ".join(str(error).split()), f"See: omega {command} --help")
