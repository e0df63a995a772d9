"""All venues at once, over the network: ``--source live``."""

from __future__ import annotations

import asyncio
import os
import random
import ssl
from collections.abc import Mapping, Sequence

from omega_ai.core.clock import Clock, SystemClock
from omega_ai.data_feed.exchanges.base import BadVenueUrl, Venue, rest_url_of, url_of
from omega_ai.data_feed.exchanges.conversation import Patience
from omega_ai.data_feed.exchanges.detect import VENUES
from omega_ai.data_feed.exchanges.supervisor import VenueSupervisor
from omega_ai.data_feed.exchanges.trust import Trust
from omega_ai.data_feed.sources.base import Drain, Emit, Report, SourceError, no_drain


class LiveSource:
    """Follows ``venues`` (names, or descriptions; all that are known if none is given) until cancelled.

    ``urls`` and ``rest_urls`` (by name) take the place of the venues' own addresses; so do
    ``WSS_URL_<VENUE>`` and ``REST_URL_<VENUE>`` in ``environment``. ``seed`` makes the back-off repeatable.

    Raises:
        SourceError: an unknown venue, or an address that is none.
    """

    def __init__(
        self,
        venues: Sequence[str | Venue] = (),
        *,
        urls: Mapping[str, str] | None = None,
        rest_urls: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        clock: Clock | None = None,
        seed: int | None = None,
        patience: Patience | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        environment = os.environ if environment is None else environment
        chosen = [_venue_of(venue) for venue in (venues or VENUES)]
        try:
            self._venues = {
                venue.name: (
                    venue,
                    url_of(venue, urls or {}, environment),
                    rest_url_of(venue, rest_urls or {}, environment),
                )
                for venue in chosen
            }
        except BadVenueUrl as error:
            raise SourceError(str(error)) from error
        self._clock = clock if clock is not None else SystemClock()
        self._rng = random.Random(seed)
        self._patience = patience
        self._tls = tls

    @property
    def name(self) -> str:
        """``live``."""
        return "live"

    @property
    def simulated(self) -> bool:
        """Never."""
        return False

    @property
    def venues(self) -> tuple[str, ...]:
        """In the order given."""
        return tuple(self._venues)

    async def run(self, emit: Emit, report: Report, drain: Drain = no_drain) -> None:  # noqa: ARG002 - real time needs no pacing
        """Follow all venues; see ``Source.run``. What one venue does never touches another."""
        trust = Trust(self._tls)
        supervisors = [
            VenueSupervisor(
                venue,
                url,
                emit,
                report,
                clock=self._clock,
                rng=random.Random(self._rng.random()),
                rest_url=rest_url,
                patience=self._patience,
                trust=trust,
            )
            for venue, url, rest_url in self._venues.values()
        ]
        tasks = [asyncio.create_task(supervisor.run()) for supervisor in supervisors]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _venue_of(venue: str | Venue) -> Venue:
    if isinstance(venue, Venue):
        return venue
    found = VENUES.get(venue.lower())
    if found is None:
        raise SourceError(f"unknown venue {venue!r}; there are {', '.join(VENUES)}")
    return found
