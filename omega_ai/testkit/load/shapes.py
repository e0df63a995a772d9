"""How a rate goes over time, and the times that follow from it: whole nanoseconds, known before anything is
sent.

A shape is a rate (per second) as a function of seconds since its start. Its *integral* is how many events are
due until a moment; event number ``k`` is due when the integral reaches ``k + 1`` halves of the way between
its neighbours, that is ``k + 0.5``. Nothing is summed up step by step, so nothing drifts: after an hour,
the number of events is what the integral says, within one.

With chance (``random.Random``), the times are those of a Poisson process with this rate.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

MAX_RATE: Final = 10_000_000.0
"""Events per second that a shape may reach."""
MAX_POINTS: Final = 10_000


class ShapeError(ValueError):
    """A shape that cannot be; ``str(error)`` says why."""


class Constant(Struct, frozen=True, tag="constant", tag_field="shape", forbid_unknown_fields=True):
    """Always ``rate``."""

    rate: float


class Ramp(Struct, frozen=True, tag="ramp", tag_field="shape", forbid_unknown_fields=True):
    """From ``start`` to ``end``, evenly in ``over_s`` seconds; then ``end``."""

    start: float
    end: float
    over_s: float


class Steps(Struct, frozen=True, tag="steps", tag_field="shape", forbid_unknown_fields=True):
    """Each of ``rates`` for ``each_s`` seconds; the last one stays."""

    rates: tuple[float, ...]
    each_s: float


class Spike(Struct, frozen=True, tag="spike", tag_field="shape", forbid_unknown_fields=True):
    """``base``, but ``peak`` for ``for_s`` seconds from ``at_s`` on."""

    base: float
    peak: float
    at_s: float
    for_s: float


class Wave(Struct, frozen=True, tag="wave", tag_field="shape", forbid_unknown_fields=True):
    """A sine: ``mean`` plus and minus ``amplitude`` (at most ``mean``), once in ``period_s`` seconds."""

    mean: float
    amplitude: float
    period_s: float


class Points(Struct, frozen=True, tag="points", tag_field="shape", forbid_unknown_fields=True):
    """Straight lines between (second, rate); before the first and after the last it stays as there.

    Two points with one time are a jump.
    """

    points: tuple[tuple[float, float], ...]


Shape = Constant | Ramp | Steps | Spike | Wave | Points
