#!/usr/bin/env python3
"""Write the reference of toxics in docs/testkit/proxy.md from the faults; --check only compares."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

import msgspec

from omega_ai.testkit.faults import FAULTS, toxiproxy_knows
from omega_ai.testkit.faults.frame import FrameFault
from omega_ai.testkit.faults.model import Fault, OpeningFault

TARGET = Path(__file__).resolve().parents[1] / "docs" / "testkit" / "proxy.md"
MANY = 1e12  # a bound that says no more than that there is one
BEGIN, END = "<!-- toxics: made by make docs -->\n", "<!-- end of toxics -->\n"


def reference() -> str:
    """All toxics, by kind."""
    kinds: dict[str, list[type[Fault]]] = {
        "Toxiproxy's": [fault for fault in FAULTS.values() if toxiproxy_knows(fault.kind)],
        "Connections and bytes": [],
        "New connections": [],
        "WebSocket frames": [],
    }
    for fault in FAULTS.values():
        if issubclass(fault, FrameFault) or fault.kind.startswith("ws_"):
            kinds["WebSocket frames"].append(fault)
        elif issubclass(fault, OpeningFault):
            kinds["New connections"].append(fault)
        elif not toxiproxy_knows(fault.kind):
            kinds["Connections and bytes"].append(fault)
    text = []
    for title, faults in kinds.items():
        text.append(f"### {title}\n\n")
        if title == "WebSocket frames":
            text.append(f"{_prose(FrameFault)}\n\n")
        text += [_fault(fault) for fault in faults]
    return "".join(text)


def _fault(fault: type[Fault]) -> str:
    lines = [f"#### {fault.kind}\n\n{_prose(fault)}\n\n"]
    properties = _properties(fault)
    if properties:
        lines.append("| attribute | values | default |\n|---|---|---|\n")
        for name, schema in properties.items():
            lines.append(f"| `{name}` | {_values(schema)} | {_shown(schema.get('default'))} |\n")
        lines.append("\n")
    return "".join(lines)


def _prose(fault: type[Fault]) -> str:
    paragraphs = inspect.cleandoc(fault.__doc__ or "").replace("``", "`").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _properties(fault: type[Fault]) -> dict[str, dict[str, Any]]:
    definitions = msgspec.json.schema(fault)["$defs"]
    found: dict[str, dict[str, Any]] = definitions[fault.__name__]["properties"]
    return found


def _values(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    choices = schema.get("anyOf", [schema])
    kind = {"number": "number", "integer": "whole number", "boolean": "true or false", "string": "text"}
    types = {choice["type"] for choice in choices}
    name = kind["number" if "number" in types else choices[0]["type"]]
    low, high = choices[0].get("minimum"), choices[0].get("maximum")
    if high is None or high > MANY:
        return name
    return f"{name}, {low:,g} to {high:,.15g}"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return '""' if value == "" else f"{value}"


def document(old: str) -> str:
    """``old`` with the reference in its place."""
    before, _, rest = old.partition(BEGIN)
    return f"{before}{BEGIN}\n{reference()}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    old = TARGET.read_text(encoding="utf-8")
    made = document(old)
    if "--check" in sys.argv[1:]:
        sys.exit(old != made)
    TARGET.write_text(made, encoding="utf-8")
