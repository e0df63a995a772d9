"""The worked examples of profiles, each against a server of its kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from omega_ai.testkit.profile import load_profile
from omega_ai.testkit.result import RunResult
from omega_ai.testkit.runner import Runner
from omega_ai.testkit.suites import load_suite
from omega_ai.testkit.target import Target
from omega_ai.testkit.verdict import Verdict
from omega_ai.tests.integration.testkit.servers import Chat, Handler, Market, json_rpc, serving

EXAMPLES = "docs/testkit/profiles"


async def run(root: Path, example: str, handler: Handler, cases: set[str]) -> RunResult:
    profile = load_profile(str(root / EXAMPLES / f"{example}.toml"))
    async with serving(handler) as url:
        suites = [
            load_suite(name) for name in dict.fromkeys(case.partition(".")[0] for case in sorted(cases))
        ]
        return await Runner(Target(url, profile), seed=1, only=cases).run(suites)


@pytest.mark.parametrize(
    ("example", "handler", "cases"),
    [
        ("chat", Chat(), {"broadcast.fan-out", "broadcast.publishers", "broadcast.only-subscribers"}),
        ("json-rpc", json_rpc, {"messages.echo", "messages.separate", "messages.mistakes", "messages.burst"}),
        ("market", Market(), {"messages.feed", "connectivity.ping"}),
    ],
)
async def test_a_worked_example_passes(root: Path, example: str, handler: Handler, cases: set[str]) -> None:
    """Every case named here is put to the server, and passed."""
    result = await run(root, example, handler, cases)
    found = {case.id: (case.verdict, case.finding, case.skipped) for case in result.cases}
    assert set(found) == cases
    assert dict.fromkeys(cases, (Verdict.PASS, None)) == {
        case_id: (verdict, skipped) for case_id, (verdict, _, skipped) in found.items()
    }, found


async def test_a_market_feed_that_loses_is_caught_by_its_numbers(root: Path) -> None:
    """Although nothing of ours is in its messages."""
    result = await run(root, "market", Market(lose=20), {"messages.feed"})
    assert result.verdict is Verdict.FAIL
    (case,) = result.cases
    assert {finding.kind for finding in case.findings} == {"lost"}


def test_the_page_shows_the_examples_as_they_are(root: Path) -> None:
    """Nothing is pasted by hand."""
    page = (root / "docs" / "testkit" / "profiles.md").read_text(encoding="utf-8")
    for example in ("chat", "json-rpc", "market"):
        assert (root / EXAMPLES / f"{example}.toml").read_text(encoding="utf-8").strip() in page
