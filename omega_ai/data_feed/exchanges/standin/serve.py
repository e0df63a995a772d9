"""Running stand-in exchanges as a program does: ``omega exchange``."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from itertools import islice
from pathlib import Path

from msgspec import Struct

from omega_ai.core.clock import Clock, SystemClock
from omega_ai.data_feed.exchanges.base import Venue
from omega_ai.data_feed.exchanges.detect import VENUES, venue_of
from omega_ai.data_feed.exchanges.standin.exchange import Pace, StandIn
from omega_ai.data_feed.exchanges.standin.faults import Fault, plan
from omega_ai.data_feed.exchanges.standin.market import GeneratedMarket, Market, RecordedMarket
from omega_ai.data_feed.sources.base import SourceError
from omega_ai.data_feed.sources.recording import Message, Recording

_LOOK_AT = 1000
_PLAN_S = 86_400.0


class ExchangeOptions(Struct, frozen=True, kw_only=True):
    """Which exchanges, and how they behave.

    ``capture`` is played at ``speed`` by the venue that it is of; without one, trades are made up from
    ``seed``, ``rate`` a second. Of several venues the first listens on ``port``, the next on ``port + 1``,
    and so on; 0 takes free ones. ``faults`` happen at their times; ``chaos`` adds all kinds at times drawn
    from ``seed``. ``scale`` shortens the venues' own times: 0.1 makes heartbeats ten times as frequent.
    """

    venues: tuple[str, ...] = ()
    capture: Path | None = None
    speed: float = 1.0
    host: str = "127.0.0.1"
    port: int = 0
    rest_port: int = 0
    seed: int = 0
    rate: float = 5.0
    faults: tuple[Fault, ...] = ()
    chaos: bool = False
    scale: float = 1.0


class ExchangeAddress(Struct, frozen=True):
    """Where one stand-in listens."""

    venue: str
    url: str
    rest_url: str

    @property
    def environment(self) -> dict[str, str]:
        """What makes a feed go there: ``WSS_URL_<VENUE>`` and ``REST_URL_<VENUE>``."""
        name = self.venue.upper()
        return {f"WSS_URL_{name}": self.url, f"REST_URL_{name}": self.rest_url}


async def serve_exchange(
    options: ExchangeOptions,
    ready: Callable[[Sequence[ExchangeAddress]], None] | None = None,
    *,
    clock: Clock | None = None,
) -> None:
    """Run until cancelled; ``ready`` is called once all listen.

    Raises:
        SourceError: an unknown venue, a capture of no use, a number out of its bounds.
        OSError: a port is taken, or not ours to take.
    """
    clock = clock if clock is not None else SystemClock()
    if not 0.001 <= options.scale <= 1000 or not 0.001 <= options.rate <= 10_000 or not options.speed > 0:
        raise SourceError("scale is from 0.001 to 1000, rate from 0.001 to 10000 trades/s, speed above 0")
    async with AsyncExitStack() as stack:
        addresses: list[ExchangeAddress] = []
        for number, (venue, market) in enumerate(_markets(options, clock)):
            faults = list(options.faults)
            if options.chaos:
                faults += plan(random.Random(f"{options.seed}/{venue.name}"), _PLAN_S)
            exchange = StandIn(
                venue,
                market,
                clock=clock,
                rng=random.Random(f"{options.seed}/{venue.name}/exchange"),
                faults=faults,
                pace=Pace(options.scale),
            )
            stack.push_async_callback(exchange.close)
            await exchange.start(
                options.host,
                options.port + number if options.port else 0,
                options.rest_port + number if options.rest_port else 0,
            )
            addresses.append(ExchangeAddress(venue.name, exchange.url, exchange.rest_url))
        if ready is not None:
            ready(addresses)
        await asyncio.Event().wait()


def _markets(options: ExchangeOptions, clock: Clock) -> list[tuple[Venue, Market]]:
    now_ns = clock.time_ns()
    names = list(options.venues)
    if options.capture is not None:
        found = _venue_in(options.capture)
        if names and names != [found.name]:
            raise SourceError(f"{options.capture} is of {found.name}, not of {', '.join(names)}")
        return [(found, RecordedMarket(found, options.capture, speed=options.speed))]
    unknown = [name for name in names if name not in VENUES]
    if unknown:
        raise SourceError(f"unknown venue {unknown[0]!r}; there are {', '.join(VENUES)}")
    return [
        (venue, GeneratedMarket(venue, options.seed, now_ns, rate=options.rate))
        for venue in (VENUES[name] for name in names or VENUES)
    ]


def _venue_in(path: Path) -> Venue:
    for item in islice(Recording(path), _LOOK_AT):
        if isinstance(item, Message) and (venue := venue_of(item.raw)) is not None:
            return venue
    if Recording(path).format == "kraken-rest":
        return VENUES["kraken"]
    raise SourceError(f"capture {path} holds no known venue's messages in its first {_LOOK_AT}")
