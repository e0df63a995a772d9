"""``--source`` as it is typed: ``simulated``, ``simulated?seed=7&rate=100``, ``replay:FILE?speed=max``."""

from __future__ import annotations

import math
from pathlib import Path
from urllib.parse import parse_qsl

from omega_ai.core.clock import Clock
from omega_ai.data_feed.sources.base import Source, SourceError
from omega_ai.data_feed.sources.replay import ReplaySource
from omega_ai.data_feed.sources.simulated import SimulatedSource


def source_of(spec: str, *, seed: int = 0, clock: Clock | None = None) -> Source | None:
    """The source that ``spec`` names; None for ``none``. ``live`` is made elsewhere: it needs the venues'
    settings.

    ``replay:FILE`` takes the option ``speed`` (a number above 0, or ``max``); a file whose own name has a
    ``?`` cannot be named. ``simulated`` takes ``seed``, ``rate`` (trades a second) and ``venues``.

    Raises:
        SourceError: unknown source or option, or a value out of its bounds.
    """
    if spec == "none":
        return None
    head, _, query = spec.partition("?")
    options = _options(spec, query)
    source: Source
    if head == "simulated":
        source = SimulatedSource(
            seed=round(_number(spec, "seed", options.pop("seed", str(seed)))),
            rate=_number(spec, "rate", options.pop("rate", "10")),
            venues=round(_number(spec, "venues", options.pop("venues", "3"))),
            clock=clock,
        )
    elif head.startswith("replay:") and len(head) > len("replay:"):
        speed = options.pop("speed", "1")
        source = ReplaySource(
            Path(head.removeprefix("replay:")).expanduser(),
            speed=math.inf if speed == "max" else _number(spec, "speed", speed),
            clock=clock,
        )
    else:
        raise SourceError(f"unknown source {spec!r}; there are live, none, simulated and replay:FILE")
    if options:
        raise SourceError(f"source {spec!r} has an unknown option: {next(iter(options))}")
    return source


def _options(spec: str, query: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    except ValueError as error:
        raise SourceError(f"source {spec!r}: options are written ?name=value&name=value") from error


def _number(spec: str, name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise SourceError(f"source {spec!r}: {name} must be a number, not {text!r}")
    return number
