"""Where market data comes from, as named by a text (``omega serve --source``).

=================================================  ==========================================================
``live``                                           the venues, over the network
``simulated``, ``simulated?rate=50&venues=3``      a seeded market that does not exist, and says so
``replay:FILE``, ``replay:FILE?speed=10``          a recording; ``speed=max`` as fast as it can be taken
``none``                                           nothing: clients publish
=================================================  ==========================================================
"""

from __future__ import annotations

from omega_ai.core.clock import Clock
from omega_ai.data_feed.settings import FeedSettings
from omega_ai.data_feed.sources.base import Source, SourceError


def open_source(settings: FeedSettings, *, clock: Clock) -> Source | None:
    """Make the source that ``settings.source`` names; None for ``none``. Nothing is opened before it runs.

    Raises:
        SourceError: unknown source, venue or option, or one that cannot begin (a missing recording, say).
    """
    if settings.source == "live":
        raise SourceError("the live source is not available: choose --source simulated or replay:FILE")
    from omega_ai.data_feed.sources.spec import source_of

    return source_of(settings.source, seed=settings.seed or 0, clock=clock)
