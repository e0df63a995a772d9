"""All six connectors against stand-ins that misbehave by a seeded plan, compared with what truly happened."""

from __future__ import annotations

import asyncio
import random
import time
from decimal import Decimal

from msgspec import Struct, structs

from omega_ai.core.clock import SystemClock
from omega_ai.data_feed.exchanges.base import Venue
from omega_ai.data_feed.exchanges.conversation import Patience
from omega_ai.data_feed.exchanges.detect import VENUES
from omega_ai.data_feed.exchanges.standin.exchange import Pace, StandIn
from omega_ai.data_feed.exchanges.standin.faults import KINDS, Fault, Kind, plan
from omega_ai.data_feed.exchanges.standin.market import GeneratedMarket
from omega_ai.data_feed.market import BtcPrice, MarketEvent, SourceStatus, Trade
from omega_ai.data_feed.price_index import IndexSettings, PriceIndex
from omega_ai.data_feed.sources.live import LiveSource

SETTLE_S = 4.0
QUOTE_AGE_S = 2.0
SLACK_S = 2.0
"""For a machine that has other things to do."""
_LOOK_EVERY_S = 0.05


class Trial(Struct, frozen=True, kw_only=True):
    """``scale`` shortens every time that a venue or we wait for; 1 is as in production."""

    seed: int
    duration_s: float
    scale: float = 0.1
    rate: float = 4.0
    kinds: tuple[Kind, ...] = KINDS
    venues: tuple[str, ...] = tuple(VENUES)
    pause_s: tuple[float, float] = (1.0, 3.0)
    fault_s: tuple[float, float] = (0.5, 3.0)


class VenueOutcome(Struct, kw_only=True):
    """What came of one venue. ``wrong`` is empty if it equals the truth.

    ``said`` holds losses that the venue's own list of recent trades was too short to fill (Bybit's has 60),
    and that were reported as such.
    """

    name: str
    wrong: list[str]
    said: list[str]
    happened: int
    received: int
    faults: dict[str, int]
    connections: int
    reconnects: int
    gaps: int
    refused: int
    slowest_recovery_s: float


class Outcome(Struct, kw_only=True):
    """What came of a trial."""

    venues: list[VenueOutcome]
    wrong: list[str]
    prices: int
    states: dict[str, int]
    cpu_s: float

    @property
    def problems(self) -> list[str]:
        """Everything in which the output differs from the truth, or from what was promised."""
        return self.wrong + [f"{venue.name}: {text}" for venue in self.venues for text in venue.wrong]


def patience(scale: float) -> Patience:
    """Production's patience, shortened."""
    usual = Patience()
    return Patience(
        connect_s=max(usual.connect_s * scale, 1.0),
        ack_s=max(usual.ack_s * scale, 1.0),
        stall_s=max(usual.stall_s * scale / 4, 1.5),
        line_age_s=usual.line_age_s * scale,
        backoff_first_s=usual.backoff_first_s * scale,
        backoff_most_s=usual.backoff_most_s * scale / 2,
        fill_delay_s=max(usual.fill_delay_s * scale, 0.1),
        fill_s=usual.fill_s,
        report_s=max(usual.report_s * scale, 0.1),
        tick_s=max(usual.tick_s * scale, 0.02),
    )


def quick(venue: Venue, scale: float) -> Venue:
    """``venue`` with all its times shortened, limits of the times included."""
    liveness, limits, rest = venue.liveness, venue.limits, venue.rest
    return structs.replace(
        venue,
        channels=tuple(
            structs.replace(
                channel,
                first_data_s=None if channel.first_data_s is None else max(channel.first_data_s * scale, 1.5),
            )
            for channel in venue.channels
        ),
        liveness=structs.replace(
            liveness,
            interval_s=liveness.interval_s * scale,
            ping_every_s=None if liveness.ping_every_s is None else liveness.ping_every_s * scale,
        ),
        limits=structs.replace(
            limits,
            connect_window_s=limits.connect_window_s * scale,
            messages_per_s=limits.messages_per_s / scale,
        ),
        rest=None if rest is None else structs.replace(rest, requests_per_s=rest.requests_per_s / scale),
    )


class _Watch:
    """Sees what the source gives out, and when."""

    def __init__(self, index: PriceIndex) -> None:
        self.index = index
        self.trades: dict[str, list[Trade]] = {}
        self.event_times: dict[str, list[float]] = {}
        self.statuses: dict[str, SourceStatus] = {}
        self.doubts: dict[str, int] = {}

    def emit(self, event: MarketEvent) -> None:
        self.index.update(event, time.time_ns())
        if isinstance(event, Trade):
            self.trades.setdefault(event.venue, []).append(event)
        times = self.event_times.setdefault(event.venue, [])
        now = time.monotonic()
        if not times or now - times[-1] > 0.02:
            times.append(now)

    def report(self, status: SourceStatus) -> None:
        previous = self.statuses.get(status.venue)
        self.statuses[status.venue] = status
        doubtful = "may be lost" in (status.detail or "")
        if doubtful and (previous is None or previous.detail != status.detail):
            self.doubts[status.venue] = self.doubts.get(status.venue, 0) + 1
        if previous is None or previous.state != status.state:
            self.index.venue_state(status.venue, status.state)


async def run(trial: Trial) -> Outcome:
    """Run a trial; it takes ``duration_s`` and a little."""
    clock = SystemClock()
    rng = random.Random(trial.seed)
    exchanges: dict[str, StandIn] = {}
    faults: dict[str, list[Fault]] = {}
    venues = [quick(VENUES[name], trial.scale) for name in trial.venues]
    for venue in venues:
        faults[venue.name] = plan(
            random.Random(f"{trial.seed}/{venue.name}"),
            trial.duration_s - SETTLE_S,
            kinds=trial.kinds,
            pause_s=trial.pause_s,
            duration_s=trial.fault_s,
        )
        market = GeneratedMarket(venue, trial.seed, clock.time_ns() - 3_000_000_000, rate=trial.rate)
        exchanges[venue.name] = StandIn(
            venue,
            market,
            clock=clock,
            rng=random.Random(rng.random()),
            faults=faults[venue.name],
            pace=Pace(trial.scale),
        )
    watch = _Watch(PriceIndex(IndexSettings(max_quote_age_s=QUOTE_AGE_S, max_spread=Decimal("0.01"))))
    wrong: list[str] = []
    states: dict[str, int] = {}
    prices = 0
    cpu = time.process_time()
    try:
        for exchange in exchanges.values():
            await exchange.start()
        source = LiveSource(
            venues,
            urls={name: exchange.url for name, exchange in exchanges.items()},
            rest_urls={name: exchange.rest_url for name, exchange in exchanges.items()},
            environment={},
            seed=trial.seed,
            patience=patience(trial.scale),
            clock=clock,
        )
        running = asyncio.create_task(source.run(watch.emit, watch.report))
        began = time.monotonic()
        while time.monotonic() - began < trial.duration_s and not running.done():
            await asyncio.sleep(_LOOK_EVERY_S)
            price = watch.index.compute(time.time_ns())
            if price is not None:
                prices += 1
                states[price.state] = states.get(price.state, 0) + 1
                wrong += _dead_but_used(price, exchanges, time.monotonic())
        if running.done():
            wrong.append(f"the source ended: {running.exception()!r}")
        waits = patience(trial.scale)
        within_s = waits.backoff_most_s + waits.ack_s + waits.connect_s + SLACK_S
        settled_ns = time.time_ns() - 500_000_000
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        outcomes = [
            _judge(exchange, faults[name], watch, settled_ns, within_s)
            for name, exchange in exchanges.items()
        ]
    finally:
        for exchange in exchanges.values():
            await exchange.close()
    return Outcome(
        venues=outcomes, wrong=wrong[:20], prices=prices, states=states, cpu_s=time.process_time() - cpu
    )


def _dead_but_used(price: BtcPrice, exchanges: dict[str, StandIn], now: float) -> list[str]:
    """Venues whose exchange has been silent beyond the age allowed, and that still have a part in the
    price."""
    return [
        f"{name} has part in a price {now - exchanges[name].spoke_at:.1f} s after its exchange last spoke"
        for name, source in price.sources.items()
        if source.used and name in exchanges and now - exchanges[name].spoke_at > QUOTE_AGE_S + 1.0
    ]


def _judge(
    exchange: StandIn, faults: list[Fault], watch: _Watch, settled_ns: int, within_s: float
) -> VenueOutcome:
    name = exchange.venue.name
    symbol = exchange.venue.symbol
    wrong = [f"the venue complains: {text}" for text in exchange.violations]
    said: list[str] = []
    received = [trade for trade in watch.trades.get(name, []) if trade.symbol == symbol]
    happened = [trade for trade in exchange.market.trades if trade.received_ns <= settled_ns]
    if not received:
        wrong.append("no trades at all")
    else:
        first, last = int(received[0].trade_id), int(happened[-1].trade_id)
        expected = [_essence(trade) for trade in happened if int(trade.trade_id) >= first]
        found = [_essence(trade) for trade in received if int(trade.trade_id) <= last]
        if found != expected:
            text, only_lost = _difference(expected, found)
            (said if only_lost and watch.doubts.get(name) else wrong).append(text)
    status = watch.statuses[name]
    recovery_s = _slowest_recovery(exchange, faults, watch.event_times.get(name, []))
    if recovery_s > within_s:
        wrong.append(
            f"nothing was heard for {recovery_s:.1f} s after a fault, instead of {within_s:.1f} s at most"
        )
    return VenueOutcome(
        name=name,
        wrong=wrong,
        said=said,
        happened=len(happened),
        received=len(received),
        faults={str(kind): count for kind, count in exchange.misbehaved.items()},
        connections=exchange.connections,
        reconnects=status.reconnects,
        gaps=status.gaps,
        refused=status.refused,
        slowest_recovery_s=recovery_s,
    )


_Essence = tuple[str, Decimal, Decimal, str | None]


def _essence(trade: Trade) -> _Essence:
    return trade.trade_id, trade.price, trade.size, trade.side


def _difference(expected: list[_Essence], found: list[_Essence]) -> tuple[str, bool]:
    """In words, and whether trades are missing and nothing else is wrong."""
    happened, came = set(expected), set(found)
    missing = [row[0] for row in expected if row not in came]
    extra = [row[0] for row in found if row not in happened]
    doubled = len(found) - len(came)
    ordered = found == sorted(found, key=lambda row: int(row[0]))
    text = (
        f"{len(missing)} lost {missing[:3]}, {len(extra)} made up {extra[:3]}, {doubled} doubled, "
        f"{'in' if ordered else 'not in'} order, of {len(expected)}"
    )
    return text, not extra and not doubled and ordered


def _slowest_recovery(exchange: StandIn, faults: list[Fault], times: list[float]) -> float:
    """The longest time from the end of a fault to the next thing heard of the venue, later faults left
    out."""
    spans = [
        (exchange.started + fault.start_s, exchange.started + fault.start_s + fault.duration_s)
        for fault in faults
    ]
    slowest = 0.0
    for number, (_, end) in enumerate(spans):
        after = next((at for at in times if at >= end), None)
        if after is not None:
            others = sum(max(min(stop, after) - start, 0.0) for start, stop in spans[number + 1 :])
            slowest = max(slowest, after - end - others)
    return slowest
