"""The supervisor's sockets are exercised in ``tests/integration/ingest``; here is only what needs none."""

from __future__ import annotations

import random

from omega_ai.core.clock import SystemClock
from omega_ai.data_feed.exchanges.detect import VENUES
from omega_ai.data_feed.exchanges.supervisor import VenueSupervisor


def test_making_one_opens_nothing():
    """It is run for that; words for lines that do not exist go nowhere."""
    events: list[object] = []
    supervisor = VenueSupervisor(
        VENUES["kraken"],
        "ws://127.0.0.1:9",
        events.append,
        events.append,
        clock=SystemClock(),
        rng=random.Random(1),
    )
    supervisor.send(1, b"x")
    supervisor.send_ping(1)
    supervisor.close(1, "there is none")
    assert events == []
