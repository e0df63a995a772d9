#!/usr/bin/env python3
"""Write docs/commands.md from the commands themselves; with --check, only say whether it is up to date."""

from __future__ import annotations

import sys
from pathlib import Path

from cyclopts import Group
from docstring_parser import parse

from omega_ai.cli.app import COMMANDS
from omega_ai.cli.configuration import CUSTOMARY, variable_of
from omega_ai.cli.options import Option, function_of, options_of

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
    documented = parse(function_of(name).__doc__ or "")
    descriptions = {item.arg_name: " ".join((item.description or "").split()) for item in documented.params}
    text = [f"\n## omega {name}\n", f"{summary[0].upper()}{summary[1:]}.\n"]
    if documented.long_description:
        text.append(f"{documented.long_description}\n")
    groups: dict[str, list[str]] = {}
    for option in options_of(name):
        if option.name == "config":
            continue  # the same everywhere, and told above
        row = _row(name, option, descriptions[option.parameter.name])
        groups.setdefault(_group(option), []).append(row)
    for group, rows in groups.items():
        if group:
            text.append(f"### {group}\n")
        text.append("| option | environment | default | |\n|---|---|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(text)


def _group(option: Option) -> str:
    for extra in option.extras:
        for group in extra.group or ():
            if isinstance(group, Group):
                return group.name
    return ""


def _row(command: str, option: Option, description: str) -> str:
    keyword = option.parameter.kind is option.parameter.KEYWORD_ONLY
    shown = f"--{option.name}" if keyword else option.name.upper()
    variable = f"`{variable_of(option.name)}`"
    if other := CUSTOMARY.get((command, option.name)):
        variable += f", `{other}`"
    default = option.parameter.default
    default_text = "" if default is None or default is False or default == () else f"`{default}`"
    return f"| `{shown}` | {variable} | {default_text} | {description} |"


if __name__ == "__main__":
    made = reference()
    if "--check" in sys.argv[1:]:
        sys.exit(TARGET.read_text(encoding="utf-8") != made)
    TARGET.write_text(made, encoding="utf-8")
