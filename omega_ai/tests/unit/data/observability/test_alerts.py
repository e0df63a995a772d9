"""When an alert begins, that it is told once, and when it is over."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega_ai.data_feed.market import SourceStatus
from omega_ai.data_feed.observability.alerts import RULES, WINDOW, AlertEngine, Notice
from omega_ai.data_feed.observability.histogram import LatencyHistogram
from omega_ai.data_feed.observability.snapshot import DELIVERY, BrokerFigures, Snapshot, WorkerFigures
from omega_ai.tests.unit.data.observability.snapshots import NOW_NS, snapshot


def latency(seconds: float, times: int = 1000) -> Any:
    histogram = LatencyHistogram()
    histogram.record(90e-6, 1000)
    histogram.record(seconds, times)
    return histogram.read()


class Run:
    """An engine that is given a reading every five seconds."""

    def __init__(self, **options: Any) -> None:
        self.engine = AlertEngine(**options)
        self.now = 1000.0
        self.notices: list[Notice] = []

    def go(self, reading: Snapshot, seconds: float = 0.0) -> list[str]:
        """Repeat ``reading`` for ``seconds``; what was told meanwhile, as ``firing Name subject``."""
        told: list[Notice] = []
        end = self.now + seconds
        while True:
            told += self.engine.evaluate(reading, self.now)
            self.now += 5.0
            if self.now > end:
                break
        self.notices += told
        return [f"{notice.status} {notice.alert.name} {notice.alert.subject}".strip() for notice in told]


WRONG: dict[str, dict[str, Any]] = {
    "OmegaVenueStale": {
        "sources": [
            SourceStatus("coinbase", "live", 40, 1, 0, 0),
            SourceStatus("kraken", "reconnecting", 9000, 1, 0, 1, detail="refused"),
        ]
    },
    "OmegaPriceStale": {"price_state": "stale"},
    "OmegaPriceDegraded": {"price_state": "degraded"},
    "OmegaNothingPublished": {"price_age": 11.0},
    "OmegaDeliverySlow": {"latencies": {DELIVERY: latency(0.09)}},
    "OmegaSlowClosesRising": {"closes": {4008: 13}},
    "OmegaConnectionsNearLimit": {"connections": {"ws": 700, "wss": 100}},
    "OmegaBrokerDown": {"broker": BrokerFigures(connected=False, detail="start it", buffered=7)},
    "OmegaWorkersFailing": {
        "workers": [WorkerFigures(place=0, running=True), WorkerFigures(place=1, running=False)]
    },
    "OmegaResumesFailing": {"resumes": {"recovered": 18, "unrecovered": 3}},
    "OmegaCertificateEnding": {"certificate_left": 13 * 86_400.0},
    "OmegaLoopLag": {"loop_lag": latency(0.2)},
}

NOT_YET: dict[str, dict[str, Any]] = {
    "OmegaNothingPublished": {"price_age": 9.9},
    "OmegaDeliverySlow": {"latencies": {DELIVERY: latency(0.04)}},
    "OmegaSlowClosesRising": {"closes": {4008: 12}},
    "OmegaConnectionsNearLimit": {"connections": {"ws": 700, "wss": 99}},
    "OmegaResumesFailing": {"resumes": {"recovered": 18, "unrecovered": 1}},
    "OmegaCertificateEnding": {"certificate_left": 14.1 * 86_400.0},
    "OmegaLoopLag": {"loop_lag": latency(0.09)},
}


def test_every_rule_has_its_case_here() -> None:
    """So that none goes untested."""
    assert {rule.name for rule in RULES} == set(WRONG)


def test_a_healthy_feed_is_quiet() -> None:
    """For an hour."""
    assert Run().go(snapshot(), 3600) == []


def test_an_idle_server_without_source_is_quiet() -> None:
    """Clients publish when they like; there is no certificate, no price, nobody connected."""
    assert Run().go(Snapshot(now_ns=NOW_NS, uptime=9e9), 3600) == []


@pytest.mark.parametrize("name", sorted(WRONG))
def test_each_rule_sees_its_own_fault_and_only_that(name: str) -> None:
    """After it has held, not before; and not below the bound."""
    rule = next(rule for rule in RULES if rule.name == name)
    run = Run()
    run.go(snapshot(), 150)
    if name in NOT_YET:
        assert run.go(snapshot(**NOT_YET[name]), rule.hold + 20) == []
        run.go(snapshot(), 60)
    bad = snapshot(**WRONG[name])
    if rule.hold:
        assert run.go(bad, rule.hold - 5) == []
    told = run.go(bad, 10)
    assert [line.split()[1] for line in told] == [name]
    assert [alert.name for alert in run.engine.active()] == [name]
    assert run.notices[0].alert.severity == rule.severity
    assert run.notices[0].alert.summary


def test_an_alert_is_told_once_and_its_end_once() -> None:
    """Nothing in between, however long it lasts."""
    run = Run(repeat=None)
    run.go(snapshot(), 10)
    assert run.go(snapshot(price_state="stale"), 3600) == ["firing OmegaPriceStale"]
    assert run.go(snapshot(), 600) == ["resolved OmegaPriceStale"]
    assert run.engine.active() == []
    assert run.notices[1].ended_ns is not None


def test_one_that_flickers_is_one_alert() -> None:
    """Gone for less than the calm: not over."""
    run = Run(calm=30.0)
    told = run.go(snapshot(price_state="stale"), 20)
    for _ in range(20):
        told += run.go(snapshot(), 15)
        told += run.go(snapshot(price_state="stale"), 15)
    assert told == ["firing OmegaPriceStale"]


def test_what_does_not_hold_is_never_told() -> None:
    """A venue that is away for half a minute now and then."""
    run = Run()
    told: list[str] = []
    for _ in range(20):
        told += run.go(snapshot(**WRONG["OmegaVenueStale"]), 30)
        told += run.go(snapshot(), 30)
    assert told == []


def test_an_alert_that_stays_is_told_again_after_a_while() -> None:
    """In case the first was overlooked."""
    run = Run(repeat=600.0)
    told = run.go(snapshot(price_state="stale"), 1300)
    assert told == ["firing OmegaPriceStale"] * 3


def test_venues_are_told_apart() -> None:
    """Each begins and ends for itself."""

    def sources(*states: str) -> dict[str, Any]:
        return {
            "sources": [
                SourceStatus(venue, state, 10, 1, 0, 0)  # type: ignore[arg-type] # the test's own words
                for venue, state in zip(("coinbase", "kraken"), states, strict=True)
            ]
        }

    run = Run()
    assert run.go(snapshot(**sources("stale", "live")), 60) == ["firing OmegaVenueStale coinbase"]
    assert run.go(snapshot(**sources("stale", "stopped")), 65) == ["firing OmegaVenueStale kraken"]
    assert run.go(snapshot(**sources("live", "stopped")), 60) == ["resolved OmegaVenueStale coinbase"]


def test_rates_are_of_the_last_minutes_not_of_all_time() -> None:
    """Slow closes of an hour ago do not count, though the total includes them."""
    run = Run()
    run.go(snapshot(closes={4008: 3}), 10)
    assert run.go(snapshot(closes={4008: 500}), 10) == ["firing OmegaSlowClosesRising"]
    assert run.go(snapshot(closes={4008: 500}), WINDOW + 60) == ["resolved OmegaSlowClosesRising"]


def test_a_pause_at_the_start_is_no_alert() -> None:
    """One second in the first twenty is over one in a hundred, and over."""
    run = Run()
    lag = LatencyHistogram()
    run.go(snapshot(loop_lag=lag.read()), 0)
    lag.record(0.9, 9)
    lag.record(0.0002, 991)
    assert run.go(snapshot(loop_lag=lag.read()), 100) == []
    for _ in range(20):
        lag.record(0.0002, 100)
        assert run.go(snapshot(loop_lag=lag.read()), 10) == []


def test_active_lists_the_critical_first() -> None:
    """As the page shows them."""
    run = Run()
    run.go(snapshot(certificate_left=0.0, price_state="stale"), 30)
    assert [alert.severity for alert in run.engine.active()] == ["critical", "warning"]
    assert run.engine.active()[1].summary == "the certificate has ended"


@given(st.lists(st.sampled_from([*sorted(WRONG), "fine"]), max_size=60))
def test_firing_and_resolved_alternate_whatever_happens(states: list[str]) -> None:
    """For each rule and subject: begin, end, begin, end; and ``active`` is those that began."""
    run = Run(repeat=None, calm=10.0)
    for state in states:
        run.go(snapshot(**WRONG.get(state, {})), 20)
    last: dict[tuple[str, str], str] = {}
    for notice in run.notices:
        key = (notice.alert.name, notice.alert.subject)
        assert last.get(key, "resolved") != notice.status
        last[key] = notice.status
    firing = {key for key, status in last.items() if status == "firing"}
    assert firing == {(alert.name, alert.subject) for alert in run.engine.active()}


def test_workers_that_die_again_and_again_are_told_though_each_is_replaced() -> None:
    """Two restarts are a mishap, three within the window are not."""
    run = Run()
    workers = [WorkerFigures(place=0, running=True)]
    assert run.go(snapshot(workers=workers, worker_restarts=5), 60) == []
    assert run.go(snapshot(workers=workers, worker_restarts=7), 60) == []
    assert run.go(snapshot(workers=workers, worker_restarts=8), 60) == ["firing OmegaWorkersFailing"]
    assert run.notices[-1].alert.summary == "workers died 3 times within 5 minutes"
    assert run.go(snapshot(workers=workers, worker_restarts=8), 600) == ["resolved OmegaWorkersFailing"]
