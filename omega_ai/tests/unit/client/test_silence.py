"""When a connection that says nothing counts as dead."""

from __future__ import annotations

from omega_ai.client.silence import Silence


def test_silence_is_asked_about_once_and_then_believed() -> None:
    """A ping after its interval, and the end if nothing at all comes in time."""
    silence = Silence(None, 20.0, 5.0)
    silence.heard(100.0)
    assert silence.deadlines() == [120.0]
    assert not silence.ping_is_due(119.9)
    assert silence.ping_is_due(120.0)
    assert not silence.ping_is_due(121.0)
    assert silence.deadlines() == [125.0]
    assert silence.verdict(124.9) is None
    assert silence.verdict(125.0) == "no pong within 5 s"


def test_anything_that_comes_begins_anew() -> None:
    """It need not be the pong."""
    silence = Silence(30.0, 20.0, 5.0)
    silence.heard(0.0)
    assert silence.ping_is_due(20.0)
    silence.heard(24.0)
    assert silence.verdict(40.0) is None
    assert silence.deadlines() == [54.0, 44.0]


def test_without_pings_a_heartbeat_must_come() -> None:
    """And without either, silence means nothing."""
    silence = Silence(5.0, None, 5.0)
    silence.heard(1.0)
    assert not silence.ping_is_due(1000.0)
    assert silence.verdict(6.0) == "nothing came for 5 s, not even a heartbeat"
    silence.heartbeat_timeout = None
    assert silence.verdict(1000.0) is None
    assert silence.deadlines() == []
