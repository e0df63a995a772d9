"""How chance spreads a delay."""

from __future__ import annotations

import random
from typing import Literal

Distribution = Literal["uniform", "normal", "pareto", "lognormal"]

PARETO_SHAPE = 3.0
"""Tail of the pareto distribution: mean and variance are finite, and one in a thousand is twenty times the
mean."""
LOGNORMAL_SIGMA = 1.0


def deviation(distribution: Distribution, scale: float, rng: random.Random) -> float:
    """A random number in the unit of ``scale`` (>= 0), to be added to a delay.

    ``uniform``: within ± scale. ``normal``: mean 0, standard deviation scale. ``pareto`` (shifted, so that it
    begins at 0) and ``lognormal``: never negative, mean scale, with a long tail.
    """
    if scale <= 0:
        return 0.0
    if distribution == "uniform":
        return rng.uniform(-scale, scale)
    if distribution == "normal":
        return rng.gauss(0.0, scale)
    if distribution == "pareto":
        return scale * (PARETO_SHAPE - 1) * (rng.paretovariate(PARETO_SHAPE) - 1)
    return scale * rng.lognormvariate(-(LOGNORMAL_SIGMA**2) / 2, LOGNORMAL_SIGMA)
