"""A fault in one line of text, as ``omega load --fault`` takes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from omega_ai.testkit.experiment.model import FaultStep
from omega_ai.testkit.load.fault_plan import PROCESS_FAULTS, PROXIED_ACTS
from omega_ai.testkit.load.scenario_table import ScenarioError, seconds
from omega_ai.testkit.proxy.configuration import BadConfiguration, parse_toxic

_TEXT: Final = re.compile(r"(\S.*?)(?:\s+at\s+(\S+))?\s+for\s+(\S+)")


def parse_fault(text: str) -> FaultStep:
    """A fault from one argument: ``latency:latency=100,jitter=20 at 10s for 5s``, ``pause at 10s for 2s``.

    The first word is as ``omega proxy --toxic`` takes it, or a fault of a process with its attributes, or
    ``reset`` or ``disable``. Its name is ``name=``, or its kind.

    Raises:
        ScenarioError: it is none.
    """
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise ScenarioError(
            f"{text[:80]!r} is no fault: write 'latency:latency=100 at 10s for 5s', 'pause at 10s for 2s'"
        )
    what, at, length = match[1], match[2] or "0s", match[3]
    when: dict[str, Any] = {"at_s": seconds(at, f"{text!r}, at"), "for_s": seconds(length, f"{text!r}, for")}
    kind, _, rest = what.partition(":")
    if kind in PROXIED_ACTS:
        return _step(text, {"name": kind, "act": kind, **when})
    if kind in (*PROCESS_FAULTS, "kill", "restart"):
        given = dict(part.partition("=")[::2] for part in rest.replace(";", ",").split(",") if part)
        name = given.pop("name", kind)
        return _step(text, {"name": name, "process": kind, "with": _numbers(given), **when})
    try:
        toxic = parse_toxic(what)
    except BadConfiguration as error:
        raise ScenarioError(str(error)) from None
    if toxic.window is not None:
        raise ScenarioError(f"{text!r}: when it happens is said by 'at' and 'for'")
    named = re.search(r"[:,;]name=([^,;]+)", what)
    return _step(
        text,
        {
            "name": named[1] if named else kind,
            "network": kind,
            "with": {
                name: value
                for name, value in msgspec.structs.asdict(toxic.fault).items()
                if re.search(rf"[:,;]{name}=", what)
            },
            "stream": toxic.stream,
            "toxicity": toxic.toxicity,
            **when,
        },
    )


def _numbers(given: Mapping[str, str]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in given.items():
        try:
            found[name] = float(value) if "." in value else int(value)
        except ValueError:
            raise ScenarioError(f"{name}={value}: not a number") from None
    return found


def _step(text: str, fields: dict[str, Any]) -> FaultStep:
    try:
        return msgspec.convert(fields, FaultStep)
    except msgspec.ValidationError as error:
        raise ScenarioError(f"{text!r}: {error}") from None
