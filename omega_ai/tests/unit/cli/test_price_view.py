"""What is said about a price that is being watched."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from omega_ai.cli.price_view import SILENCE, PriceView, format_number
from omega_ai.client import Connected, Disconnected, Gap, Heartbeat, NotRecovered, Position, Price, Recovered
from omega_ai.client.messages import Candle, Source

URL = "ws://localhost:8765"
PUBLISHED = datetime(2026, 11, 23, 7, 45, 1, 123456, tzinfo=UTC)
PUBLISHED_NS = 1_795_419_901_123_456_000


def price(amount: str = "61800.01", *, state: str = "live", seq: int = 1) -> Price:
    """A price as it comes from the wire."""
    return Price(
        epoch="k3zq7m2p",
        seq=seq,
        symbol="BTC-USD",
        price=Decimal(amount),
        volume=Decimal("12.5"),
        bid=Decimal("61799.91"),
        ask=None,
        timestamp=PUBLISHED,
        source_timestamp=None,
        sources={"coinbase": Source(used=True, price=Decimal("61800.01"), age_ms=3)},
        state=state,
    )


def connected(view: PriceView, now: float = 0.0) -> None:
    """Make the view's first connection."""
    view.take(Connected(url=URL, attempt=1, first=True), now=now, utc_ns=PUBLISHED_NS)


def test_a_live_price_carries_no_warning() -> None:
    """Connected, a price, and the server speaks: nothing to say."""
    view = PriceView(URL)
    assert view.warning(0.0) == "not connected yet"
    connected(view)
    assert view.warning(0.0) == "no price yet"
    view.take(price(), now=1.0, utc_ns=PUBLISHED_NS)
    assert view.warning(1.0) is None
    assert view.age(1.5) == pytest.approx(0.5)


def test_direction_is_that_of_the_last_change() -> None:
    """The same price again does not turn the arrow."""
    view = PriceView(URL)
    directions = []
    for amount in ("10", "11", "11", "9"):
        view.take(price(amount), now=0.0, utc_ns=PUBLISHED_NS)
        directions.append(view.direction)
    assert directions == [0, 1, 1, -1]


@pytest.mark.parametrize(
    ("state", "word"),
    [("simulated", "SIMULATED"), ("stale", "STALE"), ("degraded", "DEGRADED"), ("odd", "odd")],
)
def test_a_price_that_is_not_live_is_never_shown_without_saying_so(state: str, word: str) -> None:
    """A state of a later version is shown as it is called."""
    view = PriceView(URL)
    connected(view)
    said = view.take(price(state=state), now=0.0, utc_ns=PUBLISHED_NS)
    assert said is not None
    assert word in said
    assert word in str(view.warning(0.0))
    assert view.take(price(state=state), now=0.0, utc_ns=PUBLISHED_NS) is None, "said once"
    assert view.take(price(), now=0.0, utc_ns=PUBLISHED_NS) == "the price is live"


def test_a_silent_server_is_told() -> None:
    """A heartbeat each second is the sign of life; a price counts as one."""
    view = PriceView(URL)
    connected(view)
    view.take(price(), now=0.0, utc_ns=PUBLISHED_NS)
    view.take(Heartbeat(timestamp=PUBLISHED, channels={}), now=2.0, utc_ns=PUBLISHED_NS)
    assert view.warning(2.0 + SILENCE) is None
    assert view.warning(2.1 + SILENCE) == "the server has been silent for 3 s"


def test_a_cut_is_told_with_the_next_attempt() -> None:
    """And the old price is not taken for the present one meanwhile."""
    view = PriceView(URL)
    connected(view)
    view.take(price(), now=0.0, utc_ns=PUBLISHED_NS)
    view.take(Disconnected(code=1006, reason="", retry_in=0.4), now=1.0, utc_ns=PUBLISHED_NS)
    assert view.warning(1.0) == "not connected (code 1006), trying again in 0.4 s"
    view.take(Connected(url=URL, attempt=2, first=False), now=2.0, utc_ns=PUBLISHED_NS)
    assert view.warning(2.0) is None
    assert view.reconnects == 1
    view.take(Disconnected(code=4500, reason="bad token", retry_in=None), now=3.0, utc_ns=PUBLISHED_NS)
    assert view.warning(3.0) == "not connected (bad token), giving up"


def test_losses_and_doubts_are_counted() -> None:
    """What is proven lost, and what could not be proven whole; recoveries elsewhere are not worth a line."""
    view = PriceView(URL)
    gap = Gap(channel="btc_price", epoch="k3zq7m2p", first=4, last=6)
    assert "3 messages lost" in str(view.take(gap, now=0.0, utc_ns=0))
    doubt = NotRecovered("btc_price", Position("k3zq7m2p", 6), Position("a2b3c4d5", 1))
    assert "cannot be recovered" in str(view.take(doubt, now=0.0, utc_ns=0))
    assert (view.lost, view.doubts) == (3, 1)
    whole = Recovered("btc_price", Position("k3zq7m2p", 6))
    assert "nothing was missed" in str(view.take(whole, now=0.0, utc_ns=0))
    assert view.take(Recovered("status", Position("k3zq7m2p", 6)), now=0.0, utc_ns=0) is None


def test_delay_is_the_median_from_publication_to_arrival() -> None:
    """One late message does not move it."""
    view = PriceView(URL)
    assert view.delay is None
    for milliseconds in (2, 3, 900):
        view.take(price(), now=0.0, utc_ns=PUBLISHED_NS + milliseconds * 1_000_000)
    assert view.delay == pytest.approx(0.003, abs=1e-6)


def test_what_is_not_known_is_passed_over() -> None:
    """A later version may send more."""
    assert PriceView(URL).take(timedelta(), now=0.0, utc_ns=0) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (Decimal("61800.01"), "61,800.01"),
        (Decimal("0.00000001"), "0.00000001"),
        (Decimal("1E+3"), "1,000"),
    ],
)
def test_numbers_keep_their_digits(value: Decimal | None, text: str) -> None:
    """No exponent, no rounding."""
    assert format_number(value) == text


def test_a_price_that_none_follows_is_said_to_be_old() -> None:
    """Though the connection stands and beats: after five seconds the last price is not the price now."""
    view = PriceView(URL)
    connected(view)
    view.take(price(), now=1.0, utc_ns=PUBLISHED_NS)
    for second in range(2, 8):
        beat = Heartbeat(timestamp=PUBLISHED, channels={})
        view.take(beat, now=float(second), utc_ns=PUBLISHED_NS)
    assert view.warning(5.9) is None
    assert view.warning(7.0) == "no price for 6 s: this is the last one known"


def test_made_up_prices_and_those_of_a_market_are_not_in_one_chart() -> None:
    """When the simulation ends, the chart begins anew; a stale price that is repeated is no new one."""
    view = PriceView(URL)
    second = PUBLISHED_NS // 1_000_000_000
    view.take(price("100", state="simulated"), now=1.0, utc_ns=PUBLISHED_NS)
    view.take_candle(candle("90", simulated=True, start=PUBLISHED - timedelta(seconds=2)))
    view.take_candle(candle("60000", simulated=False, start=PUBLISHED - timedelta(seconds=2)))
    assert view.trail.columns(second, 4, 4) == [None, 90.0, 90.0, 100.0]
    view.take(price("61000", seq=2), now=2.0, utc_ns=PUBLISHED_NS)
    assert view.trail.columns(second, 4, 4) == [None, 60000.0, 60000.0, 61000.0]
    view.take(price("61000", seq=3, state="stale"), now=3.0, utc_ns=PUBLISHED_NS + 5_000_000_000)
    assert view.trail.columns(second + 5, 4, 4) == [None] * 4


def test_the_pace_is_that_of_the_last_ten_seconds() -> None:
    """None before there were two prices."""
    view = PriceView(URL)
    view.take(price(), now=0.0, utc_ns=PUBLISHED_NS)
    assert view.rate(0.0) is None
    for step in range(1, 41):
        view.take(price(seq=step), now=step / 2, utc_ns=PUBLISHED_NS)
    assert view.rate(20.0) == pytest.approx(2.1)
    assert view.rate(100.0) is None


def candle(close: str, *, simulated: bool, start: datetime) -> Candle:
    """A finished second that ended at ``close``."""
    value = Decimal(close)
    return Candle(
        epoch="k3zq7m2p",
        seq=1,
        symbol="BTC-USD",
        interval="1s",
        start=start,
        open=value,
        high=value,
        low=value,
        close=value,
        volume=value,
        trades=1,
        final=True,
        simulated=simulated,
    )
