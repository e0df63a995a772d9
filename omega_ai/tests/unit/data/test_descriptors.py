"""The limit on descriptors is raised as far as it may be, and told when it is too low."""

from __future__ import annotations

import resource

import pytest
import structlog

from omega_ai.data_feed.descriptors import RESERVE, raise_descriptor_limit


class Limits:
    """The kernel's limits, pretended."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, *, refuse: bool = False
    ) -> None:
        self.limits = (soft, hard)
        self.refuse = refuse
        monkeypatch.setattr(resource, "getrlimit", lambda _: self.limits)
        monkeypatch.setattr(resource, "setrlimit", self._set)

    def _set(self, _: int, limits: tuple[int, int]) -> None:
        if self.refuse:
            raise ValueError("not permitted")
        self.limits = limits


@pytest.mark.usefixtures("every_line")
def test_it_is_raised_to_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no further; the log says so."""
    limits = Limits(monkeypatch, 1024, 100_000)
    with structlog.testing.capture_logs() as lines:
        assert raise_descriptor_limit(50_000) == 50_000
    assert limits.limits == (50_000 + RESERVE, 100_000)
    assert [line["event"] for line in lines] == ["descriptor_limit_raised"]


@pytest.mark.usefixtures("every_line")
def test_a_hard_limit_that_is_too_low_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do about it."""
    limits = Limits(monkeypatch, 1024, 4096)
    with structlog.testing.capture_logs() as lines:
        assert raise_descriptor_limit(50_000) == 4096 - RESERVE
    assert limits.limits == (4096, 4096)
    assert "LimitNOFILE" in lines[-1]["event"]


def test_a_system_that_refuses_leaves_things_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some allow less than they tell."""
    Limits(monkeypatch, 1024, resource.RLIM_INFINITY, refuse=True)
    assert raise_descriptor_limit(50_000) == 1024 - RESERVE


def test_a_limit_that_suffices_is_not_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is logged either."""
    limits = Limits(monkeypatch, 65_536, 65_536)
    with structlog.testing.capture_logs() as lines:
        assert raise_descriptor_limit(1000) == 1000
    assert limits.limits == (65_536, 65_536)
    assert lines == []
