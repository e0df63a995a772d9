"""The consolidated price: who takes part, what comes out, and what is said about it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from omega_ai.data_feed.market import Quote, Trade, Volume
from omega_ai.data_feed.price_index import IndexSettings, PriceIndex, PublishPolicy

SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND
MS = 1_000_000


def quote(
    venue: str, bid: str, ask: str, symbol: str = "BTC-USD", at_ns: int | None = None, received_ns: int = NOW
) -> Quote:
    return Quote(venue, symbol, Decimal(bid), Decimal(1), Decimal(ask), Decimal(1), at_ns, received_ns)


def trade(venue: str, price: str, symbol: str = "BTC-USD") -> Trade:
    return Trade(venue, symbol, "1", Decimal(price), Decimal(1), "buy", NOW - 5, NOW)


def index_of(*events, at_ns: int = NOW, simulated: bool = False, **settings) -> PriceIndex:
    index = PriceIndex(IndexSettings(**settings), simulated=simulated)
    for event in events:
        index.update(event, at_ns)
    return index


THREE = (quote("a", "99.00", "101.00"), quote("b", "100.00", "102.00"), quote("c", "100.50", "101.50"))
WIDE = {"max_spread": Decimal("0.05"), "clamp": Decimal("0.05")}


def test_the_price_is_the_mean_of_the_venues_middles():
    """With three venues it is live; bid and ask lie around it by the mean half spread."""
    price = index_of(*THREE, **WIDE).compute(NOW)
    assert price is not None
    assert price.price == Decimal("100.67")
    assert (price.bid, price.ask) == (Decimal("99.83"), Decimal("101.50"))
    assert price.state == "live"
    assert price.symbol == "BTC-USD"
    assert {name: source.used for name, source in price.sources.items()} == {"a": True, "b": True, "c": True}
    assert price.sources["a"].price == Decimal("100.00")


def test_one_wrong_book_moves_the_price_by_a_fraction_of_the_clamp_at_most():
    """Each venue is held to within 0.5 % of the median, and it says so."""
    books = [quote(name, "999.9", "1000.1") for name in "abcd"]
    price = index_of(*books, quote("mad", "4999", "5001")).compute(NOW)
    assert price is not None
    assert price.price == Decimal("1001.00")  # (4 * 1000 + 1005) / 5
    assert price.sources["mad"].reason == "clamped"
    assert price.sources["mad"].used
    assert price.sources["mad"].price == Decimal("5000.00")


@pytest.mark.parametrize(("venues", "state"), [(1, "degraded"), (2, "degraded"), (3, "live")])
def test_the_state_says_how_much_can_be_compared(venues, state):
    """Of two that differ nobody knows which is wrong."""
    price = index_of(*THREE[:venues], **WIDE).compute(NOW)
    assert price is not None
    assert price.state == state


def test_before_the_first_price_there_is_none():
    """Not a zero."""
    index = PriceIndex()
    assert index.compute(NOW) is None
    index.venue_state("a", "connecting")
    assert index.compute(NOW) is None


def test_an_event_that_waited_is_as_old_as_it_is():
    """A connection's first data may be kept back until it takes over; that does not make it fresh."""
    index = PriceIndex()
    index.update(quote("a", "100", "100.1"), NOW + 8 * SECOND)
    price = index.compute(NOW + 8 * SECOND)
    assert price is not None
    assert price.sources["a"].age_ms == 8000
    later = index.compute(NOW + 11 * SECOND)
    assert later is not None
    assert later.state == "stale"


def test_a_trade_repeated_by_a_venue_is_as_old_as_it_says():
    """Upon a subscribe a venue sends trades of minutes ago; they are no price of now."""
    old = Trade("a", "BTC-USD", "1", Decimal(100), Decimal(1), "buy", NOW - 61 * SECOND, NOW)
    assert index_of(old).compute(NOW) is None


def test_without_venues_the_last_price_is_stale_and_its_age_stands_there():
    """Never a price that looks alive."""
    index = index_of(*THREE, **WIDE)
    index.compute(NOW)
    later = index.compute(NOW + 11 * SECOND)
    assert later is not None
    assert later.state == "stale"
    assert later.price == Decimal("100.67")
    assert (later.bid, later.ask) == (None, None)
    assert {(source.used, source.reason, source.age_ms) for source in later.sources.values()} == {
        (False, "stale", 11_000)
    }


@pytest.mark.parametrize(
    ("event", "state", "reason"),
    [
        (quote("x", "101", "99"), "live", "crossed"),
        (quote("x", "90", "110"), "live", "wide_spread"),
        (quote("x", "100", "100.1"), "stale", "stale"),
        (quote("x", "100", "100.1"), "connecting", "disconnected"),
        (quote("x", "100", "100.1"), "reconnecting", "disconnected"),
        (quote("x", "100", "100.1"), "stopped", "disconnected"),
        (quote("x", "1e-9", "1.001e-9"), "live", "implausible"),
        (Volume("x", "BTC-USD", Decimal(5), None, NOW), "live", "no_data"),
        (quote("x", "100", "100.1", symbol="BTC-USDT"), "live", "no_usdt_rate"),
        (None, "connecting", "disconnected"),
    ],
)
def test_each_exclusion_names_its_reason(event, state, reason):
    """And the rest goes on without it."""
    index = index_of(*THREE, max_spread=Decimal("0.03"), clamp=Decimal("0.05"))
    if event is not None:
        index.update(event, NOW)
    index.venue_state("x", state)
    price = index.compute(NOW)
    assert price is not None
    assert price.price == Decimal("100.67")
    assert (price.sources["x"].used, price.sources["x"].reason) == (False, reason)


def test_a_book_from_before_a_reconnect_does_not_count():
    """A venue that is back must speak before it is believed."""
    index = index_of(*THREE, **WIDE)
    index.venue_state("a", "reconnecting")
    index.venue_state("a", "live")
    price = index.compute(NOW + 1)
    assert price is not None
    assert price.sources["a"].reason == "no_data"
    index.update(THREE[0], NOW + 2)
    price = index.compute(NOW + 2)
    assert price is not None
    assert price.sources["a"].used


def test_tether_is_converted_at_the_rate_of_those_who_quote_it():
    """The rate's sources stand in the message, and the venue says how it came to its price."""
    books = (quote("t", "1000.0", "1000.2", symbol="BTC-USDT"), quote("a", "999.0", "999.2"))
    rates = (
        quote("a", "0.9989", "0.9991", symbol="USDT-USD"),
        quote("k", "0.9989", "0.9991", symbol="USDT-USD"),
    )
    price = index_of(*books, *rates).compute(NOW)
    assert price is not None
    assert price.sources["t"].price == Decimal("999.10")
    assert price.sources["t"].reason == "converted_from_usdt"
    assert price.sources["k:USDT-USD"].price == Decimal("0.9990")
    assert price.price == Decimal("999.10")
    assert price.state == "degraded"
    assert "k" not in price.sources  # it quotes no BTC at all, and is not asked for it


def test_an_old_tether_rate_is_none():
    """A minute is allowed: the pair may be calm. Its venue being away is not."""
    index = index_of(quote("k", "0.9989", "0.9991", symbol="USDT-USD"))
    for seconds, state, reason in ((59, "live", "converted_from_usdt"), (61, "live", "no_usdt_rate")):
        now_ns = NOW + seconds * SECOND
        index.venue_state("k", state)
        index.update(quote("t", "1000.0", "1000.2", symbol="BTC-USDT", received_ns=now_ns), now_ns)
        price = index.compute(now_ns)
        assert price is not None
        assert price.sources["t"].reason == reason


def test_tether_is_taken_for_a_dollar_only_when_told_to_or_simulated():
    """And then the source says ``assumed_usdt_rate``."""
    book = quote("t", "1000.0", "1000.2", symbol="BTC-USDT")
    assert index_of(book).compute(NOW) is None
    told = index_of(book, assumed_usdt_rate=Decimal("0.5")).compute(NOW)
    replayed = index_of(book, simulated=True).compute(NOW)
    assert told is not None
    assert replayed is not None
    assert told.price == Decimal("500.05")
    assert replayed.price == Decimal("1000.10")
    assert told.sources["t"].reason == replayed.sources["t"].reason == "assumed_usdt_rate"


def test_a_venue_without_quotes_stands_with_its_last_trade():
    """A recording of trades alone still gives a price; it has no bid and ask."""
    index = index_of(trade("a", "100.123"))
    price = index.compute(NOW + 59 * SECOND)
    assert price is not None
    assert (price.price, price.bid, price.ask) == (Decimal("100.12"), None, None)
    assert price.source_timestamp_ns == NOW - 5
    later = index.compute(NOW + 61 * SECOND)
    assert later is not None
    assert later.state == "stale"


def test_once_a_venue_quotes_its_trades_no_longer_set_its_price():
    """A trade is one side of the book."""
    index = index_of(quote("a", "100", "100.2"))
    assert not index.update(trade("a", "90"), NOW)
    price = index.compute(NOW)
    assert price is not None
    assert price.price == Decimal("100.10")


def test_volume_and_time_come_from_the_venues_used():
    """Volumes are summed, the newest time counts; one left out adds nothing."""
    volumes = [
        Volume(venue, "BTC-USD", Decimal(amount), None, NOW)
        for venue, amount in (("a", 5), ("b", 7), ("c", 11))
    ]
    books = (
        quote("a", "99", "99.1", at_ns=NOW - 50),
        quote("b", "99", "99.1", at_ns=NOW - 20),
        quote("c", "99", "98", at_ns=NOW - 1),
    )
    price = index_of(*volumes, *books).compute(NOW)
    assert price is not None
    assert price.volume == Decimal(12)
    assert price.source_timestamp_ns == NOW - 20


def test_volume_is_unknown_rather_than_zero():
    """Nobody told."""
    price = index_of(*THREE, **WIDE).compute(NOW)
    assert price is not None
    assert price.volume is None


def test_a_simulated_index_says_so_in_every_state():
    """Also when its source is over."""
    index = index_of(*THREE, simulated=True, **WIDE)
    first, later = index.compute(NOW), index.compute(NOW + 99 * SECOND)
    assert first is not None
    assert later is not None
    assert first.state == later.state == "simulated"
    assert not any(source.used for source in later.sources.values())


def test_other_symbols_do_not_matter():
    """ETH is no BTC."""
    index = PriceIndex()
    assert not index.update(quote("a", "1", "2", symbol="ETH-USD"), NOW)
    assert index.compute(NOW) is None


def price_of(amount: str):
    price = index_of(quote("a", amount, amount)).compute(NOW)
    assert price is not None
    return price


def test_a_change_is_published_at_once_and_then_not_too_often():
    """Between two there is the least interval; what changed within it goes out at its end."""
    policy = PublishPolicy(min_interval_ms=50, max_interval_ms=1000)
    assert policy.ready(NOW)
    assert policy.accept(price_of("100"), NOW)
    assert policy.due_ns(NOW) == NOW + 1000 * MS
    assert not policy.ready(NOW + 49 * MS)
    assert policy.due_ns(NOW + 49 * MS) == NOW + 50 * MS
    assert policy.ready(NOW + 50 * MS)
    assert policy.accept(price_of("101"), NOW + 50 * MS)


def test_the_same_price_is_repeated_each_second_only():
    """A heartbeat of its own: silence means trouble, not calm."""
    policy = PublishPolicy(min_interval_ms=0, max_interval_ms=1000)
    assert policy.accept(price_of("100"), NOW)
    assert not policy.accept(price_of("100"), NOW + 999 * MS)
    assert policy.accept(price_of("100"), NOW + 1000 * MS)


def test_a_clock_that_was_set_back_does_not_silence_it():
    """Time stamps may jump; prices go on."""
    policy = PublishPolicy(min_interval_ms=50, max_interval_ms=1000)
    policy.accept(price_of("100"), NOW)
    earlier = NOW - 3600 * SECOND
    assert policy.ready(earlier)
    assert policy.due_ns(earlier) == earlier + 1000 * MS
    assert policy.accept(price_of("100"), earlier)


@pytest.mark.parametrize(("least", "greatest"), [(-1, 10), (20, 10)])
def test_intervals_must_be_in_order(least, greatest):
    """A policy that can never publish is a mistake."""
    with pytest.raises(ValueError, match="intervals must be"):
        PublishPolicy(min_interval_ms=least, max_interval_ms=greatest)
