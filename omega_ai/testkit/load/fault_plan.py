"""The faults of a plan: which there may be, what each may explain, what needs a proxy. Pure.

They are those of the experiments (``experiment.model.FaultStep``); times count from the start of the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from omega_ai.testkit.experiment.model import FaultStep
from omega_ai.testkit.faults import BadFault

RECOVERY_S: Final = 5.0
"""How long after a fault what goes wrong is laid to it, if nothing else is said."""
PROXIED_ACTS: Final = ("reset", "disable")
_NO_ACTS: Final = {
    "burst": "a load makes one by a shape of its messages, such as spike",
    "leave": "a group's field leave does that",
    "slow-handshakes": "only an experiment makes them (omega test --experiment)",
}
_NEED_A_START: Final = ("kill", "restart")
PROCESS_FAULTS: Final = ("pause", "starve", "descriptors", "memory", "reload", "kill-child", "slow-child")
_PROCESS_ENDS: Final = frozenset({"pause", "descriptors", "memory", "kill-child"})
"""Faults of a process by which connections may end, or not come about."""
DELIVERY: Final = frozenset({"lost", "duplicated", "reordered", "corrupted", "unexpected"})
WAITING: Final = ("timeout:", "backlog:")
"""Beginnings of errors that say that something took too long."""


def is_proxied(step: FaultStep) -> bool:
    """Whether it happens on the way, and so takes a fault proxy."""
    return step.network is not None or step.act in PROXIED_ACTS


def looks_inside(step: FaultStep) -> bool:
    """Whether it needs to see what TLS hides: TLS must end at the proxy."""
    fault = step.fault
    return fault is not None and (fault.level == "message" or fault.kind.startswith(("tls_", "ws_")))


def described(step: FaultStep) -> str:
    """What it is, in a few words."""
    if step.text:
        return step.text
    given = ", ".join(f"{name} {value}" for name, value in step.attributes.items())
    text = step.network or step.process or step.act or ""
    if given:
        text += f" ({given})"
    if step.network is not None:
        text += f", {step.stream}" if not (step.fault and step.fault.both) else ""
        text += f", {100 * step.toxicity:g}% of the connections" if step.toxicity < 1 else ""
    return text if step.process is None else f"{text}, the server's process"


def explains(step: FaultStep, kind: str) -> bool:
    """Whether a server that does nothing wrong may show ``kind`` in this fault, or while it recovers.

    ``kind`` is a count (``lost``, ``closed`` ...) or the text of an error.
    """
    fault = step.fault
    if kind in DELIVERY:
        return fault is not None and fault.loses
    if kind.startswith(WAITING):
        return step.process != "reload"
    if fault is not None:
        return fault.ends
    return step.act in PROXIED_ACTS or step.process in _PROCESS_ENDS


def fault_problems(steps: Sequence[FaultStep], duration_s: float) -> list[str]:
    """What is wrong with them, each with its place."""
    found = []
    names = [step.name for step in steps]
    for number, step in enumerate(steps, 1):
        place = f"[[fault]] {number} ({step.name})"
        if names.index(step.name) < number - 1:
            found.append(f"{place}: there are two of that name")
        found += [f"{place}: {text}" for text in _problems(step, duration_s)]
    return found


def _problems(step: FaultStep, duration_s: float) -> list[str]:
    kinds = [kind for kind in (step.network, step.process, step.act) if kind is not None]
    if not step.name.strip():
        return ["it has no name"]
    if len(kinds) != 1:
        return ["it needs one of network, process and act"]
    found = []
    try:
        step.fault  # noqa: B018 - making it is the check
    except BadFault as error:
        found.append(str(error))
    if step.process in _NEED_A_START:
        found.append(
            f"process {step.process!r} needs a server that can be started again, and of this one only the "
            "process is known; omega test --start COMMAND --experiment does it"
        )
    if step.act in _NO_ACTS:
        found.append(f"act {step.act!r} is for experiments; {_NO_ACTS[step.act]}")
    share, period = step.attributes.get("share", 0.25), step.attributes.get("period_ms", 100)
    if step.process in ("starve", "slow-child") and not (_is(share, 0, 1) and _is(period, 4, 60_001)):
        found.append("share is above 0 and below 1, period_ms from 5 to 60000")
    spare = step.attributes.get("spare", 0)
    if step.process in ("descriptors", "memory") and not _is(spare, -1, 1 << 50):
        found.append("spare is a number, 0 or more")
    if step.for_s <= 0:
        found.append("for: longer than nothing")
    if step.end_s > duration_s + 1e-6:
        found.append(f"it ends after the run, which lasts {duration_s:g} s")
    return found


def _is(value: object, above: float, below: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and above < value < below


def scaled(step: FaultStep, time: float) -> FaultStep:
    """At ``time`` times its times; what it does stays the same."""
    return msgspec.structs.replace(step, at_s=step.at_s * time, for_s=step.for_s * time)
