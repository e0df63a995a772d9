"""A scenario's TOML tables as the types of a plan; times as people write them, errors with their place."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from omega_ai.testkit.experiment.model import FaultStep
from omega_ai.testkit.load.plan import Group, Phase, Role

T = TypeVar("T")

_UNITS: Final = {"ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(ms|s|min|m|h|d)", re.ASCII)

TIMES: Final = {
    "": ("duration", "warm_up", "window", "grace", "recovery"),
    "group": (
        *("start", "ramp", "leave", "messages_start", "messages_end", "think", "answer_timeout"),
        *("reconnect", "read_pause"),
    ),
    "shape": ("over", "each", "at", "for", "period"),
    "phase": ("from", "to"),
    "fault": ("at", "for"),
}
"""Fields of each table that are lengths of time: in the types they end in ``_s``."""

SHAPES: Final = ("constant", "ramp", "steps", "spike", "wave", "points")
_PLAIN: Final = {"int": "a whole number", "float": "a number", "str": "a text", "bool": "true or false"}
_PLACE: Final = re.compile(r" - at `\$([^`]*)`$")


class ScenarioError(ValueError):
    """A scenario that cannot be used; ``str(error)`` names the file, the table and the field."""


def converted(document: Mapping[str, Any], kind: type[T]) -> T:
    """The document of a scenario as ``kind``, which is ``Scenario``.

    Raises:
        ScenarioError: a field that is missing, unknown or wrong.
    """
    fields = _times(document, "", "")
    fields["groups"] = [_group(table, f"[[group]] {number}") for number, table in _tables(fields, "group")]
    fields["phases"] = [_phase(table, f"[[phase]] {number}") for number, table in _tables(fields, "phase")]
    fields["faults"] = [_fault(table, f"[[fault]] {number}") for number, table in _tables(fields, "fault")]
    for name in ("group", "phase", "fault"):
        fields.pop(name, None)
    if "duration_s" not in fields:
        raise ScenarioError('duration is missing: how long is the run? Such as duration = "60s"')
    return _convert(fields, kind, "")


def _tables(fields: Mapping[str, Any], name: str) -> list[tuple[int, Mapping[str, Any]]]:
    tables = fields.get(name, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ScenarioError(f"{name}: write [[{name}]], with two brackets, before each")
    return list(enumerate(tables, 1))


def _group(table: Mapping[str, Any], place: str) -> Group:
    if isinstance(table.get("name"), str) and table["name"]:
        place += f" ({table['name']})"
    fields = _times(table, "group", place)
    for name in ("messages", "arrivals"):
        shape = fields.get(name)
        if isinstance(shape, (int, float)) and not isinstance(shape, bool):
            fields[name] = {"shape": "constant", "rate": shape}
        elif isinstance(shape, dict):
            fields[name] = _shape(shape, f"{place}, {name}")
    if isinstance(fields.get("reconnect_s"), bool):
        fields["reconnect_s"] = 1.0 if fields["reconnect_s"] else None
    return _convert(fields, Group, place)


def _shape(table: Mapping[str, Any], place: str) -> dict[str, Any]:
    fields = _times(table, "shape", place)
    points = fields.get("points")
    if isinstance(points, list):
        fields["points"] = [
            [seconds(point[0], f"{place}, points {number}"), *point[1:]]
            if isinstance(point, list) and point
            else point
            for number, point in enumerate(points, 1)
        ]
    return fields


def _phase(table: Mapping[str, Any], place: str) -> Phase:
    fields = _times(table, "phase", place)
    for name in ("from", "to", "name"):
        if name not in fields and f"{name}_s" not in fields:
            raise ScenarioError(f"{place}: {name} is missing")
    start = fields.pop("from_s")
    return _convert(
        {**fields, "start_s": start, "duration_s": fields.pop("to_s") - start}, Phase, place, ("to_s",)
    )


def _fault(table: Mapping[str, Any], place: str) -> FaultStep:
    if isinstance(table.get("name"), str) and table["name"]:
        place += f" ({table['name']})"
    return _convert(_times(table, "fault", place), FaultStep, place)


def _times(table: Mapping[str, Any], kind: str, place: str) -> dict[str, Any]:
    """The table with its lengths of time in seconds, under the names that the types have."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        if name in TIMES[kind] and not isinstance(value, bool):
            found[f"{name}_s"] = seconds(value, f"{place}, {name}".removeprefix(", "))
        elif name in TIMES[kind]:
            found[f"{name}_s"] = value  # reconnect = false
        elif name.endswith("_s") and name.removesuffix("_s") in TIMES[kind]:
            raise ScenarioError(f"{place}, {name}: write {name.removesuffix('_s')}".removeprefix(", "))
        else:
            found[name] = value
    return found


def seconds(value: object, place: str) -> float:
    """A length of time as people write it, or a number of seconds; ``place`` names it in errors.

    Raises:
        ScenarioError: it is none.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ScenarioError(
            f'{place}: {value!r} is no length of time; write seconds, or "90s", "15min", "2h"'
        )
    return float(match[1]) * _UNITS[match[2]]


def _convert(fields: Mapping[str, Any], kind: type[T], place: str, hidden: tuple[str, ...] = ()) -> T:
    unknown = [name for name in fields if name not in kind.__struct_encode_fields__ and name not in hidden]  # type: ignore[attr-defined]
    if unknown:
        raise ScenarioError(_unknown(unknown[0], kind, place))
    try:
        return msgspec.convert({name: fields[name] for name in fields if name not in hidden}, kind)
    except msgspec.ValidationError as error:
        raise ScenarioError(_placed(str(error), place)) from None


def _unknown(name: str, kind: type[Any], place: str) -> str:
    known = [_written(field) for field in kind.__struct_encode_fields__]
    near = difflib.get_close_matches(_written(name), known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    return f"{place}, {_written(name)}: there is no such field; {hint}".removeprefix(", ")


def _written(field: str) -> str:
    """As the file has it: ``duration`` for ``duration_s``, ``group`` for ``groups``."""
    return {"groups": "group", "phases": "phase", "faults": "fault"}.get(field, field.removesuffix("_s"))


def _placed(text: str, place: str) -> str:
    """What msgspec says, with the place as the file has it."""
    match = _PLACE.search(text)
    problem = _PLACE.sub("", text).replace("`", "'")
    problem = re.sub(r"'(\w+)_s'", r"'\1'", problem)
    inner = ""
    if match is not None:
        inner = ", ".join(
            _written(part) for part in match[1].replace("[", ".[").strip(".").split(".") if part
        )
    for word, plain in _PLAIN.items():
        problem = problem.replace(f"'{word}'", plain)
    if "enum value" in problem and not place.startswith("[[fault]]"):
        problem += f"; there are {', '.join(Role)}"
    elif inner.endswith("shape"):
        problem += f"; there are {', '.join(SHAPES)}"
    where = ", ".join(part for part in (place, inner) if part)
    return f"{where}: {problem[0].lower()}{problem[1:]}" if where else problem
