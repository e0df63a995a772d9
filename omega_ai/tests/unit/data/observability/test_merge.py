"""Several processes' readings as one."""

from __future__ import annotations

from omega_ai.data_feed.observability.histogram import LatencyHistogram
from omega_ai.data_feed.observability.merge import merge_snapshots
from omega_ai.data_feed.observability.snapshot import DELIVERY, BrokerFigures, Snapshot
from omega_ai.tests.unit.data.observability.snapshots import NOW_NS, snapshot


def worker(**fields: object) -> Snapshot:
    """A process that only serves clients."""
    return Snapshot(now_ns=NOW_NS, uptime=5.0, **fields)  # type: ignore[arg-type] # checked where they are used


def test_alone_it_is_itself() -> None:
    """Without workers nothing changes."""
    own = snapshot()
    assert merge_snapshots(own, []) is own


def test_totals_add_up_by_label() -> None:
    """Labels that only one process has are kept."""
    own = worker()
    one = worker(messages_sent=5, closes={1000: 2, 4008: 1}, connections={"ws": 3}, handshakes={"ws": 9})
    two = worker(messages_sent=7, closes={1000: 1}, connections={"ws": 1, "wss": 4}, conflated=2)
    merged = merge_snapshots(own, [one, two])
    assert merged.messages_sent == 12
    assert merged.closes == {1000: 3, 4008: 1}
    assert merged.connections == {"ws": 4, "wss": 4}
    assert merged.clients == 8
    assert merged.handshakes == {"ws": 9}
    assert merged.conflated == 2


def test_what_those_cost_who_come_back_adds_up() -> None:
    """Over all processes, each of which has its own memory of the past."""
    one = worker(replays_active=2, replays={"tail": 3}, backlog_bytes=10, inlet_waiting=1, inlet_deferred=5)
    two = worker(replays_active=1, replays={"tail": 1, "broker": 1}, history_requests=9, history_reads=2)
    merged = merge_snapshots(worker(), [one, two])
    assert (merged.replays_active, merged.backlog_bytes, merged.inlet_waiting) == (3, 10, 1)
    assert merged.replays == {"tail": 4, "broker": 1}
    assert (merged.history_requests, merged.history_reads, merged.inlet_deferred) == (9, 2, 5)


def test_histograms_add_up_bucket_by_bucket() -> None:
    """So that a quantile over all is right; a stage that one process lacks is the others'."""
    quick, slow = LatencyHistogram(), LatencyHistogram()
    quick.record(0.0001, 90)
    slow.record(0.2, 10)
    merged = merge_snapshots(
        worker(loop_lag=quick.read()),
        [worker(latencies={DELIVERY: quick.read()}), worker(latencies={DELIVERY: slow.read()})],
    )
    reading = merged.latencies[DELIVERY]
    assert reading.count == 100
    assert reading.quantile(0.5) == 0.0001
    assert reading.quantile(0.99) == 2 ** (-9 / 4)
    assert merged.loop_lag == quick.read()


def test_what_one_process_alone_has_is_its_own() -> None:
    """Price, venues, broker and uptime are the main process's."""
    own = snapshot()
    merged = merge_snapshots(own, [worker(messages_sent=1)])
    assert merged.sources == own.sources
    assert merged.price_state == own.price_state
    assert merged.uptime == own.uptime
    assert merged.certificate_left == own.certificate_left


def test_a_broker_that_one_process_has_lost_is_down_for_all() -> None:
    """Each has its own connection; the one without says why. Losses and waiting messages add up."""
    own = worker(broker=BrokerFigures(detail="fine", buffered=1, reconnects=1))
    one = worker(broker=BrokerFigures(connected=False, detail="refused", buffered=5, reconnects=2))
    merged = merge_snapshots(own, [worker(), one])
    assert merged.broker == BrokerFigures(connected=False, detail="refused", buffered=6, reconnects=3)
    assert merge_snapshots(own, [worker()]).broker.connected


def test_what_clients_publish_through_workers_is_counted() -> None:
    """With what the main process publishes."""
    own = worker(published={"btc_price": 100, "trades": 7}, publish_refused=1)
    merged = merge_snapshots(own, [worker(published={"broadcast": 2, "btc_price": 3}, publish_refused=2)])
    assert merged.published == {"btc_price": 103, "trades": 7, "broadcast": 2}
    assert merged.publish_refused == 3
