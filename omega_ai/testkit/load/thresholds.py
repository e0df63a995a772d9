"""Thresholds: ``latency.p99 < 5ms``, ``each 10s: lost == 0``, ``phase peak: cpu.max < 80% or stop``. Pure.

    threshold  = [scope ":"] metric comparison value ["or stop"]
    scope      = "each" TIME | "each phase" | "phase" NAME | "each fault" | "fault" NAME
    metric     = NAME ["." STATISTIC]
    comparison = "<" | "<=" | ">" | ">=" | "==" | "!="
    value      = NUMBER [UNIT]

``docs/testkit/load.md`` lists the metrics. Without a scope a threshold holds for the whole run.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from omega_ai.testkit.load.measured import COUNTS, SERIES, TIMES
from omega_ai.testkit.load.quantities import UNITS_OF, Dimension, Quantity, UnitError, quantity

MAX_LENGTH: Final = 200
LEAST_WINDOW_S: Final = 1.0

Comparison = Literal["<", "<=", ">", ">=", "==", "!="]

COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}

TIME_STATISTICS: Final = ("min", "mean", "max", "count")
COUNT_STATISTICS: Final = ("count", "share", "rate")
SERIES_STATISTICS: Final = ("min", "mean", "max", "last", "slope")
RATE_STATISTICS: Final = ("achieved", "requested", "sent", "received")

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>[0-9][0-9_]*(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)|(?P<word>[A-Za-zµ%/][\w.%/µ-]*)"
    r"|(?P<op><=|>=|==|!=|<|>)|(?P<colon>:))"
)
_PERCENTILE: Final = re.compile(r"p([0-9]{1,2}(?:\.[0-9]{1,6})?|100(?:\.0{1,6})?)")


class ThresholdError(ValueError):
    """An expression that cannot be read; ``str(error)`` shows where, and what could stand there."""

    def __init__(self, text: str, position: int, problem: str) -> None:
        super().__init__(f"{problem}\n  {text}\n  {' ' * position}^")
        self.position = position
        """Characters before the place where it went wrong."""
        self.problem = problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A bound on one metric."""

    text: str
    metric: str
    statistic: str
    """``p99.9``, ``max``, ``count``, ``slope`` ..."""
    comparison: Comparison
    bound: float
    """In the unit of ``dimension``."""
    dimension: Dimension
    window_s: float | None = None
    """It holds for every stretch of so many seconds."""
    phase: str | None = None
    """It holds for this phase; ``*``: for each."""
    fault: str | None = None
    """It holds while this fault is at work; ``*``: while each is."""
    stop: bool = False
    """The run ends when it does not hold."""

    @property
    def percentile(self) -> float | None:
        """The percentile that is asked for, if one is."""
        match = _PERCENTILE.fullmatch(self.statistic)
        return None if match is None else float(match[1])

    def holds(self, value: float) -> bool:
        """Whether ``value`` is within the bound."""
        return COMPARE[self.comparison](value, self.bound)

    @property
    def canonical(self) -> str:
        """The same threshold, written in one way: what is parsed from it is equal but for ``text``."""
        scope = "" if self.window_s is None else f"each {self.window_s!r}s: "
        if self.phase is not None:
            scope = "each phase: " if self.phase == "*" else f"phase {self.phase}: "
        if self.fault is not None:
            scope = "each fault: " if self.fault == "*" else f"fault {self.fault}: "
        unit = {
            Dimension.TIME: "ns",
            Dimension.BYTES: "B",
            Dimension.COUNT: "",
            Dimension.SHARE: "",
            Dimension.TIME_RATE: "ns/s",
            Dimension.BYTE_RATE: "B/s",
            Dimension.COUNT_RATE: "/s",
        }[self.dimension]
        ending = " or stop" if self.stop else ""
        return f"{scope}{self.metric}.{self.statistic} {self.comparison} {self.bound!r}{unit}{ending}"


def parse_threshold(text: str) -> Threshold:
    """Read one expression.

    Raises:
        ThresholdError: it is none; the text shows the place and what is known there.
    """
    if len(text) > MAX_LENGTH:
        raise ThresholdError(text[:40], 0, f"a threshold has at most {MAX_LENGTH} characters")
    return _Parser(text).threshold()


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[_Token] = []
        self.place = 0
        at = 0
        while text[at:].strip():
            match = _TOKEN.match(text, at)
            if match is None:
                at += len(text[at:]) - len(text[at:].lstrip())
                raise self.error(f"{text[at]!r} has no place in a threshold", at)
            kind = match.lastgroup or ""
            self.tokens.append(_Token(kind, match[kind], match.start(kind)))
            at = match.end()

    def error(self, problem: str, at: int | None = None) -> ThresholdError:
        if at is None:
            token = self.peek()
            at = len(self.text) if token is None else token.at
        return ThresholdError(self.text, at, problem)

    def peek(self) -> _Token | None:
        return self.tokens[self.place] if self.place < len(self.tokens) else None

    def take(self, kind: str, wanted: str) -> _Token:
        token = self.peek()
        if token is None or token.kind != kind:
            seen = "the end" if token is None else repr(token.text)
            raise self.error(f"here must stand {wanted}, not {seen}")
        self.place += 1
        return token

    def next_is(self, *words: str) -> bool:
        found = [token.text for token in self.tokens[self.place : self.place + len(words)]]
        return found == list(words)

    def threshold(self) -> Threshold:
        window_s, phase, fault = self.scope()
        name = self.take("word", f"a metric, such as latency.p99 or lost (there are {', '.join(_METRICS)})")
        metric, statistic, dimension = _metric(self, name)
        comparison = self.take("op", "a comparison: < <= > >= == !=").text
        bound = self.value(f"{metric}.{statistic}", dimension)
        stop = self.next_is("or", "stop")
        if stop:
            self.place += 2
        if self.peek() is not None:
            raise self.error('nothing may follow here but "or stop"')
        return Threshold(
            text=" ".join(self.text.split()),
            metric=metric,
            statistic=statistic,
            comparison=comparison,  # type: ignore[arg-type]  # the tokens are these
            bound=bound,
            dimension=dimension,
            window_s=window_s,
            phase=phase,
            fault=fault,
            stop=stop,
        )

    def scope(self) -> tuple[float | None, str | None, str | None]:
        """Length of each window, phase, fault; at most one of them."""
        window_s: float | None = None
        found: dict[str, str] = {}
        for what in ("phase", "fault"):
            if self.next_is("each", what):
                self.place += 2
                found[what] = "*"
            elif self.next_is(what):
                self.place += 1
                found[what] = self.name(f"the name of a {what}")
        if not found:
            if not self.next_is("each"):
                return None, None, None
            self.place += 1
            at = self.peek()
            given = self.quantity("a length of time, such as 10s, or the word phase or fault")
            if given.dimension is not Dimension.TIME:
                raise self.error("each WHAT? a length of time, such as 10s", None if at is None else at.at)
            window_s = given.value / 1e9
            if window_s < LEAST_WINDOW_S:
                raise self.error(f"a window is {LEAST_WINDOW_S:g}s or longer", None if at is None else at.at)
        self.take("colon", "a colon after the scope")
        return window_s, found.get("phase"), found.get("fault")

    def name(self, wanted: str) -> str:
        """A name of one word or more, up to the colon."""
        first = self.take("word", wanted)
        colon = next((token for token in self.tokens[self.place :] if token.kind == "colon"), None)
        if colon is None:
            return first.text  # what comes next is no colon, and that is said
        while (token := self.peek()) is not None and token.kind in ("word", "number"):
            self.place += 1
        return " ".join(self.text[first.at : colon.at].split())

    def quantity(self, wanted: str) -> Quantity:
        number = self.take("number", wanted)
        unit = self.peek()
        text = ""
        if unit is not None and unit.kind == "word" and unit.text not in ("or", "stop", "and"):
            text = unit.text
            self.place += 1
        try:
            return quantity(float(number.text.replace("_", "")), text)
        except UnitError as error:
            raise self.error(str(error), None if unit is None else unit.at) from None

    def value(self, what: str, dimension: Dimension) -> float:
        token = self.peek()
        at = len(self.text) if token is None else token.at
        given = self.quantity(f"a number, and its unit {_units(dimension)}".rstrip())
        if given.dimension is dimension:
            return given.value
        if dimension is Dimension.SHARE and given.bare:
            return given.value  # 0.99 is 99 %
        if given.bare and (given.value == 0 or dimension is Dimension.COUNT_RATE):
            return given.value
        needed = _units(dimension) or "no unit"
        seen = "a plain number" if given.bare else given.dimension.value
        raise self.error(f"{what} is {dimension.value}, this is {seen}; write {needed}", at)


def _units(dimension: Dimension) -> str:
    return " ".join(UNITS_OF[dimension])


_METRICS: Final = (*TIMES, "rate", *COUNTS, *SERIES)
_SERIES_DIMENSION: Final = {
    "rss": Dimension.BYTES,
    "pss": Dimension.BYTES,
    "cpu": Dimension.SHARE,
    "switches": Dimension.COUNT_RATE,
}
_SLOPE_OF: Final = {
    Dimension.BYTES: Dimension.BYTE_RATE,
    Dimension.COUNT: Dimension.COUNT_RATE,
    Dimension.TIME: Dimension.TIME_RATE,
}


def _metric(parser: _Parser, token: _Token) -> tuple[str, str, Dimension]:
    """Name, statistic and dimension of a metric."""
    name, dot, statistic = token.text.partition(".")
    after = token.at + len(name) + 1
    if name not in _METRICS:
        near = difflib.get_close_matches(name, _METRICS, n=1, cutoff=0.7)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_METRICS)}"
        raise parser.error(f"there is no metric {name!r}; {hint}", token.at)
    if not dot and name in COUNTS:
        return name, "count", Dimension.COUNT
    if name in TIMES:
        known: tuple[str, ...] = ("p50", "p99", "p99.9", *TIME_STATISTICS)
        if _PERCENTILE.fullmatch(statistic):
            return name, statistic, Dimension.TIME
        if statistic in TIME_STATISTICS:
            return name, statistic, Dimension.COUNT if statistic == "count" else Dimension.TIME
    elif name == "rate":
        known = RATE_STATISTICS
        if statistic in known:
            return name, statistic, Dimension.SHARE if statistic == "achieved" else Dimension.COUNT_RATE
    elif name in COUNTS:
        known = COUNT_STATISTICS
        dimensions = {"count": Dimension.COUNT, "share": Dimension.SHARE, "rate": Dimension.COUNT_RATE}
        if statistic in dimensions:
            return name, statistic, dimensions[statistic]
    else:
        own = _SERIES_DIMENSION.get(name, Dimension.COUNT)
        slope = _SLOPE_OF.get(own)
        known = SERIES_STATISTICS if slope is not None else SERIES_STATISTICS[:-1]
        if statistic == "slope" and slope is not None:
            return name, statistic, slope
        if statistic in known:
            return name, statistic, own
    if dot and statistic:
        raise parser.error(f"{name} has no {statistic!r}; it has {', '.join(known)}", after)
    raise parser.error(f"which {name}? write {name}.{known[1]}; it has {', '.join(known)}", token.at)
