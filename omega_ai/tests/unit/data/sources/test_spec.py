"""``--source`` as it is typed."""

from __future__ import annotations

import pytest

from omega_ai.data_feed.sources.base import SourceError
from omega_ai.data_feed.sources.replay import ReplaySource
from omega_ai.data_feed.sources.simulated import SimulatedSource
from omega_ai.data_feed.sources.spec import source_of


def test_none_is_no_source():
    """A feed that only passes on what clients publish."""
    assert source_of("none") is None


def test_simulated_takes_seed_rate_and_venues():
    """All have defaults."""
    assert isinstance(source_of("simulated"), SimulatedSource)
    source = source_of("simulated?seed=7&rate=100&venues=2")
    assert source is not None
    assert source.venues == ("sim-1", "sim-2")


@pytest.mark.parametrize("options", ["", "?speed=10", "?speed=max", "?speed=0.5"])
def test_replay_takes_a_file_and_a_speed(tmp_path, options):
    """The name says which file."""
    path = tmp_path / "recording"
    path.write_bytes(b'{"channel":"heartbeat"}\n')
    source = source_of(f"replay:{path}{options}")
    assert isinstance(source, ReplaySource)
    assert source.name == f"replay:{path}"


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("", "unknown source"),
        ("replay:", "unknown source"),
        ("nonsense", "there are live, none, simulated and replay:FILE"),
        ("simulated?rate=x", "rate must be a number"),
        ("simulated?rate=nan", "rate must be a number"),
        ("simulated?rate=-1", "from 0.01"),
        ("simulated?colour=red", "unknown option: colour"),
        ("simulated?rate", "name=value"),
        ("replay:/nowhere/x", "does not exist"),
    ],
)
def test_a_mistake_is_named(spec, text):
    """With what there would have been."""
    with pytest.raises(SourceError, match=text):
        source_of(spec)


def test_a_speed_that_is_no_number_is_named(tmp_path):
    """The file being there does not help."""
    path = tmp_path / "recording"
    path.write_bytes(b'{"channel":"heartbeat"}\n')
    for speed in ("fast", "0", "-1", "inf"):
        with pytest.raises(SourceError, match="speed"):
            source_of(f"replay:{path}?speed={speed}")
