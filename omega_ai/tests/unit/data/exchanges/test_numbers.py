"""Numbers, times and symbols from outside."""

from __future__ import annotations

from decimal import Decimal

import pytest

from omega_ai.data_feed.exchanges.numbers import (
    exact,
    not_negative,
    positive,
    refusing,
    symbol_of_joined,
    symbol_of_slashed,
    utc_ns,
)


def test_digits_are_kept():
    """Trailing zeros included."""
    assert str(exact("61800.1000")) == "61800.1000"
    assert not_negative(Decimal("0.000")) == 0


@pytest.mark.parametrize(
    "text", ["0", "-1", "NaN", "sNaN", "Infinity", "1e19", "1e-19", "1" * 35, "1_0", "", "x", "\u0661"]
)
def test_what_is_no_amount_is_refused(text):
    """With an error that the parsers' guard turns into a refusal."""
    with pytest.raises((ValueError, ArithmeticError)):
        exact(text)


def test_more_digits_than_are_kept_are_refused_rather_than_rounded():
    """35 digits do not silently become 34."""
    with pytest.raises(ValueError, match="out of bounds"):
        positive(Decimal("1." + "1" * 34))


@pytest.mark.parametrize(
    "text", ["2008-12-31T23:59:59Z", "2100-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "now"]
)
def test_times_outside_the_age_of_bitcoin_are_refused(text):
    """A time that overflows is as wrong as one that is none."""
    with pytest.raises(ValueError, match=r"time|range|format"):
        utc_ns(text)


@pytest.mark.parametrize(
    ("joined", "symbol"),
    [
        ("BTCUSDT", "BTC-USDT"),
        ("btcusd", "BTC-USD"),
        ("XBTUSDT", "BTC-USDT"),
        ("USDTUSD", "USDT-USD"),
        ("WHAT", "WHAT"),
    ],
)
def test_joined_symbols(joined, symbol):
    """One spelling for all venues."""
    assert symbol_of_joined(joined) == symbol


def test_slashed_symbols():
    """Kraken's own name for Bitcoin included."""
    assert symbol_of_slashed("BTC/USD") == symbol_of_slashed("XBT/USD") == "BTC-USD"


def test_only_trouble_with_the_data_is_turned_into_a_refusal():
    """A defect of ours must stay visible."""

    @refusing
    def broken(raw: bytes, received_ns: int):
        raise TypeError("a defect")

    with pytest.raises(TypeError, match="a defect"):
        broken(b"", 0)
