"""An experiment: a steady state, faults on a timeline, recovery. A TOML file, or Python.

Times are in seconds; those of faults count from the end of the steady phase before them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from omega_ai.testkit.case import Need
from omega_ai.testkit.faults import FAULTS, BadFault, build
from omega_ai.testkit.faults.model import Fault, Stream

MAX_BYTES: Final = 1 << 20

Seconds = Annotated[float, Meta(ge=0.0, le=86_400.0)]
ProcessKind = Literal[
    "kill", "restart", "pause", "reload", "starve", "descriptors", "memory", "kill-child", "slow-child"
]
Act = Literal["reset", "disable", "slow-handshakes", "burst", "leave"]


class BadExperiment(ValueError):
    """An experiment that cannot be used; the text names the file and what is wrong."""


class Load(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What goes on all the time."""

    clients: Annotated[int, Meta(ge=1, le=5000)] = 8
    rate: Annotated[float, Meta(gt=0.0, le=100_000.0)] = 40.0
    """Messages a second in all: published to all clients, or, where nothing can be published, echoed."""
    size: Annotated[int, Meta(ge=0, le=1 << 20)] = 0
    """Bytes of a message, at least."""
    secure: bool = False
    """Over the target's wss address."""
    patience_s: Annotated[float, Meta(gt=0.0, le=600.0)] = 1.5
    """A client that gets no answer to a ping for so long takes its connection for dead."""


class Steady(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is normal."""

    before_s: Seconds = 1.5
    """How long it is watched before anything is broken."""
    latency_ms: Annotated[float, Meta(gt=0.0, le=600_000.0)] = 1000.0
    """Every message arrives within this; the bound must hold on a busy machine, too."""
    invariants: tuple[str, ...] = ("lost", "duplicated", "reordered", "corrupted", "gap")
    """Checkers that must find nothing, at any time."""
    attempts: Annotated[float, Meta(gt=0.0)] | None = None
    """Connection attempts of one client within any second, at most: the proof of backing off."""


class FaultStep(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault: exactly one of ``network``, ``process`` and ``act`` says what."""

    name: str
    at_s: Seconds = 0.0
    for_s: Seconds = 1.0
    network: str | None = None
    """A fault of ``testkit.faults``; ``with`` has its attributes."""
    process: ProcessKind | None = None
    act: Act | None = None
    attributes: dict[str, Any] = msgspec.field(default_factory=dict, name="with")
    stream: Stream = "downstream"
    toxicity: Annotated[float, Meta(ge=0.0, le=1.0)] = 1.0
    """The share of connections that a network fault works on."""
    text: str = ""

    @property
    def fault(self) -> Fault | None:
        """The network fault."""
        return None if self.network is None else build(self.network, self.attributes)

    @property
    def end_s(self) -> float:
        """When it is over."""
        return self.at_s + self.for_s


class Recovery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What must be again after the last fault."""

    within_s: Seconds = 5.0
    """By when the state must be steady again."""
    watch_s: Seconds = 2.0
    """For how long it must then stay so."""


class Experiment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of it."""

    name: str
    title: str
    does: str = ""
    """What is done, in plain words."""
    why: str = ""
    """Why it matters."""
    suite: Literal["chaos", "network"] = "chaos"
    expectation: str = ""
    needs: tuple[Need, ...] = ()
    load: Load = Load()
    steady: Steady = Steady()
    faults: tuple[FaultStep, ...] = msgspec.field(default=(), name="fault")
    recovery: Recovery = Recovery()

    @property
    def faults_end_s(self) -> float:
        """When the last fault is over."""
        return max((step.end_s for step in self.faults), default=0.0)

    @property
    def seconds(self) -> float:
        """How long it takes at most, without starting and stopping."""
        steady = self.steady.before_s + self.faults_end_s
        return steady + self.recovery.within_s + self.recovery.watch_s

    def check(self, where: str) -> Experiment:
        """Conditions between fields.

        Raises:
            BadExperiment: they do not go together.
        """
        if not self.faults:
            raise BadExperiment(f"{where}: an experiment without a [[fault]] shows nothing")
        names = [step.name for step in self.faults]
        if len(set(names)) != len(names):
            raise BadExperiment(f"{where}: two faults have one name")
        from omega_ai.testkit.checkers import CHECKERS

        for name in self.steady.invariants:
            if name not in CHECKERS:
                known = ", ".join(CHECKERS)
                raise BadExperiment(f"{where}: there is no invariant {name!r}; there are {known}")
        for step in self.faults:
            kinds = [kind for kind in (step.network, step.process, step.act) if kind is not None]
            if len(kinds) != 1:
                raise BadExperiment(f"{where}: fault {step.name!r} needs one of network, process and act")
            try:
                step.fault  # noqa: B018 - making it is the check
            except BadFault as error:
                raise BadExperiment(f"{where}: fault {step.name!r}: {error}") from None
        return self


def parse(text: str, where: str) -> Experiment:
    """An experiment from TOML.

    Raises:
        BadExperiment: it is none; the text says where and why.
    """
    try:
        found = msgspec.convert(tomllib.loads(text), Experiment)
    except tomllib.TOMLDecodeError as error:
        raise BadExperiment(f"{where} is no TOML: {error}") from None
    except msgspec.ValidationError as error:
        raise BadExperiment(f"{where}: {error}") from None
    return found.check(where)


def read(path: Path) -> Experiment:
    """An experiment from a file, or one that is built in, by its name.

    Raises:
        BadExperiment: there is no such file, or it is no experiment.
    """
    if not path.suffix and not path.exists() and str(path) in BUILT_IN:
        return built_in(str(path))
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadExperiment(f"{path}: larger than {MAX_BYTES} bytes")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        names = ", ".join(BUILT_IN)
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise BadExperiment(f"{path}: {reason}; built in are {names}") from None
    return parse(text, str(path))


BUILT_IN: Final = (
    "transatlantic",
    "flaky-mobile",
    "congested-link",
    "packet-storm",
    "proxy-timeout",
    "half-open-nat",
    "refused",
    "slow-loris",
    "thundering-herd",
    "rolling-restart",
    "crash",
    "frozen-server",
    "starved-server",
    "out-of-descriptors",
    "broker-failover",
    "certificate-rotation",
)
"""Experiments that come with the test kit, in their order."""


def built_in(name: str) -> Experiment:
    """The experiment of that name."""
    folder = resources.files("omega_ai.testkit.experiment") / "experiments"
    return parse((folder / f"{name}.toml").read_text(encoding="utf-8"), f"{name}.toml")


def network_faults() -> Mapping[str, type[Fault]]:
    """What ``network`` may name."""
    return FAULTS
