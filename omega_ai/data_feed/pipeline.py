"""From a source's events to published messages: trades and quotes as they are, candles, the consolidated
price.

Pure but for the ``publish`` it is given: time comes from a ``Clock``, later work goes to a ``Scheduler``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from omega_ai.core.clock import Clock
from omega_ai.core.scheduler import Cancellable, Scheduler
from omega_ai.data_feed.broker.base import PublishBufferFull
from omega_ai.data_feed.candles import Candles
from omega_ai.data_feed.market import BtcPrice, MarketEvent, PriceState, Quote, SourceStatus, Trade
from omega_ai.data_feed.price_index import PriceIndex, PublishPolicy
from omega_ai.data_feed.websocket.bodies import (
    encode_candle_body,
    encode_price_body,
    encode_quote_body,
    encode_status_body,
    encode_trade_body,
)

STATUS_EVERY_NS = 5_000_000_000
"""A venue's unchanged state is published again after this long, so that its age stays known."""

CANDLES_EVERY = 0.25
"""Seconds between two looks at the candles: a 1 s candle is out this long after its grace at the latest."""

Publish = Callable[[str, bytes], None]


class Pipeline:
    """See the module's text. ``emit`` and ``report`` are what a source is run with.

    ``simulated`` marks every message; ``on_live`` is called when a venue comes to be live.
    """

    def __init__(
        self,
        publish: Publish,
        index: PriceIndex,
        policy: PublishPolicy,
        *,
        clock: Clock,
        scheduler: Scheduler,
        simulated: bool = False,
        on_live: Callable[[], None] | None = None,
    ) -> None:
        self._simulated = simulated
        self._on_live = on_live
        self._publish = publish
        self._index = index
        self._policy = policy
        self._clock = clock
        self._scheduler = scheduler
        self._timer: Cancellable | None = None
        self._timer_ns = 0
        self._put_off = False
        self._stopped = False
        self._candles = Candles()
        self._candles_timer: Cancellable | None = None
        self._statuses: dict[str, tuple[SourceStatus, int]] = {}
        self.price_state: PriceState | None = None
        self.price_at: float | None = None

    def start(self) -> None:
        """Publish the price at least as often as the policy says, also when no event comes."""
        self._arm(self._clock.time_ns())
        self._tick_candles()

    def stop(self) -> None:
        """Nothing is published any more."""
        self._stopped = True
        for timer in (self._timer, self._candles_timer):
            if timer is not None:
                timer.cancel()

    def emit(self, event: MarketEvent) -> None:
        """One event of a source: publish it, and the price that it changes."""
        if isinstance(event, Trade):
            self._put("trades", encode_trade_body(event, simulated=self._simulated))
            now_ns = self._clock.time_ns()
            for candle in self._candles.trade(event, now_ns):
                self._put("candles", encode_candle_body(candle, simulated=self._simulated))
        else:
            if isinstance(event, Quote):
                self._put("quotes", encode_quote_body(event, simulated=self._simulated))
            now_ns = self._clock.time_ns()
        if self._index.update(event, now_ns):
            if self._policy.ready(now_ns):
                self._price(now_ns)
            else:
                self._arm(now_ns)

    def report(self, status: SourceStatus) -> None:
        """A venue's state: publish it upon change and every few seconds; the index hears of it at once."""
        now_ns = self._clock.time_ns()
        known = self._statuses.get(status.venue)
        changed = known is None or (known[0].state, known[0].detail, known[0].gaps, known[0].reconnects) != (
            status.state,
            status.detail,
            status.gaps,
            status.reconnects,
        )
        due = known is None or now_ns - known[1] >= STATUS_EVERY_NS
        self._statuses[status.venue] = (status, now_ns if changed or due or known is None else known[1])
        if changed and status.state == "live" and self._on_live is not None:
            self._on_live()
        if changed:
            self._index.venue_state(status.venue, status.state)
        if changed or due:
            self._put("status", encode_status_body(status, now_ns, simulated=self._simulated))
        if changed:
            self._price(now_ns)

    def statuses(self) -> list[SourceStatus]:
        """The newest state of each venue."""
        return [status for status, _ in self._statuses.values()]

    def _price(self, now_ns: int) -> None:
        price = self._index.compute(now_ns)
        if price is not None and self._policy.accept(price, now_ns):
            self._note(price)
            self._put("btc_price", encode_price_body(price, now_ns))
            self._arm(now_ns)

    def _note(self, price: BtcPrice) -> None:
        self.price_state = price.state
        self.price_at = self._clock.monotonic()

    def _put(self, channel: str, body: bytes) -> None:
        with contextlib.suppress(PublishBufferFull):  # the broker has been away for too long; it is counted
            self._publish(channel, body)

    def _tick_candles(self) -> None:
        for candle in self._candles.tick(self._clock.time_ns()):
            self._put("candles", encode_candle_body(candle, simulated=self._simulated))
        self._candles_timer = self._scheduler.later(CANDLES_EVERY, self._tick_candles)

    def _arm(self, now_ns: int) -> None:
        """Look again when a price is due. Each price puts that off; the timer that is set looks once more."""
        if self._stopped:
            return
        due_ns = self._policy.due_ns(now_ns)
        if self._timer is not None:
            if self._timer_ns <= due_ns:
                self._put_off = True
                return
            self._timer.cancel()
        self._timer_ns = max(due_ns, now_ns)
        self._put_off = False
        self._timer = self._scheduler.later((self._timer_ns - now_ns) / 1e9, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now_ns = self._clock.time_ns()
        if self._put_off and now_ns < self._policy.due_ns(now_ns):
            self._arm(now_ns)
            return
        self._price(now_ns)
        if self._timer is None:
            self._arm(now_ns)
