"""One connection's talk with a venue, on a clock that the test moves."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from msgspec import structs

from omega_ai.data_feed.exchanges.base import Channel, Limits, Liveness, Venue
from omega_ai.data_feed.exchanges.conversation import Conversation, Patience
from omega_ai.data_feed.exchanges.events import (
    Ack,
    BookChange,
    Heartbeat,
    ReconnectRequest,
    Refused,
    SequenceNumber,
    TradeSnapshot,
    Unparseable,
)
from omega_ai.data_feed.market import Quote, Trade

ONE = Decimal(1)


def trade(number: int = 1, symbol: str = "BTC-USD") -> Trade:
    return Trade("pretend", symbol, str(number), ONE, ONE, "buy", 1, 1)


def quote(symbol: str = "BTC-USD") -> Quote:
    return Quote("pretend", symbol, ONE, ONE, ONE, ONE, 1, 1)


def change(update_id: int, *, whole: bool = False) -> BookChange:
    return BookChange("pretend", "BTC-USD", whole, ((ONE, ONE),), ((ONE + 1, ONE),), 1, update_id, 1, 1)


WORDS = {
    b"ack-t": [Ack("t")],
    b"ack-q": [Ack("q")],
    b"trade": [trade()],
    b"quote": [quote()],
    b"other": [trade(1, "ETH-USD"), quote("ETH-USD")],
    b"snapshot": [TradeSnapshot((trade(1), trade(2, "ETH-USD")))],
    b"beat": [Heartbeat()],
    b"no": [Refused("t", "unknown channel")],
    b"leave": [ReconnectRequest("maintenance")],
    b"garbage": [Unparseable("what is this", "garbage")],
    b"seq-1": [SequenceNumber(1), trade(1)],
    b"seq-2": [SequenceNumber(2), trade(2)],
    b"seq-9": [SequenceNumber(9), trade(9)],
    b"book-1": [change(1, whole=True)],
    b"book-3": [change(3)],
}


def parse(raw: bytes, received_ns: int):
    return WORDS[raw]


VENUE = Venue(
    name="pretend",
    url="wss://example.org",
    parse=parse,
    channels=(
        Channel("trades", "BTC-USD", ("trades",), "t", 30.0),
        Channel("quotes", "BTC-USD", ("quotes",), "q", 15.0),
        Channel("beats", "", ("heartbeats",), None, 10.0),
    ),
    subscribe=(b"sub-1", b"sub-2"),
    liveness=Liveness(interval_s=1.0),
    limits=Limits(connects=10, connect_window_s=1.0, messages_per_s=2.0, max_age_s=86_400.0),
    trade_ids="consecutive",
    documentation="https://example.org",
)


class Talk:
    """A conversation and its time."""

    def __init__(self, venue: Venue = VENUE) -> None:
        self.now = 100.0
        self.conversation = Conversation(venue, self.now, Patience())

    def hear(self, *words: bytes):
        return [data for word in words for data in self.conversation.message(word, 7, self.now)]

    def wait(self, seconds: float, every: float | None = None, word: bytes = b"beat") -> Talk:
        """Let time pass; with ``every``, the word comes so often meanwhile."""
        end = self.now + seconds
        while every is not None and self.now + every <= end:
            self.now += every
            self.hear(word)
            self.conversation.tick(self.now)
        self.now = end
        self.conversation.tick(self.now)
        return self

    @property
    def failure(self) -> str | None:
        return self.conversation.failure


def flowing() -> Talk:
    talk = Talk()
    talk.hear(b"ack-t", b"ack-q", b"trade", b"quote", b"beat")
    assert talk.conversation.flowing
    return talk


def test_it_flows_once_all_is_confirmed_and_data_came():
    """A connection alone proves nothing, and neither does a confirmation."""
    talk = Talk()
    steps = [(b"trade", False), (b"ack-t", False), (b"ack-q", True)]
    for word, expected in steps:
        talk.hear(word)
        assert talk.conversation.flowing is expected
    assert talk.conversation.unconfirmed == frozenset()


def test_subscriptions_are_sent_no_faster_than_the_venue_allows():
    """Two a second here."""
    talk = Talk()
    assert talk.conversation.outgoing(100.0) == b"sub-1"
    assert talk.conversation.outgoing(100.4) is None
    assert talk.conversation.outgoing(100.5) == b"sub-2"
    assert talk.conversation.outgoing(200.0) is None


def test_a_subscription_that_is_not_confirmed_is_a_failure():
    """After ten seconds, naming it."""
    talk = Talk()
    talk.hear(b"ack-t", b"trade")
    assert talk.wait(9.9, every=1.0).failure is None
    assert talk.wait(0.2).failure == "subscription to q not confirmed"


def test_a_refusal_is_a_failure_at_once_and_later_only_counted():
    """While subscribing it means that what we need will not come."""
    talk = Talk()
    talk.hear(b"no")
    assert talk.failure == "refused: unknown channel (t)"
    later = flowing()
    later.hear(b"no")
    assert later.failure is None
    assert later.conversation.refused == 1


def test_every_channel_has_a_deadline_for_its_first_data():
    """A misspelt stream is confirmed, and heartbeats come, for ever."""
    talk = Talk()
    talk.hear(b"ack-t", b"ack-q", b"quote", b"beat")
    assert talk.wait(29.9, every=1.0).failure is None
    assert talk.wait(0.2).failure == "no trades of BTC-USD within 30 s"


def test_silence_of_data_is_no_failure_while_heartbeats_come():
    """A calm market is healthy; but it is told, so that another connection can be tried."""
    talk = flowing().wait(59.0, every=1.0)
    assert talk.failure is None
    assert not talk.conversation.stalled(talk.now)
    talk.wait(1.5, every=1.0)
    assert talk.failure is None
    assert talk.conversation.stalled(talk.now)
    talk.hear(b"trade")
    assert not talk.conversation.stalled(talk.now)


@pytest.mark.parametrize(("interval", "overdue"), [(1.0, 4.0), (5.0, 20.0)])
def test_a_sign_of_life_is_overdue_at_four_times_its_usual_interval(interval, overdue):
    """As measured, not as documented: the median of the last fifteen."""
    talk = flowing()
    beats = 40
    for _ in range(beats):
        talk.now += min(interval, 3.9)  # until enough were measured, the documented second counts
        talk.hear(b"beat", b"quote")
    for _ in range(20):
        talk.now += interval
        talk.hear(b"beat")
    talk.conversation.tick(talk.now)
    assert talk.wait(overdue - 0.1).failure is None
    assert "no sign of life" in (talk.wait(0.2).failure or "")


def test_doubled_heartbeats_do_not_make_it_nervous():
    """Intervals of zero would make everything overdue."""
    talk = flowing()
    for _ in range(30):
        talk.now += 1.0
        talk.hear(b"beat", b"beat")
    assert talk.wait(1.9).failure is None


def test_data_shows_life_when_heartbeats_pause():
    """Whatever comes proves the line."""
    talk = flowing()
    talk.wait(20.0, every=1.0, word=b"trade")
    assert talk.failure is None


def test_ping_and_pong_frames_are_signs_of_life():
    """Some venues have no others."""
    talk = flowing()
    for _ in range(10):
        talk.now += 3.0
        talk.conversation.ping(talk.now)
        talk.conversation.tick(talk.now)
        talk.now += 0.5
        talk.conversation.pong(talk.now)
    assert talk.failure is None


def test_pings_are_due_as_the_venue_wants_them():
    """Every five seconds here."""
    venue = structs.replace(VENUE, liveness=Liveness(interval_s=5.0, ping=b"ping", ping_every_s=5.0))
    talk = Talk(venue)
    due = [now for now in range(100, 121) if talk.conversation.ping_due(float(now))]
    assert due == [105, 110, 115, 120]
    assert not any(flowing().conversation.ping_due(float(now)) for now in range(100, 200))


def test_a_jump_in_message_numbers_is_counted_and_a_repetition_dropped():
    """The venue counts its messages, so we do."""
    talk = Talk()
    assert [data.trade_id for data in talk.hear(b"seq-1", b"seq-2", b"seq-2", b"seq-9")] == ["1", "2", "9"]
    assert talk.conversation.gaps == 1


def test_a_lost_change_of_the_book_asks_for_another_connection():
    """The whole book comes upon subscribing only."""
    talk = flowing()
    assert isinstance(talk.hear(b"book-1")[0], Quote)
    assert talk.hear(b"book-3") == []
    assert talk.conversation.gaps == 1
    assert talk.conversation.wants_replacement == "a change of the book was lost"


def test_a_connection_is_replaced_before_the_venue_ends_it():
    """By its age, and when the venue says so."""
    talk = flowing()
    talk.now += 86_400 - 601
    talk.hear(b"trade")
    assert talk.wait(0).conversation.wants_replacement is None
    talk.now += 2
    talk.hear(b"trade")
    assert talk.wait(0).conversation.wants_replacement == "the connection grows too old"
    asked = flowing()
    asked.hear(b"leave")
    assert asked.conversation.wants_replacement == "the venue asks for it: maintenance"


def test_what_is_refused_is_counted_and_costs_nothing_else():
    """Garbage, binary messages, other markets, and a parser that fails outright."""
    talk = flowing()
    assert talk.hear(b"garbage", b"other") == []
    talk.conversation.binary(b"\x00", talk.now)
    assert talk.hear(b"not among the words") == []
    assert talk.conversation.refused == 5
    assert talk.failure is None


def test_a_snapshot_keeps_only_what_was_asked_for():
    """Its other markets are dropped."""
    (snapshot,) = Talk().hear(b"snapshot")
    assert isinstance(snapshot, TradeSnapshot)
    assert [one.symbol for one in snapshot.trades] == ["BTC-USD"]


def test_patience_is_written_in_seconds():
    """And what is documented is the default."""
    assert msgspec.to_builtins(Patience())["backoff_first_s"] == 0.5
    assert Patience().backoff_most_s == 30.0
    assert Patience().overdue == 4.0
