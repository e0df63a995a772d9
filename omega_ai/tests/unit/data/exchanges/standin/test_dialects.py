"""Each stand-in speaks as its venue's connector understands: the two are held together message by message."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest

from omega_ai.data_feed.exchanges.conversation import Conversation, Patience
from omega_ai.data_feed.exchanges.detect import VENUES, venue_of
from omega_ai.data_feed.exchanges.events import (
    Heartbeat,
    ReconnectRequest,
    Refused,
    TradeSnapshot,
    Unparseable,
)
from omega_ai.data_feed.exchanges.standin.dialects import DIALECTS
from omega_ai.data_feed.exchanges.standin.market import GeneratedMarket
from omega_ai.data_feed.market import Quote, Trade, Volume

START = 1_700_000_000_000_000_000
SECOND = 1_000_000_000

ALL = pytest.mark.parametrize("name", VENUES)


class Talk:
    """A stand-in's dialect and a connector's conversation, mouth to ear."""

    def __init__(self, name: str) -> None:
        self.venue = VENUES[name]
        self.market = GeneratedMarket(self.venue, 1, START)
        self.market.until(START + 5 * SECOND)
        self.dialect = DIALECTS[name](self.market)
        self.conversation = Conversation(self.venue, 0.0, Patience())
        self.heard: list[object] = []
        self.hear(*self.dialect.opened())
        for message in self.venue.subscribe:
            self.hear(*self.dialect.receive(message))

    def hear(self, *messages: bytes | None) -> None:
        for message in messages:
            if message is not None:
                self.heard += self.conversation.message(message, START, 0.0)


@ALL
def test_subscriptions_are_confirmed(name):
    """All that the connector waits for."""
    assert Talk(name).conversation.unconfirmed == frozenset()


@ALL
def test_every_trade_and_quote_arrives_as_it_was(name):
    """Price, size, side and id of each trade; bid, ask and sizes of each quote; nothing is refused."""
    talk = Talk(name)
    talk.heard.clear()
    events = talk.market.until(START + 20 * SECOND)
    for event in events:
        if isinstance(event, Trade):
            talk.hear(talk.dialect.trade(event))
        elif isinstance(event, Quote):
            talk.hear(talk.dialect.quote(event))
    assert talk.conversation.refused == 0

    def trades(found):
        return [(t.trade_id, t.symbol, t.price, t.size, t.side) for t in found if isinstance(t, Trade)]

    def quotes(found):
        return [(q.symbol, q.bid, q.ask, q.ask_size) for q in found if isinstance(q, Quote)]

    symbols = {channel.symbol for channel in talk.venue.channels}
    assert trades(talk.heard) == trades(events)
    assert quotes(talk.heard) == quotes(event for event in events if event.symbol in symbols)
    assert len(trades(events)) > 100


@ALL
def test_the_volume_arrives_where_the_venue_tells_it(name):
    """Bitstamp does not."""
    talk = Talk(name)
    talk.hear(talk.dialect.volume(), talk.dialect.quote(talk.market.quotes[talk.venue.symbol]))
    volumes = [event.volume for event in talk.heard if isinstance(event, Volume)]
    assert volumes == ([] if name == "bitstamp" else [talk.market.volume])


@ALL
def test_signs_of_life_are_understood(name):
    """A heartbeat message, or the answer to the connector's ping; Binance pings by frame."""
    talk = Talk(name)
    ping = talk.venue.liveness.ping
    messages = [talk.dialect.heartbeat(START)]
    if isinstance(ping, bytes):
        messages += talk.dialect.receive(ping)
    events = [event for message in messages if message for event in talk.venue.parse(message, START)]
    if name == "binance":
        assert talk.dialect.ping_frame_s == talk.venue.liveness.interval_s
    else:
        assert any(isinstance(event, Heartbeat) for event in events)


@ALL
def test_a_refusal_is_understood(name):
    """And not taken for anything else."""
    talk = Talk(name)
    talk.dialect.refuse_subscriptions = True
    (answer,) = talk.dialect.receive(talk.venue.subscribe[0])
    assert any(isinstance(event, Refused) for event in talk.venue.parse(answer, START))
    assert talk.dialect.receive(b"nonsense")
    assert talk.dialect.receive(b"[1]")


@ALL
def test_the_request_to_reconnect_is_understood(name):
    """Where the venue has a word for it."""
    talk = Talk(name)
    request = talk.dialect.reconnect_request()
    if request is None:
        assert name in ("coinbase", "kraken", "bybit")
    else:
        (event,) = talk.venue.parse(request, START)
        assert isinstance(event, ReconnectRequest)


@ALL
def test_rest_trades_are_the_trades_that_happened(name):
    """Asked for as the connector asks, the newest included; another path is not found."""
    talk = Talk(name)
    rest = talk.venue.rest
    assert rest is not None
    trades = list(talk.market.trades)[-40:]
    for asked in (rest.path, rest.other_path):
        if asked is None:
            continue
        path = asked.format(
            first=trades[0].trade_id,
            next=int(trades[-1].trade_id) + 1,
            since_ns=trades[0].timestamp_ns - 1,
            limit=rest.limit,
        )
        parts = urlsplit(path)
        body = talk.dialect.rest(talk.market, parts.path, dict(parse_qsl(parts.query)))
        assert body is not None
        found = {event.trade_id: event for event in rest.parse(body, START) if isinstance(event, Trade)}
        for trade in trades:
            same = found[trade.trade_id]
            assert (same.price, same.size, same.side) == (trade.price, trade.size, trade.side)
    assert talk.dialect.rest(talk.market, "/nowhere", {}) is None


@ALL
def test_snapshots_come_with_the_subscription_where_the_venue_sends_them(name):
    """Coinbase and Kraken do."""
    snapshots = [event for event in Talk(name).heard if isinstance(event, TradeSnapshot)]
    assert bool(snapshots) is (name in ("coinbase", "kraken"))


@ALL
def test_unsubscribed_nothing_is_said(name):
    """Nobody gets what he did not ask for."""
    talk = Talk(name)
    fresh = DIALECTS[name](talk.market)
    quote = talk.market.quotes[talk.venue.symbol]
    assert fresh.trade(talk.market.trades[-1]) is None
    assert fresh.quote(quote) is None
    assert fresh.volume() is None


@ALL
def test_its_messages_are_recognised_as_the_venues(name):
    """By whoever reads a recording of them."""
    talk = Talk(name)
    message = talk.dialect.trade(talk.market.trades[-1])
    assert message is not None
    assert venue_of(message) is talk.venue


@ALL
def test_a_large_message_is_harmless(name):
    """Understood as nothing, or refused; never more."""
    talk = Talk(name)
    events = talk.venue.parse(talk.dialect.large(5_000_000), START)
    assert all(not isinstance(event, Trade | Quote) for event in events)
    assert all(len(event.excerpt) <= 160 for event in events if isinstance(event, Unparseable))
