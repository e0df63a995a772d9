"""Faults: one a file, pure, and the same for real sockets (``proxy``) and virtual time (``simnet``).

``build("latency", {"latency": 100})`` makes one from what JSON, TOML or the command line says. ``model``
explains what a fault is, ``chain`` how a driver puts it to work.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from omega_ai.testkit.faults.latency import Latency
from omega_ai.testkit.faults.model import BadFault, Fault

_KNOWN: Final[tuple[type[Fault], ...]] = (Latency,)

FAULTS: Final[Mapping[str, type[Fault]]] = {fault.kind: fault for fault in _KNOWN}
"""Every fault by its name."""


def build(kind: str, attributes: Mapping[str, Any], *, strict: bool = True) -> Fault:
    """The fault ``kind`` with these attributes; those that are missing have their defaults.

    ``strict`` refuses attributes that the fault does not have; otherwise they are ignored, as Toxiproxy does.

    Raises:
        BadFault: no such fault or attribute, or a value out of bounds. The text says what there is.
    """
    fault = FAULTS.get(kind)
    if fault is None:
        raise BadFault(f"there is no fault {kind!r}: {_near(kind, FAULTS)}")
    if strict:
        for name in attributes:
            if name not in fault.__struct_fields__:
                raise BadFault(f"{kind} has no attribute {name!r}: {_near(name, fault.__struct_fields__)}")
    try:
        built = msgspec.convert(dict(attributes), fault)
    except msgspec.ValidationError as error:
        raise BadFault(f"{kind}: {error}") from None
    built.check()
    return built


def _near(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known) or 'none'}"
