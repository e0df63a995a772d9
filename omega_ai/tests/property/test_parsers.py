"""Whatever a venue sends, a parser answers with events or with a counted refusal, never with an exception."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega_ai.core.timestamps import format_utc
from omega_ai.data_feed.exchanges import events as event_types
from omega_ai.data_feed.exchanges.detect import VENUES, venue_of
from omega_ai.data_feed.exchanges.events import AggregateTrade, BookChange, TradeSnapshot
from omega_ai.data_feed.market import Quote, Trade, Volume
from omega_ai.tests.property.venue_messages import DOCUMENTED, REST

NOW = 1_700_000_000_000_000_000
KNOWN = (*(kind for kind in vars(event_types).values() if isinstance(kind, type)), Trade, Quote, Volume)

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["NaN", "-Infinity", "1e999999", "-0", "", "buy", "trade", "2026-01-02T03:04:05Z", 10**30]
    )
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def sane(amount: Decimal | None, *, zero: bool = False) -> bool:
    return amount is None or (
        amount.is_finite() and len(str(amount)) < 60 and (amount > 0 or (zero and amount == 0))
    )


def check(found) -> None:
    """What any answer must be: known events, with numbers that may be calculated with and times that have a
    text."""
    assert len(found) < 10_000
    for event in found:
        assert isinstance(event, KNOWN)
        trades = event.trades if isinstance(event, TradeSnapshot) else ()
        trades = (event.trade,) if isinstance(event, AggregateTrade) else trades
        for trade in (*trades, *((event,) if isinstance(event, Trade) else ())):
            assert sane(trade.price)
            assert sane(trade.size)
            assert trade.side in ("buy", "sell", None)
            assert format_utc(trade.timestamp_ns) > "2008-"
            assert len(trade.trade_id) <= 64
        if isinstance(event, Quote):
            assert sane(event.bid)
            assert sane(event.ask)
            assert sane(event.bid_size, zero=True)
            assert sane(event.ask_size, zero=True)
        if isinstance(event, BookChange):
            for price, size in (*event.bids, *event.asks):
                assert sane(price)
                assert sane(size, zero=True)
        if isinstance(event, Volume):
            assert sane(event.volume, zero=True)


def parsers():
    for venue in VENUES.values():
        yield pytest.param(venue.parse, id=venue.name)
        if venue.rest is not None:
            yield pytest.param(venue.rest.parse, id=f"{venue.name}-rest")


def mutations(document: object):
    """Documents like this one in which one place holds something else, or nothing, or comes twice."""
    places = list(_places(document, ()))

    @st.composite
    def mutate(draw):
        changed = json.loads(json.dumps(document))
        place = draw(st.sampled_from(places))
        parent = changed
        for step in place[:-1]:
            parent = parent[step]
        action = draw(st.sampled_from(["replace", "remove", "double"]))
        if action == "replace":
            parent[place[-1]] = draw(JSON)
        elif action == "remove":
            del parent[place[-1]]
        elif isinstance(parent, list):
            parent.append(parent[place[-1]])
        else:
            parent[draw(st.text(max_size=8))] = parent[place[-1]]
        return changed

    return mutate()


def _places(value: object, path: tuple[object, ...]):
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, child in children:
        yield (*path, key)
        yield from _places(child, (*path, key))


def documented():
    for name, messages in (
        *DOCUMENTED.items(),
        *((f"{name}-rest", messages) for name, messages in REST.items()),
    ):
        venue = VENUES[name.removesuffix("-rest")]
        parse = venue.rest.parse if name.endswith("-rest") else venue.parse
        for number, message in enumerate(messages):
            yield pytest.param(parse, message, id=f"{name}-{number}")


@pytest.mark.parametrize(("parse", "message"), list(documented()))
def test_documented_messages_are_understood(parse, message):
    """The seeds of the mutations below: not one of them is refused, so that the mutations begin somewhere."""
    found = parse(message, NOW)
    check(found)
    assert found
    assert not any(isinstance(event, event_types.Unparseable) for event in found)


@pytest.mark.parametrize("parse", list(parsers()))
@given(raw=st.binary(max_size=200))
def test_any_bytes(parse, raw):
    """Not even JSON, not even UTF-8."""
    check(parse(raw, NOW))
    venue_of(raw)


@pytest.mark.parametrize("parse", list(parsers()))
@given(document=JSON)
def test_any_json(parse, document):
    """NaN and Infinity included, as some encoders write them."""
    check(parse(json.dumps(document).encode(), NOW))


@pytest.mark.parametrize(("parse", "message"), list(documented()))
@settings(max_examples=40)
@given(data=st.data())
def test_mutated_documents(parse, message, data):
    """Right but for one member."""
    document = json.loads(message)
    if not isinstance(document, (dict, list)) or not document:
        return
    check(parse(json.dumps(data.draw(mutations(document))).encode(), NOW))


@pytest.mark.parametrize(("parse", "message"), list(documented()))
@settings(max_examples=40)
@given(data=st.data())
def test_mutated_bytes(parse, message, data):
    """Cut, flipped or spliced somewhere: as a broken line or a broken venue would."""
    at = data.draw(st.integers(0, len(message)))
    to = data.draw(st.integers(at, len(message)))
    middle = data.draw(st.binary(max_size=6))
    check(parse(message[:at] + middle + message[to:], NOW))
