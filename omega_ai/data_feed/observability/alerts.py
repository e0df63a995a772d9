"""When somebody should look: the rules, and how long each must hold. Pure.

For those without Prometheus; ``docs/alerts/omega.rules.yml`` has the same rules under the same names, and
``docs/alerts/`` a page on each. Feed ``AlertEngine.evaluate`` a snapshot every few seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

from msgspec import Struct

from omega_ai.data_feed.observability.histogram import HistogramReading
from omega_ai.data_feed.observability.snapshot import DELIVERY, Snapshot

Severity = Literal["warning", "critical"]

WINDOW = 300.0
"""Seconds over which rates are taken."""

YOUNG = 120.0
"""Seconds without which a 99th percentile says nothing: a start has its pauses."""

DAY = 86_400.0


class Bounds(Struct, frozen=True, kw_only=True):
    """From where on a figure is worth an alert. Times in seconds, shares from 0 to 1."""

    price_age: float = 10.0
    delivery_p99: float = 0.05
    slow_closes: int = 10
    connections: float = 0.8
    resumes_failing: float = 0.1
    resumes_at_least: int = 10
    certificate_days: float = 14.0
    loop_lag_p99: float = 0.1
    worker_restarts: int = 3


class Finding(NamedTuple):
    """One thing that a rule sees wrong now. ``subject`` tells several of one rule apart (the venue)."""

    summary: str
    subject: str = ""


class Window(NamedTuple):
    """The newest reading, the one of about ``WINDOW`` ago (or the first), and the seconds between them."""

    now: Snapshot
    then: Snapshot
    seconds: float


class Rule(NamedTuple):
    """``check`` must find the same subject wrong for ``hold`` seconds on end before there is an alert."""

    name: str
    severity: Severity
    hold: float
    check: Callable[[Window, Bounds], Iterable[Finding]]


class Alert(Struct, frozen=True):
    """A rule's finding that has held. ``since_ns`` is when it was first seen, UTC."""

    name: str
    severity: Severity
    subject: str
    summary: str
    since_ns: int


class Notice(NamedTuple):
    """What is to be told: an alert that began, is still there after ``repeat``, or is over."""

    alert: Alert
    status: Literal["firing", "resolved"]
    ended_ns: int | None = None


# ---------------------------------------------------------------- the rules


def _venue_stale(window: Window, _bounds: Bounds) -> Iterable[Finding]:
    for source in window.now.sources:
        if source.state != "live":
            why = f": {source.detail}" if source.detail else ""
            yield Finding(f"{source.venue} is {source.state}{why}", source.venue)


def _price_stale(window: Window, _bounds: Bounds) -> Iterable[Finding]:
    if window.now.price_state == "stale":
        yield Finding("no venue gives a usable price; clients are told that it is stale")


def _price_degraded(window: Window, _bounds: Bounds) -> Iterable[Finding]:
    if window.now.price_state == "degraded":
        yield Finding("the price rests on too few venues")


def _nothing_published(window: Window, bounds: Bounds) -> Iterable[Finding]:
    now = window.now
    if not now.sources:
        return  # clients publish, when they like
    if now.price_age is None:
        yield Finding(f"no price since the start, {now.uptime:.0f} s ago")
    elif now.price_age > bounds.price_age:
        yield Finding(f"the newest price was published {now.price_age:.0f} s ago")


def _delivery_slow(window: Window, bounds: Bounds) -> Iterable[Finding]:
    p99 = _recent_p99(window, lambda reading: reading.latencies.get(DELIVERY))
    if p99 is not None and p99 > bounds.delivery_p99:
        yield Finding(f"p99 from publication to write is {_ms(p99)}, the bound is {_ms(bounds.delivery_p99)}")


def _slow_closes(window: Window, bounds: Bounds) -> Iterable[Finding]:
    rise = window.now.closes.get(4008, 0) - window.then.closes.get(4008, 0)
    if rise >= bounds.slow_closes:
        yield Finding(f"{rise} clients were closed as too slow within {WINDOW / 60:.0f} minutes")


def _connections(window: Window, bounds: Bounds) -> Iterable[Finding]:
    now = window.now
    if now.max_connections and now.clients >= bounds.connections * now.max_connections:
        yield Finding(f"{now.clients} of {now.max_connections} connections are taken")


def _broker_down(window: Window, _bounds: Bounds) -> Iterable[Finding]:
    broker = window.now.broker
    if not broker.connected:
        yield Finding(f"the broker is away, {broker.buffered} publications wait: {broker.detail}")


def _resumes_failing(window: Window, bounds: Bounds) -> Iterable[Finding]:
    rise = {
        outcome: window.now.resumes.get(outcome, 0) - window.then.resumes.get(outcome, 0)
        for outcome in ("recovered", "unrecovered")
    }
    total = sum(rise.values())
    if total >= bounds.resumes_at_least and rise["unrecovered"] > bounds.resumes_failing * total:
        yield Finding(f"{rise['unrecovered']} of {total} resumes could not be made whole")


def _certificate(window: Window, bounds: Bounds) -> Iterable[Finding]:
    left = window.now.certificate_left
    if left is not None and left < bounds.certificate_days * DAY:
        yield Finding(
            "the certificate has ended" if left <= 0 else f"the certificate ends in {left / DAY:.1f} days"
        )


def _loop_lag(window: Window, bounds: Bounds) -> Iterable[Finding]:
    p99 = _recent_p99(window, lambda reading: reading.loop_lag)
    if p99 is not None and p99 > bounds.loop_lag_p99:
        yield Finding(f"the event loop's p99 lag is {_ms(p99)}: the process has more to do than it can")


def _workers(window: Window, bounds: Bounds) -> Iterable[Finding]:
    now = window.now
    away = [str(worker.place) for worker in now.workers if not worker.running]
    if away:
        yield Finding(f"{len(away)} of {len(now.workers)} workers are away: {', '.join(away)}")
        return
    restarts = now.worker_restarts - window.then.worker_restarts
    if restarts >= bounds.worker_restarts:
        yield Finding(f"workers died {restarts} times within {WINDOW / 60:.0f} minutes")


RULES: tuple[Rule, ...] = (
    Rule("OmegaVenueStale", "warning", 60.0, _venue_stale),
    Rule("OmegaPriceStale", "critical", 10.0, _price_stale),
    Rule("OmegaPriceDegraded", "warning", 60.0, _price_degraded),
    Rule("OmegaNothingPublished", "critical", 20.0, _nothing_published),
    Rule("OmegaDeliverySlow", "warning", 60.0, _delivery_slow),
    Rule("OmegaSlowClosesRising", "warning", 0.0, _slow_closes),
    Rule("OmegaConnectionsNearLimit", "warning", 60.0, _connections),
    Rule("OmegaBrokerDown", "critical", 15.0, _broker_down),
    Rule("OmegaResumesFailing", "warning", 0.0, _resumes_failing),
    Rule("OmegaCertificateEnding", "warning", 0.0, _certificate),
    Rule("OmegaLoopLag", "warning", 60.0, _loop_lag),
    Rule("OmegaWorkersFailing", "warning", 30.0, _workers),
)


def _recent_p99(window: Window, part: Callable[[Snapshot], HistogramReading | None]) -> float | None:
    now = part(window.now)
    if now is None or window.seconds < YOUNG:
        return None
    return now.since(part(window.then)).quantile(0.99)


def _ms(seconds: float) -> str:
    return "over 10 s" if seconds == float("inf") else f"{seconds * 1000:g} ms"


# ---------------------------------------------------------------- the engine


class _Case:
    """One rule and subject: since when it is wrong, whether that was told, since when it is right again."""

    __slots__ = ("alert", "began", "began_ns", "fine_since", "told_at")

    def __init__(self, began: float, began_ns: int) -> None:
        self.began = began
        self.began_ns = began_ns
        self.alert: Alert | None = None
        self.told_at = 0.0
        self.fine_since: float | None = None


class AlertEngine:
    """Turns readings into notices: one when an alert begins, one when it is over, none in between.

    Args:
        rules: which; all by default.
        bounds: where they bite.
        calm: seconds for which a finding must be gone before the alert is over, so that one that flickers
            is told once.
        repeat: seconds after which an alert that is still there is told again; None for never.
    """

    def __init__(
        self,
        rules: Sequence[Rule] = RULES,
        bounds: Bounds | None = None,
        *,
        calm: float = 30.0,
        repeat: float | None = 4 * 3600.0,
    ) -> None:
        self._rules = rules
        self._bounds = bounds or Bounds()
        self._calm = calm
        self._repeat = repeat
        self._cases: dict[tuple[str, str], _Case] = {}
        self._readings: deque[tuple[float, Snapshot]] = deque()

    def active(self) -> list[Alert]:
        """Alerts that have begun and are not over, the critical first."""
        alerts = [case.alert for case in self._cases.values() if case.alert is not None]
        return sorted(alerts, key=lambda alert: (alert.severity != "critical", alert.since_ns))

    def evaluate(self, snapshot: Snapshot, now: float) -> list[Notice]:
        """What is to be told after this reading, taken at ``now`` (monotonic seconds)."""
        window = self._window(snapshot, now)
        notices: list[Notice] = []
        for rule in self._rules:
            findings = {finding.subject: finding for finding in rule.check(window, self._bounds)}
            for finding in findings.values():
                notices += self._wrong(rule, finding, snapshot.now_ns, now)
            for name, subject in [*self._cases]:
                if name == rule.name and subject not in findings:
                    notices += self._right((name, subject), snapshot.now_ns, now)
        return notices

    def _wrong(self, rule: Rule, finding: Finding, now_ns: int, now: float) -> list[Notice]:
        case = self._cases.setdefault((rule.name, finding.subject), _Case(now, now_ns))
        case.fine_since = None
        if now - case.began < rule.hold:
            return []
        new = case.alert is None
        case.alert = Alert(rule.name, rule.severity, finding.subject, finding.summary, case.began_ns)
        if new or (self._repeat is not None and now - case.told_at >= self._repeat):
            case.told_at = now
            return [Notice(case.alert, "firing")]
        return []

    def _right(self, key: tuple[str, str], now_ns: int, now: float) -> list[Notice]:
        case = self._cases[key]
        if case.alert is None:
            del self._cases[key]  # it did not hold
            return []
        if case.fine_since is None:
            case.fine_since = now
        if now - case.fine_since < self._calm:
            return []
        del self._cases[key]
        return [Notice(case.alert, "resolved", now_ns)]

    def _window(self, snapshot: Snapshot, now: float) -> Window:
        """Keep the reading; give it with the one of about ``WINDOW`` ago."""
        self._readings.append((now, snapshot))
        while len(self._readings) > 1 and self._readings[1][0] <= now - WINDOW:
            self._readings.popleft()
        then, earlier = self._readings[0]
        return Window(snapshot, earlier, now - then)
