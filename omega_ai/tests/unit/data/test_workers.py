"""What is kept of workers that are gone."""

from __future__ import annotations

from omega_ai.data_feed.observability.merge import merge_snapshots
from omega_ai.data_feed.workers import _Totals
from omega_ai.tests.unit.data.observability.snapshots import snapshot


def test_what_a_worker_had_counted_goes_on_and_what_it_held_does_not() -> None:
    """A counter that falls would look like a restart of the feed, and nobody waits in a dead process."""
    gone = _Totals()
    gone.add(None)  # it died before it had told anything
    gone.add(snapshot())
    gone.add(snapshot())
    merged = merge_snapshots(snapshot(), gone.snapshots)
    one = snapshot()
    for counted in ("messages_sent", "bytes_sent", "history_requests", "history_reads", "inlet_deferred"):
        assert getattr(merged, counted) == 3 * getattr(one, counted), counted
    assert merged.replays == {origin: 3 * count for origin, count in one.replays.items()}
    for held in ("connections", "outbox_bytes", "replays_active", "backlog_bytes", "inlet_waiting"):
        assert getattr(merged, held) == getattr(one, held), held
