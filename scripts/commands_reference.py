#!/usr/bin/env python3
"""Write docs/commands.md from the commands themselves; with --check, only say whether it is up to date."""

from __future__ import annotations

import importlib
import inspect
import sys
import typing
from pathlib import Path

from cyclopts import Group, Parameter
from docstring_parser import parse

from omega_ai.cli.app import COMMANDS
from omega_ai.cli.configuration import CUSTOMARY, variable_of

TARGET = Path(__file__).resolve().parents[1] / "docs" / "commands.md"

HEAD = """\
# Commands

Made from the commands by `make docs`; what is written here is what they do.

Options are taken from the command line, then from the environment (`OMEGA_<NAME>`; several values are joined
by commas, and an empty one counts as not set), then from the command's table in the TOML file that `--config`
names, then from the variables that others use too, then from the default:

```toml
[serve]
port = 9000
venue = ["coinbase", "kraken"]
```

Text for people goes to standard error; standard output carries data alone.

| exit code | |
|---|---|
| 0 | pass |
| 1 | fail |
| 2 | unknown: nothing was seen, or what was seen proves nothing |
| 3 | usage or environment: a bad option, a busy port, a missing file, no server |
| 130 | interrupted before there was a result |
"""


def reference() -> str:
    """The whole document."""
    return HEAD + "".join(_command(name, summary) for name, summary in COMMANDS.items())


def _command(name: str, summary: str) -> str:
    function = getattr(importlib.import_module(f"omega_ai.cli.{name}"), name)
    documented = parse(function.__doc__)
    descriptions = {item.arg_name: " ".join((item.description or "").split()) for item in documented.params}
    text = [f"\n## omega {name}\n", f"{summary[0].upper()}{summary[1:]}.\n"]
    if documented.long_description:
        text.append(f"{documented.long_description}\n")
    hints = typing.get_type_hints(function, include_extras=True)
    groups: dict[str, list[str]] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == "config":
            continue  # the same everywhere, and told above
        extras = [
            item for item in getattr(hints[parameter.name], "__metadata__", ()) if isinstance(item, Parameter)
        ]
        row = _row(name, parameter, extras, descriptions[parameter.name])
        groups.setdefault(_group(extras), []).append(row)
    for group, rows in groups.items():
        if group:
            text.append(f"### {group}\n")
        text.append("| option | environment | default | |\n|---|---|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(text)


def _group(extras: list[Parameter]) -> str:
    for extra in extras:
        for group in extra.group or ():
            if isinstance(group, Group):
                return group.name
    return ""


def _row(command: str, parameter: inspect.Parameter, extras: list[Parameter], description: str) -> str:
    named = [name for extra in extras for name in extra.name or ()]
    option = named[0].lstrip("-") if named else parameter.name.replace("_", "-")
    shown = f"--{option}" if parameter.kind is parameter.KEYWORD_ONLY else option.upper()
    variable = f"`{variable_of(option)}`"
    if other := CUSTOMARY.get((command, option)):
        variable += f", `{other}`"
    default = parameter.default
    default_text = "" if default is None or default is False or default == () else f"`{default}`"
    return f"| `{shown}` | {variable} | {default_text} | {description} |"


if __name__ == "__main__":
    made = reference()
    if "--check" in sys.argv[1:]:
        sys.exit(TARGET.read_text(encoding="utf-8") != made)
    TARGET.write_text(made, encoding="utf-8")
