"""One connection's talk with a venue, from the open socket on: subscribed, confirmed, alive, or a reason to
end it.

Sans I/O. Times are monotonic seconds unless a name ends in ``_ns``.

A connection is judged by the venue's own sign of life (a heartbeat, a ping frame, the answer to our ping),
overdue at four times the rolling median of its intervals. Silence of data is no proof of death: a calm market
is healthy. Nor is a sign of life proof of data: a misspelt stream is accepted and silent for ever, so that
every channel has a deadline for its first message.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from statistics import median

import structlog
from msgspec import Struct

from omega_ai.data_feed.exchanges.base import Kind, Venue
from omega_ai.data_feed.exchanges.books import TopOfBook
from omega_ai.data_feed.exchanges.events import (
    Ack,
    AggregateTrade,
    BookChange,
    Event,
    Heartbeat,
    ReconnectRequest,
    Refused,
    SequenceNumber,
    TradeSnapshot,
    Unparseable,
)
from omega_ai.data_feed.exchanges.numbers import unparseable
from omega_ai.data_feed.market import MarketEvent, Quote, Trade, Volume

Data = MarketEvent | TradeSnapshot | AggregateTrade
"""What a conversation hands on; order and uniqueness are made by the tape."""

_INTERVALS = 15
_SEEDS = 5

log = structlog.get_logger(__name__)


class Patience(Struct, frozen=True):
    """How long to wait for what, in seconds."""

    connect_s: float = 10.0
    ack_s: float = 10.0
    stall_s: float = 60.0
    """No data for so long, though there are signs of life: another connection is tried beside this one."""
    overdue: float = 4.0
    """Times the median interval of the sign of life."""
    replace_before_s: float = 600.0
    """So long before the venue's greatest age of a connection, another one is made."""
    line_age_s: float = 5.0
    """A connection younger than this is not replaced."""
    backoff_first_s: float = 0.5
    backoff_most_s: float = 30.0
    fill_delay_s: float = 0.5
    """A gap is asked for a little later: what a venue sends is not at once in its REST answers."""
    fill_s: float = 10.0
    """Trades after a gap are held back for so long at most."""
    report_s: float = 1.0
    tick_s: float = 0.25


class Conversation:
    """See the module's text. ``failure`` says why it must end, once there is a reason."""

    def __init__(self, venue: Venue, now: float, patience: Patience) -> None:
        self._venue = venue
        self._patience = patience
        self._opened = now
        self._outgoing = deque(venue.subscribe)
        self._send_next = now
        self._unconfirmed = {channel.ack for channel in venue.channels if channel.ack is not None}
        self._confirmed_at: float | None = None if self._unconfirmed else now
        self._awaited: dict[tuple[Kind, str], float] = {
            (kind, channel.symbol): channel.first_data_s
            for channel in venue.channels
            for kind in channel.kinds
            if channel.first_data_s is not None
        }
        # The documented interval stands in until enough were measured, and then rolls out of the window.
        self._intervals = deque([venue.liveness.interval_s] * _SEEDS, maxlen=_INTERVALS)
        self._last_sign: float | None = None
        self._last_heard = now
        self._next_ping = now + (venue.liveness.ping_every_s or 0.0)
        self._symbols = frozenset(channel.symbol for channel in venue.channels)
        self._sequence: int | None = None
        self._books: dict[str, TopOfBook] = {}
        self.last_data = now
        self.messages = 0
        self.refused = 0
        self.gaps = 0
        """Jumps in the numbers of messages or of book changes; trades have their own check."""
        self.got_data = False
        self.failure: str | None = None
        self.wants_replacement: str | None = None
        """Why another connection should be made before this one is closed."""

    @property
    def flowing(self) -> bool:
        """Everything asked for was confirmed, and data came."""
        return self.got_data and not self._unconfirmed

    def age(self, now: float) -> float:
        """Seconds since it was opened."""
        return now - self._opened

    @property
    def unconfirmed(self) -> frozenset[str]:
        """Subscriptions that the venue has not confirmed yet."""
        return frozenset(self._unconfirmed)

    def message(self, raw: bytes, received_ns: int, now: float) -> list[Data]:
        """Take one text message; return the market data in it."""
        self.messages += 1
        self._last_heard = now
        try:
            events: Sequence[Event] = self._venue.parse(raw, received_ns)
        except Exception:  # a defect of a parser must cost one message, not the feed
            log.exception("parser failed", venue=self._venue.name, excerpt=raw[:160])
            events = (unparseable(raw, "the parser failed"),)
        out: list[Data] = []
        for event in events:
            if isinstance(event, Trade | Quote | Volume) and event.symbol not in self._symbols:
                self._refuse(Unparseable("a market that was not asked for", event.symbol))
            elif isinstance(event, Trade):
                self._data("trades", event.symbol, now)
                out.append(event)
            elif isinstance(event, Quote):
                self._data("quotes", event.symbol, now)
                out.append(event)
            elif isinstance(event, Volume):
                self._awaited.pop(("volume", event.symbol), None)
                out.append(event)
            elif isinstance(event, SequenceNumber):
                if self._sequence is not None and event.value == self._sequence:
                    break  # the same message again
                if self._sequence is not None and event.value != self._sequence + 1:
                    self.gaps += 1
                self._sequence = event.value
            else:
                self._other(event, out, now)
        return out

    def binary(self, payload: bytes, now: float) -> None:
        """A binary message came: no venue sends any."""
        self.messages += 1
        self._last_heard = now
        self._refuse(Unparseable("a binary message", repr(payload[:80])))

    def ping(self, now: float) -> None:
        """The venue's ping frame came (and was answered)."""
        self._last_heard = now
        self._sign(now)

    def pong(self, now: float) -> None:
        """The answer to our ping frame came."""
        self._last_heard = now
        self._sign(now)

    def outgoing(self, now: float) -> bytes | None:
        """The next message to send now, if one is due: subscriptions, not faster than the venue allows."""
        if not self._outgoing or now < self._send_next:
            return None
        self._send_next = now + 1.0 / self._venue.limits.messages_per_s
        return self._outgoing.popleft()

    def ping_due(self, now: float) -> bool:
        """Whether to send the venue's ping now; counts it as sent."""
        every = self._venue.liveness.ping_every_s
        if every is None or now < self._next_ping:
            return False
        self._next_ping = now + every
        return True

    def tick(self, now: float) -> None:
        """Let time pass: sets ``failure`` or ``wants_replacement`` if it is too late for something."""
        if self.failure is not None:
            return
        overdue_s = max(
            self._patience.overdue * median(self._intervals), 2.0 * self._venue.liveness.interval_s
        )
        if now - self._last_heard > overdue_s:
            self.failure = f"no sign of life for {now - self._last_heard:.1f} s"
        elif self._unconfirmed and now - self._opened > self._patience.ack_s:
            self.failure = f"subscription to {min(self._unconfirmed)} not confirmed"
        elif self._confirmed_at is not None:
            waited = now - self._confirmed_at
            for (kind, symbol), within in self._awaited.items():
                if waited > within:
                    self.failure = f"no {kind}{' of ' + symbol if symbol else ''} within {within:g} s"
                    return
        if self.failure is None and self.wants_replacement is None:
            max_age_s = self._venue.limits.max_age_s
            margin_s = min(self._patience.replace_before_s, (max_age_s or 0.0) / 10)
            if max_age_s is not None and now - self._opened > max_age_s - margin_s:
                self.wants_replacement = "the connection grows too old"

    def stalled(self, now: float) -> bool:
        """Whether there are signs of life, but has been no data for ``stall_s``."""
        return self.flowing and now - self.last_data > self._patience.stall_s

    def _other(self, event: Event, out: list[Data], now: float) -> None:
        match event:
            case TradeSnapshot(trades=trades):
                trades = tuple(trade for trade in trades if trade.symbol in self._symbols)
                for trade in trades[:1]:
                    self._data("trades", trade.symbol, now)
                out.append(TradeSnapshot(trades))
            case AggregateTrade(trade=trade) if trade.symbol in self._symbols:
                self._data("trades", trade.symbol, now)
                out.append(event)
            case BookChange() if event.symbol in self._symbols:
                self._book(event, out, now)
            case Heartbeat():
                self._awaited.pop(("heartbeats", ""), None)
                self._sign(now)
            case Ack(key=key):
                self._unconfirmed.discard(key)
                if not self._unconfirmed and self._confirmed_at is None:
                    self._confirmed_at = now
            case Refused(key=key, reason=reason):
                if self._unconfirmed:
                    self.failure = f"refused: {reason}" + (f" ({key})" if key else "")
                else:
                    self._refuse(Unparseable(f"the venue refuses: {reason}", key or ""))
            case ReconnectRequest(reason=reason):
                self.wants_replacement = f"the venue asks for it: {reason}"
            case Unparseable():
                self._refuse(event)
            case _:
                pass

    def _book(self, change: BookChange, out: list[Data], now: float) -> None:
        book = self._books.get(change.symbol)
        if book is None:
            book = self._books[change.symbol] = TopOfBook()
        gaps = book.gaps
        quote = book.apply(change)
        if book.gaps > gaps:
            self.gaps += 1
            # The venue sends a whole book only upon subscribing.
            self.wants_replacement = self.wants_replacement or "a change of the book was lost"
        self._data("quotes", change.symbol, now)
        if quote is not None:
            out.append(quote)

    def _data(self, kind: Kind, symbol: str, now: float) -> None:
        self.last_data = now
        self.got_data = True
        if self._awaited:
            self._awaited.pop((kind, symbol), None)

    def _sign(self, now: float) -> None:
        if self._last_sign is not None:
            self._intervals.append(now - self._last_sign)
        self._last_sign = now

    def _refuse(self, event: Unparseable) -> None:
        self.refused += 1
        if self.refused <= 10 or self.refused % 1000 == 0:
            log.warning(
                "message refused",
                venue=self._venue.name,
                reason=event.reason,
                excerpt=event.excerpt,
                refused=self.refused,
            )
