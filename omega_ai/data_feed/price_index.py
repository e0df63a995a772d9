"""Many venues, one price of BTC in US dollars, and why it can be trusted.

1. A venue is *eligible* if it is connected and live, its newest quote is young enough, its book is not
crossed
   and its spread is sane. Each one left out names its reason.
2. Its price is the middle of its best bid and ask. A venue that sends trades and no quotes (a recording of
   trades alone) stands with its last trade.
3. The median of these is the anchor; each venue is clamped to within 0.5 % of it (and says ``clamped``), so
that one wrong book moves
   the result by a fraction of that at most; the mean of the clamped ones is the price.

With three or more venues the price is ``live``. With two nobody can tell which of them is wrong, with one
nothing can be compared: ``degraded``. With none, the last price is repeated as ``stale``, with the ages of
its sources.

Dollars and Tether are two currencies. A venue that quotes in USDT takes part through the USDT/USD rate of
venues that quote it (their median), and says ``converted_from_usdt``; without such a rate it is left out, as
``no_usdt_rate``. The rate's own sources stand among the others as ``kraken:USDT-USD``.

The shape (median, clamp to 0.5 %, mean) is that of Deribit's index:
https://insights.deribit.com/exchange-updates/new-deribit-index/
"""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct, structs

from omega_ai.data_feed.market import (
    BtcPrice,
    MarketEvent,
    PriceState,
    Quote,
    SourcePrice,
    SourceState,
    Trade,
    Volume,
)

_NS_PER_S = 1_000_000_000
_ONE = Decimal(1)
_ZERO = Decimal(0)
_LEAST, _GREATEST = Decimal("0.1"), Decimal(1_000_000_000)


class IndexSettings(Struct, frozen=True):
    """What makes a venue eligible, and how the result is written.

    ``max_spread`` and ``clamp`` are fractions (0.005 is 0.5 %) of the price. ``assumed_usdt_rate`` is used
    for USDT venues when no venue quotes USDT/USD; such a venue then says ``assumed_usdt_rate``. None leaves
    them out, except in a simulated index, where 1 is assumed: a recording of one USDT venue has nothing to
    ask.
    """

    symbol: str = "BTC-USD"
    max_quote_age_s: float = 10.0
    max_trade_age_s: float = 60.0
    max_rate_age_s: float = 60.0
    max_spread: Decimal = Decimal("0.005")
    clamp: Decimal = Decimal("0.005")
    quantum: Decimal = Decimal("0.01")
    assumed_usdt_rate: Decimal | None = None


class _Market:
    """What one venue last said of one symbol. Times are of our clock."""

    __slots__ = (
        "fault",
        "half_spread",
        "last",
        "last_ns",
        "last_timestamp_ns",
        "of_old",
        "price",
        "quote",
        "quote_ns",
        "shown",
        "volume",
    )

    def __init__(self) -> None:
        self.quote: Quote | None = None
        self.quote_ns = 0
        # What follows from the quote alone. It is worked out once, not each time another venue has news.
        self.price: Decimal | None = None
        self.half_spread: Decimal | None = None
        self.fault: str | None = None
        self.shown: Decimal | None = None
        self.last: Decimal | None = None
        self.last_ns = 0
        self.last_timestamp_ns: int | None = None
        self.volume: Decimal | None = None
        self.of_old = False  # said on a connection that is gone

    def take_quote(self, quote: Quote, settings: IndexSettings) -> None:
        """The newest quote, and what follows from it."""
        self.quote = quote
        self.half_spread = half_spread = (quote.ask - quote.bid) / 2
        self.price = price = quote.bid + half_spread
        self.fault = None
        if half_spread < 0:
            self.fault = "crossed"
        elif half_spread * 2 > settings.max_spread * price:
            self.fault = "wide_spread"
        self.shown = price.quantize(settings.quantum) if _LEAST <= price <= _GREATEST else None


class _Part(Struct, frozen=True):
    """A venue's contribution, in the index's currency."""

    price: Decimal
    half_spread: Decimal | None
    timestamp_ns: int | None
    volume: Decimal | None


class PriceIndex:
    """Takes events and states as they come, and computes the price when asked. Pure: the time is an argument.

    A venue of which no state was told counts as live until one is. ``simulated`` marks every price.
    """

    def __init__(self, settings: IndexSettings | None = None, *, simulated: bool = False) -> None:
        self._settings = settings if settings is not None else IndexSettings()
        self._simulated = simulated
        base, _, quote = self._settings.symbol.partition("-")
        self._dollars = self._settings.symbol
        self._tethers = f"{base}-USDT"
        self._rate_symbol = f"USDT-{quote}"
        self._states: dict[str, SourceState] = {}
        self._markets: dict[tuple[str, str], _Market] = {}
        self._last: BtcPrice | None = None

    def update(self, event: MarketEvent, now_ns: int) -> bool:
        """Take one event at ``now_ns``; whether it can matter to the price at all.

        Its age counts from ``received_ns``: an event may have waited before it was let through.
        """
        if event.symbol not in (self._dollars, self._tethers, self._rate_symbol):
            return False
        key = (event.venue, event.symbol)
        market = self._markets.get(key)
        if market is None:
            market = self._markets[key] = _Market()
            self._states.setdefault(event.venue, "live")
        if isinstance(event, Quote):
            market.take_quote(event, self._settings)
            market.quote_ns = min(event.received_ns, now_ns)
            market.of_old = False
        elif isinstance(event, Trade):
            market.last = event.price
            market.last_ns = min(event.received_ns, now_ns)
            market.last_timestamp_ns = event.timestamp_ns
            if market.quote is not None:
                return False
            market.of_old = False
        elif isinstance(event, Volume):
            market.volume = event.volume
        return True

    def venue_state(self, venue: str, state: SourceState) -> None:
        """Take a venue's state. What it said on a connection that is gone does not count on the next one."""
        self._states[venue] = state
        if state in ("reconnecting", "stopped"):
            for symbol in (self._dollars, self._tethers, self._rate_symbol):
                if (market := self._markets.get((venue, symbol))) is not None:
                    market.of_old = True

    def compute(self, now_ns: int) -> BtcPrice | None:
        """The price at ``now_ns`` (nanoseconds since the Unix epoch), None before the first."""
        sources: dict[str, SourcePrice] = {}
        rate, converted = self._usdt_rate(now_ns, sources)
        parts: dict[str, _Part] = {}
        for venue in self._states:
            dollars = self._markets.get((venue, self._dollars))
            tethers = self._markets.get((venue, self._tethers))
            if dollars is None and tethers is not None:
                self._judge(venue, tethers, now_ns, rate, converted, parts, sources)
            elif dollars is not None or (venue, self._rate_symbol) not in self._markets:
                self._judge(venue, dollars, now_ns, _ONE, None, parts, sources)
        if not parts:
            return self._stale(sources)
        price = self._combine(parts, sources)
        self._last = price
        return price

    def _judge(
        self,
        venue: str,
        market: _Market | None,
        now_ns: int,
        rate: Decimal | None,
        converted: str | None,
        parts: dict[str, _Part],
        sources: dict[str, SourcePrice],
    ) -> None:
        """Put ``venue`` into ``parts`` and ``sources``, or into ``sources`` alone with the reason."""
        reason, price, half_spread, age_ns = self._look(venue, market, now_ns)
        age_ms = None if age_ns is None else age_ns // 1_000_000
        if reason is None and rate is None:
            reason, price = "no_usdt_rate", None
        if price is not None and rate is not None and rate is not _ONE:
            price *= rate
            half_spread = None if half_spread is None else half_spread * rate
        shown: Decimal | None = None
        if market is not None and price is not None and price is market.price and market.shown is not None:
            shown = market.shown
        elif price is not None and not _LEAST <= price <= _GREATEST:
            reason, price = "implausible", None
        elif price is not None:
            shown = price.quantize(self._settings.quantum)
        if reason is not None or price is None or market is None:
            sources[venue] = SourcePrice(False, shown, age_ms, reason)
            return
        sources[venue] = SourcePrice(True, shown, age_ms, converted)
        quote = market.quote
        timestamp_ns = market.last_timestamp_ns if quote is None else quote.timestamp_ns
        parts[venue] = _Part(price, half_spread, timestamp_ns, market.volume)

    def _look(
        self, venue: str, market: _Market | None, now_ns: int
    ) -> tuple[str | None, Decimal | None, Decimal | None, int | None]:
        """Why not (or None), middle price, half spread and age in ns of what one venue last said."""
        settings = self._settings
        state = self._states.get(venue, "live")
        price: Decimal | None = None
        half_spread: Decimal | None = None
        age_ns: int | None = None
        reason: str | None = "no_data"
        if market is not None and market.quote is not None:
            age_ns = now_ns - market.quote_ns
            if age_ns < 0:
                age_ns = 0
            half_spread = market.half_spread
            price = market.price
            reason = market.fault
            if reason is None and age_ns > settings.max_quote_age_s * _NS_PER_S:
                reason = "stale"
        elif market is not None and market.last is not None:
            # Venues repeat old trades upon a subscribe: what arrives now may have happened long ago.
            age_ns = max(now_ns - market.last_ns, now_ns - (market.last_timestamp_ns or 0), 0)
            price = market.last
            reason = "stale" if age_ns > settings.max_trade_age_s * _NS_PER_S else None
        if market is not None and market.of_old:
            reason = "no_data"
        if state == "stale":
            reason = "stale"
        elif state != "live":
            reason = "disconnected"
        return reason, price, half_spread, age_ns

    def _usdt_rate(self, now_ns: int, sources: dict[str, SourcePrice]) -> tuple[Decimal | None, str | None]:
        """Dollars for one USDT, and the word for how a converted venue came to it."""
        if not any(symbol == self._tethers for _, symbol in self._markets):
            return None, None
        rates: list[Decimal] = []
        for (venue, symbol), market in self._markets.items():
            if symbol != self._rate_symbol:
                continue
            reason, price, _, age_ns = self._look(venue, market, now_ns)
            if reason == "stale" and self._states.get(venue) == "live" and age_ns is not None:
                # Hours of calm are normal for this pair: it may be older than a price of BTC.
                reason = None if age_ns <= self._settings.max_rate_age_s * _NS_PER_S else "stale"
            age_ms = None if age_ns is None else age_ns // 1_000_000
            used = reason is None and price is not None
            sources[f"{venue}:{symbol}"] = SourcePrice(used, price, age_ms, reason)
            if used and price is not None:
                rates.append(price)
        if rates:
            return _median(rates), "converted_from_usdt"
        assumed = self._settings.assumed_usdt_rate
        if assumed is None and self._simulated:
            assumed = _ONE
        return assumed, "assumed_usdt_rate"

    def _combine(self, parts: dict[str, _Part], sources: dict[str, SourcePrice]) -> BtcPrice:
        prices = sorted([part.price for part in parts.values()])
        median = _middle(prices)
        reach = median * self._settings.clamp
        low, high = median - reach, median + reach
        if low <= prices[0] and prices[-1] <= high:
            total = sum(prices, _ZERO)
        else:
            total = _ZERO
            for venue, part in parts.items():
                clamped = min(max(part.price, low), high)
                if clamped != part.price:
                    sources[venue] = structs.replace(sources[venue], reason="clamped")
                total += clamped
        price = total / len(parts)
        halves = [part.half_spread for part in parts.values() if part.half_spread is not None]
        half = sum(halves, _ZERO) / len(halves) if halves else None
        volumes = [part.volume for part in parts.values() if part.volume is not None]
        times = [part.timestamp_ns for part in parts.values() if part.timestamp_ns is not None]
        state: PriceState = "live" if len(parts) >= 3 else "degraded"
        quantum = self._settings.quantum
        return BtcPrice(
            price=price.quantize(quantum),
            volume=sum(volumes, _ZERO) if volumes else None,
            bid=None if half is None else (price - half).quantize(quantum),
            ask=None if half is None else (price + half).quantize(quantum),
            source_timestamp_ns=max(times, default=None),
            sources=sources,
            state="simulated" if self._simulated else state,
            symbol=self._settings.symbol,
        )

    def _stale(self, sources: dict[str, SourcePrice]) -> BtcPrice | None:
        last = self._last
        if last is None:
            return None
        return BtcPrice(
            price=last.price,
            volume=last.volume,
            bid=None,
            ask=None,
            source_timestamp_ns=last.source_timestamp_ns,
            sources=sources,
            state="simulated" if self._simulated else "stale",
            symbol=last.symbol,
        )


def _median(values: list[Decimal]) -> Decimal:
    return _middle(sorted(values))


def _middle(ordered: list[Decimal]) -> Decimal:
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


class PublishPolicy:
    """When a price goes out: at once upon a change, but not sooner than ``min_interval_ms`` after the one
    before, and without any change after ``max_interval_ms``. Pure.

    A caller asks ``ready`` upon each event, before it computes; computes if so; and publishes if ``accept``
    says so. When nothing comes, it does the same at ``due_ns``.
    """

    def __init__(self, *, min_interval_ms: int = 50, max_interval_ms: int = 1000) -> None:
        if not 0 <= min_interval_ms <= max_interval_ms:
            raise ValueError(
                f"intervals must be 0 <= {min_interval_ms} (least) <= {max_interval_ms} (greatest) ms"
            )
        self._min_ns = min_interval_ms * 1_000_000
        self._max_ns = max_interval_ms * 1_000_000
        self._published_ns: int | None = None
        self._shown: tuple[object, ...] = ()
        self._pending = False

    def ready(self, now_ns: int) -> bool:
        """Something changed: may a price go out now? If not, it will be due at ``due_ns``."""
        if self._published_ns is None or not 0 <= now_ns - self._published_ns < self._min_ns:
            return True
        self._pending = True
        return False

    def accept(self, price: BtcPrice, now_ns: int) -> bool:
        """Whether to publish ``price`` now; if so, it counts as published."""
        shown = _shown(price)
        published_ns = self._published_ns
        self._pending = False
        if published_ns is not None and shown == self._shown and 0 <= now_ns - published_ns < self._max_ns:
            return False
        self._shown = shown
        self._published_ns = now_ns
        return True

    def due_ns(self, now_ns: int) -> int:
        """The time (ns) at which to compute and ``accept`` again, though no event may come until then."""
        if self._published_ns is None or now_ns < self._published_ns:
            return now_ns + self._max_ns
        return self._published_ns + (self._min_ns if self._pending else self._max_ns)


def _shown(price: BtcPrice) -> tuple[object, ...]:
    """What makes a price a different one. Ages always differ, and are not among it."""
    parts = tuple((name, source.used, source.reason) for name, source in price.sources.items())
    return (price.price, price.bid, price.ask, price.volume, price.state, parts)
