"""Where market data comes from, as named by a text (``omega serve --source``).

=================================================  ==========================================================
``live``                                           the venues, over the network
``simulated``, ``simulated?rate=50&venues=3``      a seeded market that does not exist, and says so
``replay:FILE``, ``replay:FILE?speed=10``          a recording; ``speed=max`` as fast as it can be taken
``none``                                           nothing: clients publish
=================================================  ==========================================================
"""

from __future__ import annotations

import math
from pathlib import Path
from urllib.parse import parse_qsl

from omega_ai.core.clock import Clock
from omega_ai.data_feed.settings import FeedSettings, SettingsError
from omega_ai.data_feed.sources.base import Source


def open_source(settings: FeedSettings, *, clock: Clock) -> Source | None:
    """Make the source that ``settings.source`` names; None for ``none``. Nothing is opened before it runs.

    Raises:
        SettingsError: the text names none, or an option that it does not have.
        SourceError: it cannot begin (a missing recording, say).
    """
    kind, _, rest = settings.source.partition(":")
    if settings.source == "none":
        return None
    if settings.source == "live":
        from omega_ai.data_feed.sources.live import LiveSource

        return LiveSource(settings.venues, clock=clock, seed=settings.seed)
    if kind == "replay":
        from omega_ai.data_feed.sources.replay import ReplaySource

        path, options = _options(rest, ("speed",))
        speed = math.inf if options.get("speed") == "max" else _number(options, "speed", 1.0)
        return ReplaySource(Path(path).expanduser(), speed=speed, clock=clock)
    kind, options = _options(settings.source, ("rate", "venues"))
    if kind == "simulated":
        from omega_ai.data_feed.sources.simulated import SimulatedSource

        return SimulatedSource(
            seed=settings.seed or 0,
            rate=_number(options, "rate", 10.0),
            venues=int(_number(options, "venues", 3)),
            clock=clock,
        )
    raise SettingsError(f"--source {settings.source!r}: there are live, simulated, replay:FILE and none")


def _options(text: str, known: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """``name?key=value&...`` -> name and options. A file whose name holds a ``?`` is taken as it is."""
    name, mark, query = text.rpartition("?")
    if not mark or (text and Path(text).exists()):
        return text, {}
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = sorted(set(options) - set(known))
    if unknown or not options:
        words = f"unknown option {', '.join(unknown) or query!r}; it has {', '.join(known)}"
        raise SettingsError(f"--source {text!r}: {words}")
    return name, options


def _number(options: dict[str, str], name: str, default: float) -> float:
    try:
        return float(options[name]) if name in options else default
    except ValueError:
        raise SettingsError(f"--source: {name}={options[name]!r} is not a number") from None
