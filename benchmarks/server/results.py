"""What was measured, and what it says: medians, spreads, and ratios of runs of the same round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal, NamedTuple


class Spread(NamedTuple):
    """The median of several runs, and their extremes."""

    median: float
    low: float
    high: float


class Column(NamedTuple):
    """A figure shown beside the main one: its key in a sample, its heading, and its decimals."""

    key: str
    heading: str
    digits: int = 1


@dataclass(frozen=True)
class Goal:
    """What ours must reach: a ratio, or a figure in its own unit."""

    bound: float
    better: Literal["lower", "higher"] = "lower"
    of: str = "ratio"
    """``ratio``, or the key of the figure that the bound is for."""
    row: str = "omega"

    def reached(self, value: float) -> bool:
        """Whether ``value`` is good enough."""
        return value <= self.bound if self.better == "lower" else value >= self.bound


@dataclass
class Result:
    """One case: for each row (a contender, or a contender at a size) one sample per round.

    ``metric`` is the key of the main figure in a sample; ``baselines`` says for each row which row its ratio
    is taken against. A sample is None where the run failed; ``notes`` says why.
    """

    name: str
    title: str
    about: str
    metric: str
    unit: str
    better: Literal["lower", "higher"]
    labels: dict[str, str]
    baselines: Mapping[str, str]
    columns: Sequence[Column] = ()
    goals: Sequence[Goal] = ()
    digits: int = 2
    samples: dict[str, list[dict[str, Any] | None]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def spread(self, row: str, key: str | None = None) -> Spread | None:
        """The figure ``key`` (the main one by default) of a row; None if no run has it."""
        return spread_of([s[key or self.metric] for s in self._of(row) if s and (key or self.metric) in s])

    def ratio(self, row: str) -> Spread | None:
        """The main figure against the baseline's of the same round; None without a common round."""
        baseline = self._of(self.baselines.get(row, ""))
        pairs = zip(self._of(row), baseline, strict=False)
        return spread_of(
            [
                mine[self.metric] / theirs[self.metric]
                for mine, theirs in pairs
                if mine and theirs and theirs.get(self.metric) and self.metric in mine
            ]
        )

    def verdicts(self) -> list[tuple[Goal, float, bool]]:
        """Each goal that could be judged, the median it is judged by, and whether it is reached."""
        found = []
        for goal in self.goals:
            spread = self.ratio(goal.row) if goal.of == "ratio" else self.spread(goal.row, goal.of)
            if spread is not None:
                found.append((goal, spread.median, goal.reached(spread.median)))
        return found

    def as_dict(self) -> dict[str, Any]:
        """For JSON: every sample, and what was computed of them."""
        return {
            "name": self.name,
            "title": self.title,
            "about": self.about,
            "metric": self.metric,
            "unit": self.unit,
            "better": self.better,
            "seconds": round(self.seconds, 1),
            "rows": [
                {
                    "row": row,
                    "label": label,
                    "baseline": self.baselines.get(row),
                    "value": _plain(self.spread(row)),
                    "ratio": _plain(self.ratio(row)),
                    "note": self.notes.get(row),
                    "samples": self._of(row),
                }
                for row, label in self.labels.items()
            ],
            "goals": [
                {"row": g.row, "of": g.of, "bound": g.bound, "better": g.better, "median": m, "reached": ok}
                for g, m, ok in self.verdicts()
            ],
        }

    def _of(self, row: str) -> list[dict[str, Any] | None]:
        return self.samples.get(row, [])


def spread_of(values: Sequence[float]) -> Spread | None:
    """Median, least and greatest; None of nothing."""
    return Spread(median(values), min(values), max(values)) if values else None


def _plain(spread: Spread | None) -> dict[str, float] | None:
    return None if spread is None else spread._asdict()
