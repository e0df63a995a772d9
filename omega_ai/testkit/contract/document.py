"""A contract: which messages a server takes and which it sends, as JSON Schemas.

Read from an AsyncAPI 3 document (https://www.asyncapi.com/docs/reference/specification/v3.0.0), or from a
plain file ``{"takes": {NAME: SCHEMA}, "sends": {NAME: SCHEMA}}``. JSON, and YAML where PyYAML is installed.
"""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

SIZE_LIMIT: Final = 8 << 20
"""Bytes of a contract that are read."""
FETCH_S: Final = 10.0
HOW: Final = "pip install 'omega-btc-ai[contract]'"


class ContractError(ValueError):
    """It cannot be read or used; ``str(error)`` says why, and what to do."""


@dataclass(frozen=True, slots=True)
class MessageType:
    """One kind of message."""

    name: str
    schema: Mapping[str, Any]
    replies: tuple[str, ...] = ()
    """Names of the messages with which it is answered; empty: the contract does not say."""


@dataclass(slots=True)
class Contract:
    """Messages in both directions. ``root`` is the document that references (``#/...``) lead into."""

    source: str
    takes: tuple[MessageType, ...]
    sends: tuple[MessageType, ...]
    root: Mapping[str, Any]
    examples: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Name of a field, wherever it stands -> values that mean something, of all that the schema allows."""
    errors: tuple[str, ...] = ()
    """Names of those sent messages that say that something was wrong."""
    _validators: dict[str, Any] = field(default_factory=dict, repr=False)

    def fault(self, kind: MessageType, message: Any) -> str | None:
        """Why ``message`` is not of this kind; None if it is."""
        error = next(iter(self._validator(kind).iter_errors(message)), None)
        if error is None:
            return None
        where = "/".join(map(str, error.absolute_path))
        return f"{where}: {error.message}" if where else str(error.message)

    def taken(self, message: Any) -> MessageType | None:
        """The kind of message that a client may send and that ``message`` is."""
        return _kind_of(self, self.takes, message)

    def sent(self, message: Any) -> MessageType | None:
        """The kind of message that the server may send and that ``message`` is."""
        return _kind_of(self, self.sends, message)

    def is_error(self, message: Any) -> bool:
        """Whether it tells of an error, as the contract has it."""
        return any(kind.name in self.errors and self.fault(kind, message) is None for kind in self.sends)

    def breach(self, message: Any) -> str:
        """Why ``message`` is nothing that the server may send: the nearest kind, and what differs."""
        named = [kind for kind in self.sends if _type_of(kind, self.root) == _get(message, "type")]
        if len(named) == 1:
            return f"it is no {named[0].name}: {self.fault(named[0], message)}"
        return "it is none of " + ", ".join(kind.name for kind in self.sends)

    def resolve(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """``schema``, a reference followed."""
        for _ in range(32):
            reference = schema.get("$ref")
            if reference is None:
                return schema
            schema = follow(self.root, reference)
        raise ContractError(f"{self.source}: references go round in a circle")

    def _validator(self, kind: MessageType) -> Any:
        found = self._validators.get(kind.name)
        if found is None:
            try:
                from jsonschema import Draft202012Validator
            except ImportError:
                raise ContractError(f"to look at a contract, jsonschema is needed: {HOW}") from None
            # References lead into the whole document, which so has to be the schema.
            schema = {**self.root, "$defs": {"it": kind.schema}, "$ref": "#/$defs/it"}
            schema.pop("$id", None)
            found = self._validators[kind.name] = Draft202012Validator(schema)
        return found


def _kind_of(contract: Contract, kinds: Iterable[MessageType], message: Any) -> MessageType | None:
    return next((kind for kind in kinds if contract.fault(kind, message) is None), None)


def _get(message: Any, name: str) -> Any:
    return message.get(name) if isinstance(message, dict) else None


def _type_of(kind: MessageType, root: Mapping[str, Any]) -> Any:
    """The fixed value of the field ``type``, if the schema has one."""
    stack: list[Mapping[str, Any]] = [kind.schema]
    for _ in range(64):
        if not stack:
            return None
        schema = stack.pop()
        if "$ref" in schema:
            stack.append(follow(root, schema["$ref"]))
        given = schema.get("properties", {}).get("type", {})
        if "const" in given:
            return given["const"]
        if len(given.get("enum", ())) == 1:
            return given["enum"][0]
        stack += schema.get("allOf", ())
    return None


def follow(root: Mapping[str, Any], reference: str) -> Mapping[str, Any]:
    """What ``#/...`` stands for in ``root``."""
    if not isinstance(reference, str) or not reference.startswith("#/"):
        raise ContractError(f"{reference!r}: only references within the document (#/...) are followed")
    node: Any = root
    for step in reference[2:].split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(node, Mapping) or name not in node:
            raise ContractError(f"{reference!r} leads nowhere")
        node = node[name]
    if not isinstance(node, Mapping):
        raise ContractError(f"{reference!r} is no object")
    return node


def load_contract(source: str) -> Contract:
    """Read a contract from a file or an http(s) URL.

    Raises:
        ContractError: it cannot be had, or it is none.
    """
    text = _fetch(source) if re.match(r"https?://", source) else _read(source)
    try:
        document = json.loads(text)
    except ValueError as error:
        document = _yaml(text, source, error)
    if not isinstance(document, dict):
        raise ContractError(f"{source} is no contract: it is not an object")
    return parse_contract(document, source)


def parse_contract(document: Mapping[str, Any], source: str = "the contract") -> Contract:
    """Understand a document. Raises ``ContractError``."""
    if "asyncapi" in document:
        version = str(document["asyncapi"])
        if not version.startswith("3."):
            raise ContractError(f"{source} is AsyncAPI {version}; version 3 is understood")
        takes, sends = _asyncapi(document)
    else:
        takes = [MessageType(name, schema) for name, schema in _table(document, "takes").items()]
        sends = [MessageType(name, schema) for name, schema in _table(document, "sends").items()]
    if not takes or not sends:
        missing = "takes" if not takes else "sends"
        raise ContractError(f"{source} says of no message that the server {missing} it")
    errors = tuple(kind.name for kind in sends if "error" in kind.name.lower())
    return Contract(source, tuple(takes), tuple(sends), document, errors=errors)


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = document.get(name, {})
    if not isinstance(table, Mapping) or not all(isinstance(schema, Mapping) for schema in table.values()):
        raise ContractError(f"{name} is no table of schemas")
    return table


def _asyncapi(document: Mapping[str, Any]) -> tuple[list[MessageType], list[MessageType]]:
    """``receive`` and ``send`` are the server's own."""
    found: dict[str, dict[str, MessageType]] = {"receive": {}, "send": {}}
    for operation in document.get("operations", {}).values():
        action = operation.get("action")
        if action not in found:
            continue
        reply = operation.get("reply", {})
        answers = tuple(_names(document, reply))
        for kind in _messages(document, operation):
            found[action][kind.name] = MessageType(kind.name, kind.schema, answers)
        for kind in _messages(document, reply):
            found["send" if action == "receive" else "receive"].setdefault(kind.name, kind)
    return list(found["receive"].values()), list(found["send"].values())


def _names(document: Mapping[str, Any], part: Mapping[str, Any]) -> list[str]:
    return [kind.name for kind in _messages(document, part)]


def _messages(document: Mapping[str, Any], part: Mapping[str, Any]) -> list[MessageType]:
    """Of an operation or a reply: those that it names, else all of its channel."""
    given: Any = part.get("messages")
    if given is None:
        channel: Any = part.get("channel", {})
        if "$ref" in channel:
            channel = follow(document, channel["$ref"])
        given = list(channel.get("messages", {}).values())
    kinds = []
    for item in given:
        message: Mapping[str, Any] = item
        where = ""
        while "$ref" in message:
            where = message["$ref"]
            message = follow(document, where)
        payload = message.get("payload")
        if isinstance(payload, Mapping):
            name = str(message.get("name") or where.rpartition("/")[2] or "message")
            schema = payload.get("schema", payload) if "schemaFormat" in payload else payload
            kinds.append(MessageType(name, schema))
    return kinds


def _read(source: str) -> str:
    path = Path(source)
    try:
        if path.stat().st_size > SIZE_LIMIT:
            raise ContractError(f"{source} has more than {SIZE_LIMIT >> 20} MiB")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ContractError(f"{source} cannot be read: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise ContractError(f"{source} is not UTF-8") from None


def _fetch(source: str) -> str:
    try:
        with urllib.request.urlopen(source, timeout=FETCH_S) as answer:  # noqa: S310 - http(s), see load_contract
            data = answer.read(SIZE_LIMIT + 1)
    except (OSError, urllib.error.URLError, ValueError) as error:
        raise ContractError(f"{source} cannot be fetched: {error}") from None
    if len(data) > SIZE_LIMIT:
        raise ContractError(f"{source} has more than {SIZE_LIMIT >> 20} MiB")
    return str(data, "utf-8", "replace")


def _yaml(text: str, source: str, error: ValueError) -> Any:
    if text.lstrip().startswith(("{", "[")):
        raise ContractError(f"{source} is no JSON: {error}") from None
    try:
        import yaml
    except ImportError:
        raise ContractError(f"{source} is no JSON; to read YAML: {HOW}") from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as problem:
        raise ContractError(f"{source} is neither JSON nor YAML: {str(problem).splitlines()[0]}") from None
