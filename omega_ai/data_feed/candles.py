"""Candles of 1 s and 1 min from trades, over all venues of a symbol, by the venues' times. Pure.

A candle is open until its end and a grace have passed: venues' clocks and lines differ by more than a moment.
Then it is published as final. A trade that comes later still is not lost and not hidden: the candle is
published again, with the trade in it and ``late`` counting how many there were. Trades older than what is
kept (10 minutes) or further in the future than a minute are refused and counted.
"""

from __future__ import annotations

from decimal import Decimal

from omega_ai.data_feed.market import Candle, Trade

_NS_PER_S = 1_000_000_000
_SYMBOLS_AT_MOST = 64


class _Open:
    """One candle in the making. Times in ns of the venue's clock say which trade was first and last."""

    __slots__ = (
        "changed",
        "close",
        "close_ns",
        "final",
        "high",
        "late",
        "low",
        "open",
        "open_ns",
        "trades",
        "volume",
    )

    def __init__(self, price: Decimal, timestamp_ns: int) -> None:
        self.open = self.high = self.low = self.close = price
        self.open_ns = self.close_ns = timestamp_ns
        self.volume = Decimal(0)
        self.trades = 0
        self.late = 0
        self.final = False
        self.changed = True

    def add(self, trade: Trade) -> None:
        price, timestamp_ns = trade.price, trade.timestamp_ns
        if timestamp_ns < self.open_ns:
            self.open, self.open_ns = price, timestamp_ns
        if timestamp_ns >= self.close_ns:
            self.close, self.close_ns = price, timestamp_ns
        self.high = max(self.high, price)
        self.low = min(self.low, price)
        self.volume += trade.size
        self.trades += 1
        self.changed = True


class Candles:
    """Builds the candles of every symbol that trades.

    ``intervals`` are in seconds. A candle becomes final ``grace_s`` after its end. ``keep_s`` is how long
    after its end a candle still takes late trades.
    """

    def __init__(
        self,
        intervals: tuple[int, ...] = (1, 60),
        *,
        grace_s: float = 2.0,
        keep_s: float = 600.0,
        ahead_s: float = 60.0,
    ) -> None:
        if not intervals or min(intervals) < 1:
            raise ValueError(f"candle intervals are whole seconds from 1, not {intervals}")
        self._intervals = tuple(interval * _NS_PER_S for interval in intervals)
        self._grace_ns = round(grace_s * _NS_PER_S)
        self._keep_ns = round(keep_s * _NS_PER_S)
        self._ahead_ns = round(ahead_s * _NS_PER_S)
        self._open: dict[tuple[int, str, int], _Open] = {}
        self._symbols: set[str] = set()
        self.late = 0
        """Trades that came after their candle (of any interval) was final, and changed it."""
        self.refused = 0
        """Trades too old, too far ahead, or of one symbol too many."""

    def trade(self, trade: Trade, now_ns: int) -> list[Candle]:
        """Take a trade at ``now_ns``; return the final candles that it changed, to be published again."""
        behind_ns = now_ns - trade.timestamp_ns
        if behind_ns > self._keep_ns or -behind_ns > self._ahead_ns or not self._known(trade.symbol):
            self.refused += 1
            return []
        revised: list[Candle] = []
        for interval_ns in self._intervals:
            start_ns = trade.timestamp_ns - trade.timestamp_ns % interval_ns
            key = (interval_ns, trade.symbol, start_ns)
            candle = self._open.get(key)
            if candle is None:
                candle = self._open[key] = _Open(trade.price, trade.timestamp_ns)
            candle.add(trade)
            if candle.final:
                candle.late += 1
                candle.changed = False
                revised.append(_candle(key, candle))
        if revised:
            self.late += 1
        return revised

    def tick(self, now_ns: int) -> list[Candle]:
        """Let time pass: candles that became final, and open ones that changed since the last tick, oldest
        first.

        To be called about each second (each quarter of one for prompt 1 s candles). Of a 1 s candle only the
        final form is returned: it has no time to be watched growing.
        """
        out: list[Candle] = []
        forgotten: list[tuple[int, str, int]] = []
        for key, candle in self._open.items():
            interval_ns, _, start_ns = key
            end_ns = start_ns + interval_ns
            if not candle.final and now_ns >= end_ns + self._grace_ns:
                candle.final = candle.changed = True
            if candle.changed and (candle.final or interval_ns > _NS_PER_S):
                candle.changed = False
                out.append(_candle(key, candle))
            if now_ns > end_ns + self._keep_ns:
                forgotten.append(key)
        for key in forgotten:
            del self._open[key]
        out.sort(key=lambda candle: (candle.start_ns, candle.interval_s, candle.symbol))
        return out

    def _known(self, symbol: str) -> bool:
        if symbol not in self._symbols:
            if len(self._symbols) >= _SYMBOLS_AT_MOST:
                return False
            self._symbols.add(symbol)
        return True


def _candle(key: tuple[int, str, int], candle: _Open) -> Candle:
    interval_ns, symbol, start_ns = key
    return Candle(
        interval_s=interval_ns // _NS_PER_S,
        symbol=symbol,
        start_ns=start_ns,
        open=candle.open,
        high=candle.high,
        low=candle.low,
        close=candle.close,
        volume=candle.volume,
        trades=candle.trades,
        final=candle.final,
        late=candle.late,
    )
