"""How a rate goes over time, and the times that follow from it, known before anything is sent.

A shape is a rate (per second) as a function of seconds since its start. Its *integral* is how many events are
due until a moment, and event number ``k`` (0, 1, 2 ...) is due when the integral reaches ``k + 0.5``. Nothing
is summed up step by step, so nothing drifts: at every moment the number of events is what the integral says,
within a half.

With chance (``random.Random``), the times are those of a Poisson process with this rate.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import count, pairwise
from typing import Final, Protocol

from msgspec import Struct

MAX_RATE: Final = 10_000_000.0
"""Events per second that a shape may reach."""
MAX_POINTS: Final = 10_000
LONGEST: Final = 1e12
"""Periods of a wave that are looked at: nobody waits for more."""


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


class Curve(Protocol):
    """A shape, worked out."""

    def rate(self, seconds: float) -> float:
        """Events per second at ``seconds``."""
        ...

    def integral(self, seconds: float) -> float:
        """Events due from 0 until ``seconds``."""
        ...

    def inverse(self, events: float) -> float:
        """The first moment at which the integral is ``events`` (> 0); infinity if it never is."""
        ...


class Lines:
    """Straight lines between points (second, rate), the first at 0; the last rate stays."""

    def __init__(self, points: list[tuple[float, float]]) -> None:
        self._times = [at for at, _ in points]
        self._rates = [rate for _, rate in points]
        self._sums = [0.0]
        for (start, low), (end, high) in pairwise(points):
            self._sums.append(self._sums[-1] + (end - start) * (low + high) / 2)

    def _place(self, seconds: float) -> int:
        return max(0, bisect_right(self._times, seconds) - 1)

    def _slope(self, place: int) -> float:
        if place + 1 == len(self._times) or self._times[place + 1] == self._times[place]:
            return 0.0
        width = self._times[place + 1] - self._times[place]
        return (self._rates[place + 1] - self._rates[place]) / width

    def rate(self, seconds: float) -> float:
        """See ``Curve``."""
        place = self._place(seconds)
        return self._rates[place] + self._slope(place) * (seconds - self._times[place])

    def integral(self, seconds: float) -> float:
        """See ``Curve``."""
        place = self._place(seconds)
        past = seconds - self._times[place]
        return self._sums[place] + past * (self._rates[place] + self._slope(place) * past / 2)

    def inverse(self, events: float) -> float:
        """See ``Curve``."""
        place = max(0, bisect_right(self._sums, events) - 1)
        while place and self._sums[place] >= events:
            place -= 1  # where the rate is 0, the integral has its value already at the beginning
        left = events - self._sums[place]
        rate, slope = self._rates[place], self._slope(place)
        if not slope:
            return self._times[place] + left / rate if rate else math.inf
        # The root of slope/2 x^2 + rate x - left, in the form that does not lose digits.
        root = math.sqrt(max(0.0, rate * rate + 2 * slope * left))
        both = rate + root
        return self._times[place] + 2 * left / both if both else math.inf


class Sine:
    """A ``Wave``."""

    def __init__(self, wave: Wave) -> None:
        self._mean, self._amplitude = wave.mean, wave.amplitude
        self._turn = 2 * math.pi / wave.period_s
        self._period = wave.period_s

    def rate(self, seconds: float) -> float:
        """See ``Curve``."""
        return self._mean + self._amplitude * math.sin(self._turn * seconds)

    def integral(self, seconds: float) -> float:
        """See ``Curve``."""
        return self._mean * seconds + self._amplitude / self._turn * (1 - math.cos(self._turn * seconds))

    def inverse(self, events: float) -> float:
        """See ``Curve``."""
        each = self._mean * self._period
        if not each or events / each > LONGEST:
            return math.inf
        # After a whole period the integral is what it would be without the sine: that bounds the root.
        periods = math.floor(events / each)
        low, high = periods * self._period, (periods + 1) * self._period
        guess = events / self._mean
        for _ in range(100):
            error = self.integral(guess) - events
            if abs(error) < 1e-9 or high - low < 1e-10:
                break
            low, high = (low, guess) if error > 0 else (guess, high)
            rate = self.rate(guess)
            newton = guess - error / rate if rate > 0 else low
            guess = newton if low < newton < high else (low + high) / 2
        return guess


def curve(shape: Shape) -> Curve:
    """The shape, worked out.

    Raises:
        ShapeError: a rate below 0 or above ``MAX_RATE``, a time below 0, points out of order, or none.
    """
    if isinstance(shape, Wave):
        _check([(0.0, shape.mean + shape.amplitude), (0.0, shape.mean - shape.amplitude)])
        if shape.period_s <= 0:
            raise ShapeError(f"a wave's period is more than 0 s, not {shape.period_s:g}")
        return Sine(shape)
    points = _points(shape)
    _check(points)
    return Lines(points)


def _points(shape: Constant | Ramp | Steps | Spike | Points) -> list[tuple[float, float]]:
    match shape:
        case Constant(rate):
            return [(0.0, rate)]
        case Ramp(start, end, over_s):
            return [(0.0, start), (over_s, end)]
        case Spike(base, peak, at_s, for_s):
            return [(0.0, base), (at_s, base), (at_s, peak), (at_s + for_s, peak), (at_s + for_s, base)]
        case Steps(rates, each_s):
            ends = [(number * each_s, rate) for number, rate in enumerate(rates)]
            points = []
            for number, (at, rate) in enumerate(ends):
                points.append((at, rate))
                if number + 1 < len(ends):
                    points.append((at + each_s, rate))
            return points
        case Points(given):
            points = list(given)
            return [(0.0, points[0][1]), *points] if points and points[0][0] > 0 else points


def _check(points: list[tuple[float, float]]) -> None:
    if not points:
        raise ShapeError("a shape needs at least one rate")
    if len(points) > 2 * MAX_POINTS:
        raise ShapeError(f"a shape has at most {MAX_POINTS} points")
    before = 0.0
    for at, rate in points:
        if not (math.isfinite(at) and at >= before):
            raise ShapeError(f"the times of a shape are 0 or more and never go back: {before:g} s, {at:g} s")
        if not 0 <= rate <= MAX_RATE:
            raise ShapeError(f"a rate is from 0 to {MAX_RATE:g} per second, not {rate:g}")
        before = at


def times(
    shape: Shape,
    end_s: float,
    *,
    take: Sequence[int] = (0,),
    stride: int = 1,
    rng: random.Random | None = None,
) -> Iterator[int]:
    """When events are due, in nanoseconds since the shape's start, before ``end_s``, in order.

    Of every ``stride`` events, those at the places ``take`` (rising) are taken: all, or those of one worker.
    Workers whose places are together all of ``range(stride)`` have exactly all events. With ``rng``, a
    Poisson process with that share of the rate, so that those of all workers together are one with the
    whole rate.
    """
    worked = curve(shape)
    end_ns = round(end_s * 1e9)
    if not take:
        return
    if rng is not None:
        share = stride / len(take)
        due = rng.expovariate(1.0) * share
        while (seconds := worked.inverse(due)) < end_s:
            yield min(int(seconds * 1e9), end_ns - 1)
            due += rng.expovariate(1.0) * share
        return
    places = [place + 0.5 for place in take]
    if isinstance(shape, Constant):
        if not shape.rate:
            return
        step = 1e9 / shape.rate
        for start in count(0, stride):
            for place in places:
                at = (start + place) * step
                if at >= end_ns:
                    return
                yield int(at)
    for start in count(0, stride):
        for place in places:
            seconds = worked.inverse(start + place)
            if seconds >= end_s:
                return
            yield min(int(seconds * 1e9), end_ns - 1)


def peak(shape: Shape, end_s: float) -> float:
    """The highest rate until ``end_s``."""
    if isinstance(shape, Wave):
        return shape.mean + shape.amplitude
    return max(rate for at, rate in _points(shape) if at <= end_s)


def scaled(shape: Shape, factor: float) -> Shape:
    """The same shape with every rate ``factor`` times as high: what a search for the highest rate turns."""
    match shape:
        case Constant(rate):
            return Constant(rate * factor)
        case Ramp(start, end, over_s):
            return Ramp(start * factor, end * factor, over_s)
        case Steps(rates, each_s):
            return Steps(tuple(rate * factor for rate in rates), each_s)
        case Spike(base, peak_rate, at_s, for_s):
            return Spike(base * factor, peak_rate * factor, at_s, for_s)
        case Wave(mean, amplitude, period_s):
            return Wave(mean * factor, amplitude * factor, period_s)
        case Points(points):
            return Points(tuple((at, rate * factor) for at, rate in points))
