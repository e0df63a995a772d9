"""Numbers, times and symbols from outside: kept exact, and bounded before anything calculates with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Context, Decimal
from functools import lru_cache, wraps
from typing import Annotated

import msgspec

from omega_ai.core.timestamps import parse_utc
from omega_ai.data_feed.exchanges.events import Event, Unparseable

# Wide enough for any price or size of a coin, narrow enough that a number's text stays short:
# Decimal("1e999999") is a legal number whose text has a million digits.
_SMALLEST = Decimal("1e-18")
_LARGEST = Decimal("1e18")
_ZERO = Decimal(0)
_cut = Context(prec=34).plus

_YEAR_2009_S = 1_230_768_000
_YEAR_2100_S = 4_102_444_800

Milliseconds = Annotated[int, msgspec.Meta(ge=_YEAR_2009_S * 1000, lt=_YEAR_2100_S * 1000)]
"""A time in milliseconds since the Unix epoch, between Bitcoin's first block and the year 2100."""

Identifier = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A venue's number for a trade, an update or a message."""

Text = Annotated[str, msgspec.Meta(max_length=64)]
"""A name: symbol, channel, side, identifier."""


class OutOfBounds(ValueError):
    """A number, time or name that no venue would send in earnest."""


def positive(value: Decimal) -> Decimal:
    """Return ``value`` if it is finite, from 1e-18 to 1e18, with at most 34 digits.

    Raises:
        OutOfBounds: it is not.
        ArithmeticError: it is not a number (comparing a NaN raises).
    """
    if _SMALLEST <= value <= _LARGEST and (short := _cut(value)) == value:
        return short
    raise OutOfBounds("number not positive, or out of bounds")


def not_negative(value: Decimal) -> Decimal:
    """As ``positive``, and 0 (a level that was taken away, a volume before the first trade)."""
    return _ZERO if value == 0 else positive(value)


def plain(text: str) -> Decimal:
    """A number from its text, of which nothing is known yet but that it is short and plain.

    Raises:
        OutOfBounds, ArithmeticError: not a number, longer than 40 characters, or with underscores.
    """
    if len(text) > 40 or not text.isascii() or "_" in text:
        raise OutOfBounds("number too long or not plain")
    return Decimal(text)


def exact(text: str) -> Decimal:
    """``positive(plain(text))``."""
    return positive(plain(text))


def number_text(text: str) -> str:
    """Return ``text`` if it is a whole number in digits, as most venues' trade ids are.

    Raises:
        OutOfBounds: it is not.
    """
    if text.isascii() and text.isdigit():
        return text
    raise OutOfBounds("trade id is no number")


def utc_ns(text: str) -> int:
    """An ISO 8601 time to nanoseconds since the Unix epoch.

    Raises:
        ValueError: not a time, or not between 2009 and 2100.
    """
    try:
        ns = parse_utc(text)
    except OverflowError as error:
        raise OutOfBounds("time out of bounds") from error
    return seconds_in_bounds(ns)


def seconds_in_bounds(ns: int) -> int:
    """Return ``ns`` (nanoseconds since the Unix epoch) if it lies between 2009 and 2100.

    Raises:
        OutOfBounds: it does not.
    """
    if _YEAR_2009_S * 1_000_000_000 <= ns < _YEAR_2100_S * 1_000_000_000:
        return ns
    raise OutOfBounds("time out of bounds")


_QUOTE_CURRENCIES = ("USDT", "USDC", "USD", "EUR", "GBP", "BTC")


@lru_cache(maxsize=1024)
def symbol_of_joined(joined: str) -> str:
    """``BTCUSDT`` or ``btcusd`` -> ``BTC-USDT``, ``BTC-USD``. An unknown pair stays as it is, in capitals."""
    upper = joined.upper()
    for quote in _QUOTE_CURRENCIES:
        base = upper.removesuffix(quote)
        if base and base != upper:
            return f"{'BTC' if base in ('XBT', 'XXBT') else base}-{quote}"
    return upper


@lru_cache(maxsize=1024)
def symbol_of_slashed(slashed: str) -> str:
    """``BTC/USD`` (or ``XBT/USD``) -> ``BTC-USD``."""
    return slashed.upper().replace("XBT/", "BTC/").replace("/", "-")


Parse = Callable[[bytes, int], Sequence[Event]]
"""``parse(raw, received_ns)``: one message, as the venue framed it, to events. Pure, and never raises."""


def refusing(parse: Parse) -> Parse:
    """Turn what decoding may raise into one ``Unparseable``: a message is data, and bad data is no
    exception."""

    @wraps(parse)
    def guarded(raw: bytes, received_ns: int) -> Sequence[Event]:
        try:
            return parse(raw, received_ns)
        except (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError) as error:
            return (unparseable(raw, str(error)),)

    return guarded


def unparseable(raw: bytes, reason: str) -> Unparseable:
    """A refusal with enough of the message to recognise it by, and no more."""
    return Unparseable(reason[:200], raw[:160].decode("utf-8", "replace"))
