"""The consolidated price holds its promises whatever the venues say."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from omega_ai.data_feed.market import Quote, Trade
from omega_ai.data_feed.price_index import PriceIndex

SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND

PRICES = st.decimals(min_value="0.01", max_value="1000000", places=2)
VENUES = st.sampled_from("abcdef")
SYMBOLS = st.sampled_from(["BTC-USD", "BTC-USDT", "USDT-USD"])
STEPS = st.lists(
    st.tuples(st.just("quote"), VENUES, SYMBOLS, PRICES, PRICES)
    | st.tuples(st.just("near"), VENUES, SYMBOLS, st.integers(0, 300), st.integers(0, 300))
    | st.tuples(st.just("trade"), VENUES, SYMBOLS, PRICES, PRICES)
    | st.tuples(
        st.just("state"),
        VENUES,
        st.sampled_from(["connecting", "live", "stale", "reconnecting", "stopped"]),
        st.none(),
        st.none(),
    )
    | st.tuples(st.just("wait"), st.integers(0, 15), st.none(), st.none(), st.none()),
    max_size=40,
)


@given(STEPS, st.booleans())
def test_every_price_is_explained_and_lies_among_its_sources(steps, simulated):
    """Between the least and the greatest price used; its state agrees with how many were used; reasons are
    given."""
    index = PriceIndex(simulated=simulated)
    now_ns = NOW
    states: dict[str, str] = {}
    for kind, *rest in steps:
        if kind == "wait":
            now_ns += rest[0] * SECOND
        elif kind == "state":
            states[rest[0]] = rest[1]
            index.venue_state(rest[0], rest[1])
        elif kind == "trade":
            venue, symbol, price, _ = rest
            index.update(Trade(venue, symbol, "1", price, Decimal(1), "buy", now_ns, now_ns), now_ns)
        else:
            venue, symbol, bid, ask = rest
            if kind == "near":
                base = Decimal("0.99") if symbol == "USDT-USD" else Decimal(60_000)
                step = base / 100_000
                bid, ask = base + bid * step, base + (bid + ask) * step
            index.update(Quote(venue, symbol, bid, None, ask, None, None, now_ns), now_ns)
        price = index.compute(now_ns)
        if price is None:
            continue
        used = {name: source for name, source in price.sources.items() if source.used and ":" not in name}
        for name, source in price.sources.items():
            assert source.used or source.reason is not None
            venue = name.partition(":")[0]
            assert not source.used or states.get(venue, "live") == "live"
            assert not source.used or (source.age_ms is not None and source.age_ms <= 60_000)
        if simulated:
            assert price.state == "simulated"
        elif used:
            assert price.state == ("live" if len(used) >= 3 else "degraded")
        else:
            assert price.state == "stale"
        if used:
            prices = [source.price for source in used.values() if source.price is not None]
            assert len(prices) == len(used)
            assert min(prices) <= price.price <= max(prices)
        if price.bid is not None and price.ask is not None:
            assert price.bid <= price.price <= price.ask
