"""A contract is read from AsyncAPI 3 or a plain file, and says what a message is; what is wrong is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from omega_ai.data_feed.websocket.asyncapi import document as our_document
from omega_ai.testkit.contract.document import ContractError, load_contract, parse_contract
from omega_ai.testkit.zoo.contract import document, zoo_contract


def test_operations_say_who_sends_what_and_what_it_is_answered_with() -> None:
    """``receive`` is what the server takes; replies are what it sends."""
    contract = zoo_contract()
    assert [kind.name for kind in contract.takes] == ["add", "label", "reset"]
    assert {kind.name for kind in contract.sends} == {"sum", "labelled", "done", "error"}
    assert contract.takes[0].replies == ("sum", "error")
    assert contract.errors == ("error",)


def test_a_message_is_known_by_its_schema() -> None:
    """And what it is not, is said."""
    contract = zoo_contract()
    taken = contract.taken({"type": "add", "value": 1000})
    assert taken is not None
    assert taken.name == "add"
    assert contract.taken({"type": "add", "value": 1001}) is None
    assert (
        contract.fault(taken, {"type": "add", "value": 1001})
        == "value: 1001 is greater than the maximum of 1000"
    )
    assert contract.is_error({"type": "error", "message": "x"})
    assert not contract.is_error({"type": "error"})
    assert (
        contract.breach({"type": "sum", "total": "1"}) == "it is no sum: total: '1' is not of type 'integer'"
    )
    assert contract.breach({"type": "other"}) == "it is none of sum, error, labelled, done"


def test_our_own_document_is_a_contract() -> None:
    """References into the components are followed."""
    contract = parse_contract(our_document(version="1"))
    assert len(contract.takes) == 9
    assert contract.errors == ("error",)
    assert contract.taken({"type": "ping", "id": 7}) is not None
    assert contract.taken({"type": "ping", "id": "x" * 129}) is None


def test_a_plain_file_will_do(tmp_path: Path) -> None:
    """Two tables of schemas."""
    path = tmp_path / "contract.json"
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    path.write_text(json.dumps({"takes": {"number": schema}, "sends": {"answer": schema}}))
    contract = load_contract(str(path))
    assert contract.taken({"n": 1}) is not None
    assert contract.sent({"n": "1"}) is None


def test_yaml_is_read_too(tmp_path: Path) -> None:
    """Most AsyncAPI documents are YAML."""
    yaml = pytest.importorskip("yaml")
    path = tmp_path / "contract.yaml"
    path.write_text(yaml.safe_dump(document()))
    assert len(load_contract(str(path)).takes) == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no JSON"),
        ("[]", "it is not an object"),
        ('{"asyncapi": "2.6.0"}', "is AsyncAPI 2.6.0; version 3 is understood"),
        ('{"asyncapi": "3.0.0"}', "says of no message that the server takes it"),
        ('{"takes": {"a": {}}}', "says of no message that the server sends it"),
        ('{"takes": [], "sends": {}}', "takes is no table of schemas"),
    ],
)
def test_what_is_no_contract_is_told(tmp_path: Path, text: str, words: str) -> None:
    """With what is wrong."""
    path = tmp_path / "contract.json"
    path.write_text(text)
    with pytest.raises(ContractError, match=words):
        load_contract(str(path))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """By its name."""
    with pytest.raises(ContractError, match=r"nowhere\.json cannot be read: no such file"):
        load_contract(str(tmp_path / "nowhere.json"))
    with pytest.raises(ContractError, match=r"http://127\.0\.0\.1:1/ cannot be fetched"):
        load_contract("http://127.0.0.1:1/")
