"""Which broker a text names, and what is said when it names none."""

from __future__ import annotations

from pathlib import Path

import pytest

from omega_ai.core.clock import ManualClock
from omega_ai.data_feed.broker import UnknownBroker, open_broker
from omega_ai.data_feed.broker.embedded import EmbeddedBroker
from omega_ai.data_feed.broker.memory import MemoryBroker
from omega_ai.data_feed.broker.redis import RedisBroker


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("memory", MemoryBroker),
        ("embedded", EmbeddedBroker),
        ("embedded:/srv/omega", EmbeddedBroker),
        ("redis://localhost", RedisBroker),
        ("rediss://u:p@example.org:6380/2", RedisBroker),
        ("unix:///run/redis.sock", RedisBroker),
    ],
)
def test_each_text_opens_its_broker(spec: str, kind: type) -> None:
    """Without starting or connecting anything."""
    assert type(open_broker(spec, clock=ManualClock())) is kind


def test_embedded_keeps_its_data_where_told_or_in_the_users_state_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The XDG state directory of the user, by default."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    default = open_broker("embedded", clock=ManualClock())
    assert isinstance(default, EmbeddedBroker)
    assert default.directory.name == "valkey"
    assert "omega-btc-ai" in str(default.directory)
    told = open_broker("embedded:/srv/omega", clock=ManualClock())
    assert isinstance(told, EmbeddedBroker)
    assert told.directory == Path("/srv/omega")


@pytest.mark.parametrize(
    "spec", ["", "Memory", "embedded:", "http://localhost", "redis:localhost", "memory:1"]
)
def test_a_text_that_names_none_is_answered_with_the_choices(spec: str) -> None:
    """A ValueError that lists what can be named."""
    with pytest.raises(UnknownBroker, match="use one of: memory, embedded"):
        open_broker(spec, clock=ManualClock())


def test_a_password_in_a_wrong_text_is_not_repeated() -> None:
    """What people paste ends up in logs."""
    with pytest.raises(UnknownBroker) as caught:
        open_broker("http://user:hunter2@host", clock=ManualClock())
    assert "hunter2" not in str(caught.value)
