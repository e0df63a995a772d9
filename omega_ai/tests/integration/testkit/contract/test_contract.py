"""Each server that breaks its contract is caught, with few messages, and a test that shows it again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import uvloop

from omega_ai.cli.app import main
from omega_ai.testkit import portal as kit
from omega_ai.testkit.context import Context
from omega_ai.testkit.contract import suite
from omega_ai.testkit.result import Severity
from omega_ai.testkit.target import Target
from omega_ai.testkit.verdict import Verdict
from omega_ai.testkit.zoo.contract import CONTRACT_EXHIBITS, ContractExhibit, ContractSite, document
from omega_ai.testkit.zoo.contract_prove import put


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer conversations than the suite has, and a wait that suits a server which answers at once."""
    monkeypatch.setattr(suite, "EXAMPLES", 4)
    monkeypatch.setattr(suite, "SEQUENCES", 20)
    monkeypatch.setattr("omega_ai.testkit.runner.is_busy", lambda lag_s: False)


@pytest.mark.parametrize("exhibit", CONTRACT_EXHIBITS, ids=lambda exhibit: exhibit.name)
def test_the_breach_is_caught_and_made_small(
    monkeypatch: pytest.MonkeyPatch, exhibit: ContractExhibit
) -> None:
    """By its case, and for its reason."""
    monkeypatch.setattr("omega_ai.testkit.contract.talk.ANSWER_S", 1.5)
    result = uvloop.run(put(exhibit.site, exhibit.case, 1))
    assert result.verdict is Verdict.FAIL, result.finding
    kinds = {one.kind for one in result.findings if one.severity is Severity.FAILURE}
    assert kinds == {exhibit.kind}, result.finding
    assert result.reproducer is not None
    name, text = result.reproducer
    assert name.startswith("test_contract_")
    assert text.count("client.send(") == exhibit.steps
    compile(text, name, "exec")


@pytest.mark.parametrize("case", [case.id for case in suite.SUITE])
def test_a_server_that_keeps_its_contract_passes(case: str) -> None:
    """Whatever it is sent."""
    result = uvloop.run(put(ContractSite, case, 2))
    assert result.verdict is Verdict.PASS, result.finding
    assert result.reproducer is None


@pytest.mark.parametrize("exhibit", CONTRACT_EXHIBITS, ids=lambda exhibit: exhibit.name)
def test_the_test_that_is_printed_fails_there_and_passes_on_a_right_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exhibit: ContractExhibit
) -> None:
    """As it stands, with the fixture ``ws`` of the pytest plugin."""
    monkeypatch.setattr("omega_ai.testkit.contract.talk.ANSWER_S", 1.5)
    monkeypatch.chdir(tmp_path)
    Path("zoo-contract.json").write_text(json.dumps(document()))
    result = uvloop.run(put(exhibit.site, exhibit.case, 1))
    assert result.reproducer is not None
    name, text = result.reproducer
    printed: dict = {}
    exec(compile(text, name, "exec"), printed)
    (test,) = (value for key, value in printed.items() if key.startswith("test_"))
    outcomes = []
    for site in (exhibit.site, ContractSite):
        with kit.Portal() as portal:
            server = portal.call(site(1).__aenter__())
            context = Context(Target(server.url, server.profile), seed=1)
            try:
                test(kit.Tester(portal, context))
            except AssertionError:
                outcomes.append("failed")
            else:
                outcomes.append("passed")
            portal.call(context.release())
            portal.call(server.__aexit__())
    assert outcomes == ["failed", "passed"]


def test_the_command_tells_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without Hypothesis there are no tests from a contract, and it says how to have them."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code = main(["test", "ws://127.0.0.1:1/", "--contract", "x.json", "--suite", "contract"])
    assert code == 3
    assert "pip install 'omega-btc-ai[contract]'" in capsys.readouterr().err
