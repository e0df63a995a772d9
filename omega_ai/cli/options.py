"""A command's options as its function declares them: for the reference, and to know a misspelt one."""

from __future__ import annotations

import importlib
import inspect
import typing
from collections.abc import Callable
from typing import Any, NamedTuple

from cyclopts import Parameter


class Option(NamedTuple):
    """One option: ``name`` without dashes as it is typed, ``extras`` what is said of it beside its type."""

    name: str
    parameter: inspect.Parameter
    extras: tuple[Parameter, ...]


def function_of(command: str) -> Callable[..., Any]:
    """The function that is the command."""
    found: Callable[..., Any] = getattr(importlib.import_module(f"omega_ai.cli.{command}"), command)
    return found


def options_of(command: str) -> list[Option]:
    """Every option of the command, in the order in which they are declared."""
    function = function_of(command)
    hints = typing.get_type_hints(function, include_extras=True)
    options: list[Option] = []
    for name, parameter in inspect.signature(function).parameters.items():
        said = getattr(hints[name], "__metadata__", ())
        extras = tuple(item for item in said if isinstance(item, Parameter))
        named = [given for extra in extras for given in extra.name or ()]
        shown = named[0].lstrip("-") if named else name.replace("_", "-")
        options.append(Option(shown, parameter, extras))
    return options
