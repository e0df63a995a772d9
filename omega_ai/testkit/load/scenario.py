"""Scenarios: what a load run is to be like, as a TOML file or a few lines of Python, without saying where.

    duration = "2min"
    thresholds = ["lost == 0", "phase rush: latency.p99 < 50ms"]

    [[group]]
    name = "desks"
    role = "listen"
    clients = 200
    ramp = "10s"

    [[group]]
    role = "publish"
    clients = 4
    messages = { shape = "spike", base = 20, peak = 200, at = "60s", for = "20s" }

    [[phase]]
    name = "rush"
    from = "60s"
    to = "80s"

    [[fault]]
    name = "bad line"
    network = "latency"
    with = { latency = 100 }
    at = "90s"
    for = "10s"

A Python file builds a ``Scenario`` and calls it ``scenario``. ``docs/testkit/scenarios.md`` lists all fields.
"""

from __future__ import annotations

import runpy
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from omega_ai.testkit.experiment.model import FaultStep
from omega_ai.testkit.load.fault_plan import RECOVERY_S, fault_problems, scaled
from omega_ai.testkit.load.plan import Group, LoadPlan, Phase, Role
from omega_ai.testkit.load.scenario_table import ScenarioError, converted
from omega_ai.testkit.load.shapes import Constant, Points, Ramp, Shape, Spike, Steps, Wave
from omega_ai.testkit.load.thresholds import Threshold, ThresholdError, parse_threshold
from omega_ai.testkit.profile import Profile

MAX_BYTES: Final = 1 << 20


class Scenario(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who comes when and does what, and which bounds are to hold. Times in seconds, rates per second."""

    groups: tuple[Group, ...]
    duration_s: float
    title: str = ""
    description: str = ""
    phases: tuple[Phase, ...] = ()
    faults: tuple[FaultStep, ...] = ()
    """What is broken on purpose, and when; in a file, ``[[fault]]``."""
    recovery_s: float = RECOVERY_S
    """How long after a fault what goes wrong is laid to it."""
    thresholds: tuple[str, ...] = ()
    warm_up_s: float = 0.0
    """What the verdict on growth leaves out."""
    soak: bool = False
    """Its end is a verdict on growth: of memory, descriptors and latency."""
    window_s: float = 1.0
    grace_s: float = 2.0
    workers: int = 1

    def parsed(self) -> list[Threshold]:
        """Its thresholds, read.

        Raises:
            ScenarioError: one cannot be read.
        """
        found = []
        for number, text in enumerate(self.thresholds, 1):
            try:
                found.append(parse_threshold(text))
            except ThresholdError as error:
                raise ScenarioError(f"thresholds, number {number}: {error}") from None
        return found

    def problems(self) -> list[str]:
        """What is wrong with it beyond the types of its fields, each with its place."""
        found = []
        if not self.groups:
            found.append("there is no [[group]]: who is to come?")
        if self.duration_s <= 0:
            found.append("duration: longer than nothing")
        if self.window_s <= 0:
            found.append("window: longer than nothing")
        for number, group in enumerate(self.groups, 1):
            place = f"[[group]] {number}" + (f" ({group.name})" if group.name else "")
            found += [f"{place}, {text}" for text in _group_problems(group, self.duration_s)]
        names = [phase.name for phase in self.phases]
        for number, phase in enumerate(self.phases, 1):
            place = f"[[phase]] {number} ({phase.name})"
            if phase.duration_s <= 0:
                found.append(f"{place}: it ends before it begins")
            elif phase.start_s + phase.duration_s > self.duration_s + 1e-6:
                found.append(f"{place}: it ends after the run, which lasts {self.duration_s:g} s")
            if names.index(phase.name) < number - 1:
                found.append(f"{place}: there are two of that name")
        found += fault_problems(self.faults, self.duration_s)
        if self.recovery_s < 0:
            found.append("recovery: not below 0")
        faults = [step.name for step in self.faults]
        for number, threshold in enumerate(self.parsed(), 1):
            for what, wanted, there in (
                ("phase", threshold.phase, names),
                ("fault", threshold.fault, faults),
            ):
                if wanted not in (None, "*", *there):
                    known = f"there are {', '.join(there)}" if there else "there is none"
                    found.append(f"thresholds, number {number}: no {what} {wanted!r}; {known}")
        return found

    def scaled(self, *, clients: float = 1.0, rate: float = 1.0, time: float = 1.0) -> Scenario:
        """With so many times the clients, the rates and the time; each group keeps at least one client.

        A rate is per second of the run, so twice the time at the same rate is twice the messages. What takes
        as long as it takes stays: a latency that a fault adds, and the time to recover from it.
        """
        return msgspec.structs.replace(
            self,
            duration_s=self.duration_s * time,
            warm_up_s=self.warm_up_s * time,
            groups=tuple(_scaled_group(group, clients, rate, time) for group in self.groups),
            phases=tuple(
                msgspec.structs.replace(
                    phase, start_s=phase.start_s * time, duration_s=phase.duration_s * time
                )
                for phase in self.phases
            ),
            faults=tuple(scaled(step, time) for step in self.faults),
        )

    def plan(self, urls: tuple[str, ...], profile: Profile, *, seed: int = 0, **more: Any) -> LoadPlan:
        """The plan of this scenario for a server; ``more`` are further fields of ``LoadPlan``.

        Raises:
            ScenarioError: it asks for what the profile does not know.
        """
        for number, group in enumerate(self.groups, 1):
            known = {
                Role.ECHO: profile.echo is not None,
                Role.PUBLISH: profile.publish is not None,
                Role.LISTEN: profile.publish is not None or profile.feed is not None,
            }[group.role]
            if not known:
                raise ScenarioError(
                    f"[[group]] {number} ({group.title}): the profile {profile.name} does not say how to "
                    f"{group.role.value}"
                )
        fields: dict[str, Any] = {
            "window_s": self.window_s,
            "grace_s": self.grace_s,
            "workers": self.workers,
            **more,
        }
        return LoadPlan(
            urls=urls,
            profile=profile,
            groups=self.groups,
            duration_s=self.duration_s,
            seed=seed,
            phases=self.phases,
            faults=self.faults,
            recovery_s=self.recovery_s,
            **fields,
        )


def _group_problems(group: Group, duration_s: float) -> list[str]:
    found = []
    if group.clients < 1:
        found.append("clients: at least 1")
    if group.role is Role.LISTEN and (group.messages is not None or group.think_s is not None):
        found.append("messages: who listens sends nothing")
    if group.role is Role.PUBLISH and group.messages is None:
        found.append("messages: how many are published by the second? Such as messages = 10")
    if group.role is Role.ECHO and group.messages is None and group.think_s is None:
        found.append('messages: how many are sent by the second? Such as messages = 10, or think = "1s"')
    if group.messages is not None and group.think_s is not None:
        found.append("think: either messages (by the second) or think (after each answer)")
    if group.start_s >= duration_s:
        found.append(f"start: after the end of the run, which lasts {duration_s:g} s")
    numbers = {
        "start": group.start_s,
        "ramp": group.ramp_s,
        "leave": group.leave_s,
        "size": group.size,
        "think": group.think_s,
        "churn": group.churn,
        "reconnect": group.reconnect_s,
        "read_pause": group.read_pause_s,
    }
    found += [f"{name}: not below 0" for name, value in numbers.items() if value is not None and value < 0]
    return found


def _scaled_group(group: Group, clients: float, rate: float, time: float) -> Group:
    def stretched(seconds: float | None) -> float | None:
        return None if seconds is None else seconds * time

    return msgspec.structs.replace(
        group,
        clients=max(1, round(group.clients * clients)),
        start_s=group.start_s * time,
        ramp_s=group.ramp_s * time,
        leave_s=stretched(group.leave_s),
        arrivals=None if group.arrivals is None else _scaled_shape(group.arrivals, clients / time, time),
        messages=None if group.messages is None else _scaled_shape(group.messages, rate, time),
        messages_start_s=group.messages_start_s * time,
        messages_end_s=stretched(group.messages_end_s),
        churn=group.churn * clients,
    )


def _scaled_shape(shape: Shape, rate: float, time: float) -> Shape:
    match shape:
        case Constant():
            return Constant(rate=shape.rate * rate)
        case Ramp():
            return Ramp(start=shape.start * rate, end=shape.end * rate, over_s=shape.over_s * time)
        case Steps():
            return Steps(rates=tuple(item * rate for item in shape.rates), each_s=shape.each_s * time)
        case Spike():
            return Spike(
                base=shape.base * rate,
                peak=shape.peak * rate,
                at_s=shape.at_s * time,
                for_s=shape.for_s * time,
            )
        case Wave():
            return Wave(
                mean=shape.mean * rate, amplitude=shape.amplitude * rate, period_s=shape.period_s * time
            )
        case Points():
            return Points(points=tuple((at * time, value * rate) for at, value in shape.points))


def builtin_scenarios() -> tuple[str, ...]:
    """Scenarios that come with the test kit."""
    folder = resources.files("omega_ai.testkit.load") / "scenarios"
    return tuple(
        sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))
    )


def load_scenario(name: str) -> Scenario:
    """The scenario ``name`` that comes with the test kit, or the one in the TOML or Python file ``name``.

    Raises:
        ScenarioError: neither, or the file is wrong; names file, table and field.
    """
    if name in builtin_scenarios():
        folder = resources.files("omega_ai.testkit.load") / "scenarios"
        return parse_scenario((folder / f"{name}.toml").read_text(encoding="utf-8"), name)
    path = Path(name).expanduser()
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ScenarioError(
            f"no scenario {name!r}: it is none of {', '.join(builtin_scenarios())}, and as a file it cannot "
            f"be read ({error.strerror})"
        ) from None
    if len(data) > MAX_BYTES:
        raise ScenarioError(f"{name}: more than {MAX_BYTES} bytes, so no scenario")
    if path.suffix == ".py":
        return _from_python(path)
    try:
        return parse_scenario(data.decode("utf-8"), name)
    except UnicodeDecodeError:
        raise ScenarioError(f"{name}: not UTF-8") from None


def parse_scenario(text: str, where: str) -> Scenario:
    """A scenario from TOML; ``where`` names it in errors.

    Raises:
        ScenarioError: not TOML, or a field that is missing, unknown or wrong.
    """
    try:
        document: Mapping[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{where}: not TOML: {error}") from None
    try:
        return _checked(converted(document, Scenario))
    except ScenarioError as error:
        raise ScenarioError(f"{where}: {error}") from None


def _from_python(path: Path) -> Scenario:
    """The user's own file, as ``python FILE`` would run it."""
    try:
        scenario = runpy.run_path(str(path)).get("scenario")
    except Exception as error:
        raise ScenarioError(f"{path}: {type(error).__name__}: {error}") from None
    if not isinstance(scenario, Scenario):
        raise ScenarioError(f"{path}: it must define scenario = Scenario(...)")
    try:
        return _checked(scenario)
    except ScenarioError as error:
        raise ScenarioError(f"{path}: {error}") from None


def _checked(scenario: Scenario) -> Scenario:
    problems = scenario.problems()
    if problems:
        raise ScenarioError("; ".join(problems))
    return scenario


__all__ = ["Scenario", "ScenarioError", "builtin_scenarios", "load_scenario", "parse_scenario"]
