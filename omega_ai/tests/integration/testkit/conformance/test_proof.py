"""The proof that every case can fail, on a part of the suite; the whole takes minutes and is a command."""

from __future__ import annotations

import pytest

from omega_ai.testkit.case import Suite
from omega_ai.testkit.conformance.exchange import Exchange
from omega_ai.testkit.conformance.suite import SUITE
from omega_ai.testkit.zoo.conformance_prove import prove

NAMES = ("framing-text-1", "close-code-1000", "ping-text", "open-wrong-no-key", "open-right-plain")


async def test_cases_that_fail_nowhere_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What one server does not show, another does; what none shows is left."""
    monkeypatch.setattr(Exchange, "patience", 1.0)
    cases = [case for case in SUITE if case.id.partition(".")[2] in NAMES]
    suite = Suite(name="conformance", title="a part", cases=cases)
    assert await prove(suite, [()]) == {case.id for case in cases}
    left = await prove(suite, [("corrupts",), ("wrong-close",), ("upgrades-all",)])
    assert left == set()
    assert "corrupts" in capsys.readouterr().out
