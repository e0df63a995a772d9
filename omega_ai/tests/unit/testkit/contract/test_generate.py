"""What is generated is right, or wrong, as it says; bounds are always among it."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings

from omega_ai.data_feed.websocket.asyncapi import document as our_document
from omega_ai.testkit.contract.document import Contract, parse_contract
from omega_ai.testkit.contract.generate import edges, invalid_steps, valid_steps
from omega_ai.testkit.contract.step import Step
from omega_ai.testkit.zoo.contract import zoo_contract

OURS = parse_contract(our_document(version="1"))
ZOO = zoo_contract()
quickly = settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)


@quickly
@given(valid_steps(OURS, list(OURS.takes)))
def test_valid_messages_are_valid(step: Step) -> None:
    """Each is of the kind that it says."""
    kind = next(one for one in OURS.takes if one.name == step.kind)
    assert OURS.fault(kind, json.loads(step.text)) is None


@quickly
@given(invalid_steps(OURS, list(OURS.takes)))
def test_invalid_messages_are_none_of_the_contract(step: Step) -> None:
    """Of no kind at all."""
    assert not step.valid
    try:
        message = json.loads(step.text)
    except ValueError:
        return
    assert OURS.taken(message) is None


def texts(contract: Contract, name: str, *, valid: bool) -> list[str]:
    kind = next(one for one in contract.takes if one.name == name)
    return [step.text for step in edges(contract, kind, valid=valid)]


@pytest.mark.parametrize(
    ("name", "valid", "expected"),
    [
        ("add", True, '{"type":"add","value":1000}'),
        ("add", True, '{"type":"add","value":0}'),
        ("add", False, '{"type":"add","value":1001}'),
        ("add", False, '{"type":"add","value":-1}'),
        ("add", False, '{"type":"add"}'),
        ("add", False, "{"),
        ("label", True, '{"type":"label","text":"' + 20 * "x" + '"}'),
        ("label", False, '{"type":"label","text":"' + 21 * "x" + '"}'),
    ],
)
def test_bounds_are_always_tried(name: str, valid: bool, expected: str) -> None:
    """On both sides."""
    assert expected in texts(ZOO, name, valid=valid)


def test_values_that_mean_something_come_often() -> None:
    """A schema allows any text where a server knows four: by chance alone it would never be a known one."""
    contract = parse_contract(our_document(version="1"))
    contract.examples = {"channel": ["btc_price"]}
    kind = next(one for one in contract.takes if one.name == "history")
    seen: list[bool] = []

    @settings(quickly, derandomize=True)
    @given(valid_steps(contract, [kind]))
    def collect(step: Step) -> None:
        seen.append(json.loads(step.text)["channel"] == "btc_price")

    collect()
    # What was tried already is left out, so the share of one known value is no more than this in a bad draw.
    assert sum(seen) > len(seen) / 20
