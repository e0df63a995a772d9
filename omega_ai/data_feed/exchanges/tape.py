"""What one venue's connections say, made into one tape: each trade once, in order, across reconnects.
Pure."""

from __future__ import annotations

from collections.abc import Iterable

from omega_ai.data_feed.exchanges.base import Venue
from omega_ai.data_feed.exchanges.conversation import Data
from omega_ai.data_feed.exchanges.events import AggregateTrade, TradeSnapshot
from omega_ai.data_feed.exchanges.sequence import Gap, TradeSequence
from omega_ai.data_feed.market import MarketEvent, Trade


class Tape:
    """Takes the data of whichever connection speaks; lives as long as the venue is followed.

    A conversation lets only the markets pass that were asked for, so what is kept here is bounded.
    """

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._main = TradeSequence(consecutive=venue.trade_ids == "consecutive", hold=venue.rest is not None)
        self._others: dict[str, TradeSequence] = {}
        self._symbol = venue.symbol

    @property
    def gap(self) -> Gap | None:
        """The hole that holds back the trades of the venue's market."""
        return self._main.gap

    @property
    def gaps(self) -> int:
        """Gaps seen so far, filled or not."""
        return self._main.gaps + sum(sequence.gaps for sequence in self._others.values())

    @property
    def lost(self) -> int:
        """Trades of the venue's market known to be lost for good."""
        return self._main.lost

    @property
    def doubtful(self) -> int:
        """Interruptions after which it is not known whether trades were lost."""
        return self._main.doubtful

    @property
    def doubles(self) -> int:
        """Trades left out because they had come before."""
        return self._main.doubles + sum(sequence.doubles for sequence in self._others.values())

    def take(self, data: Data) -> Iterable[MarketEvent]:
        """One thing that a connection said; what of it goes out now."""
        if isinstance(data, Trade):
            return self._sequence(data.symbol).offer(data)
        if isinstance(data, TradeSnapshot):
            return [out for trade in data.trades for out in self._sequence(trade.symbol).offer(trade)]
        if isinstance(data, AggregateTrade):
            return self._sequence(data.trade.symbol).offer(data.trade, data.count)
        return (data,)

    def interrupted(self) -> None:
        """The connection was lost, and with it perhaps trades."""
        self._main.interrupted()

    def fill(self, trades: Iterable[Trade]) -> list[Trade]:
        """Trades from the venue's REST interface, because of ``gap``."""
        return self._main.fill(trades)

    def give_up(self) -> list[Trade]:
        """The gap will not be filled."""
        return self._main.give_up()

    def _sequence(self, symbol: str) -> TradeSequence:
        if symbol == self._symbol:
            return self._main
        sequence = self._others.get(symbol)
        if sequence is None:
            sequence = self._others[symbol] = TradeSequence(
                consecutive=self._venue.trade_ids == "consecutive", hold=False
            )
        return sequence
