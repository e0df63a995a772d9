"""The real connectors over real sockets, against exchanges that misbehave: the output equals the truth."""

from __future__ import annotations

from omega_ai.data_feed.exchanges.detect import VENUES
from omega_ai.data_feed.exchanges.standin.faults import KINDS
from omega_ai.tests.integration.ingest.trial import Trial, run


async def test_no_trade_is_lost_doubled_or_out_of_order_whatever_the_exchanges_do():
    """All six at once, every kind of misbehaviour somewhere; and no price from a venue that is dead."""
    outcome = await run(Trial(seed=20_261_123, duration_s=18.0, pause_s=(0.2, 0.8), fault_s=(0.3, 0.9)))
    assert outcome.problems == []
    assert [text for venue in outcome.venues for text in venue.said] == []
    assert {venue.name for venue in outcome.venues} == set(VENUES)
    assert {kind for venue in outcome.venues for kind in venue.faults} == set(KINDS)
    assert all(venue.received > 30 for venue in outcome.venues)
    assert all(sum(venue.faults.values()) >= 6 for venue in outcome.venues)
    assert sum(venue.gaps for venue in outcome.venues) > 0
    assert sum(venue.refused for venue in outcome.venues) > 0
    assert sum(venue.reconnects for venue in outcome.venues) > 6
    assert outcome.prices > 50
