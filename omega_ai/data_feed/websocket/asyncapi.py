"""The wire contract as an AsyncAPI 3.0 document, made from the message types themselves.

https://www.asyncapi.com/docs/reference/specification/v3.0.0. Served as ``/asyncapi.json``.
"""

from __future__ import annotations

import inspect
from typing import Any

import msgspec
from msgspec import Struct

from omega_ai.data_feed.websocket import bodies
from omega_ai.data_feed.websocket import messages as wire
from omega_ai.data_feed.websocket.errors import ErrorMessage

CLIENT_MESSAGES: dict[str, type[Struct]] = {
    "subscribe": wire.Subscribe,
    "unsubscribe": wire.Unsubscribe,
    "history": wire.HistoryRequest,
    "ping": wire.Ping,
    "auth": wire.Auth,
    "test": wire.Echo,
    "load_test": wire.LoadEcho,
    "btc_price": wire.PublishPrice,
    "broadcast": wire.PublishBroadcast,
}
"""What a client sends, by ``type``."""

ANSWERS: dict[str, type[Struct]] = {
    "subscribed": wire.Subscribed,
    "unsubscribed": wire.Unsubscribed,
    "history": wire.HistoryAnswer,
    "pong": wire.Pong,
    "authenticated": wire.Authenticated,
    "error": ErrorMessage,
    "heartbeat": wire.Heartbeat,
}
"""What the server sends to one client, by ``type``; echoes apart."""

PUBLISHED: dict[str, type[Struct] | None] = {
    "btc_price": bodies.PriceBody,
    "trades": bodies.TradeBody,
    "quotes": bodies.QuoteBody,
    "candles": bodies.CandleBody,
    "status": bodies.StatusBody,
    "broadcast": None,
}
"""What is published, by channel, which is its ``type``; a broadcast holds whatever its sender put in."""

_POSITION = {
    "epoch": {"type": "string", "description": "One unbroken life of the channel's sequence."},
    "seq": {"type": "integer", "minimum": 1, "description": "One more than that of the message before."},
}


def document(*, version: str, servers: dict[str, str] | None = None) -> dict[str, Any]:
    """The whole document. ``servers`` maps a name to a URL (``ws://host:port``)."""
    schemas = _schemas()
    received = {f"{kind}-to-client": _message(kind, schema) for kind, schema in _to_client(schemas).items()}
    sent = {f"{kind}-to-server": _message(kind, schema) for kind, schema in _to_server(schemas).items()}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "OMEGA BTC AI feed",
            "version": version,
            "description": inspect.cleandoc(wire.__doc__ or ""),
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {name: _server(url) for name, url in (servers or {}).items()},
        "channels": {
            "feed": {
                "address": "/",
                "description": "One WebSocket connection; its subscriptions are asked for by message.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in [*sent, *received]},
                "bindings": {
                    "ws": {
                        "query": {
                            "type": "object",
                            "properties": {
                                "channels": {
                                    "type": "string",
                                    "description": "Channels, joined by commas; empty for none.",
                                }
                            },
                        }
                    }
                },
            }
        },
        "operations": {
            "receive": _operation("send", received),
            "send": _operation("receive", sent),
        },
        "components": {"messages": sent | received, "schemas": schemas},
    }


def encode_document(*, version: str, servers: dict[str, str] | None = None) -> bytes:
    """The document as JSON text."""
    return msgspec.json.encode(document(version=version, servers=servers))


def _schemas() -> dict[str, Any]:
    """JSON Schema (2020-12) of every struct that is named in the tables above."""
    structs = [*CLIENT_MESSAGES.values(), *ANSWERS.values()]
    structs += [body for body in PUBLISHED.values() if body is not None]
    _, components = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    plain: dict[str, Any] = _as_on_the_wire(components)
    number = {"type": "number"}
    plain["PublishPrice"]["properties"]["price"] = number | {"exclusiveMinimum": 0}
    plain["PublishPrice"]["properties"]["volume"] = number | {"minimum": 0}
    for name, schema in plain.items():
        if "description" in schema:
            schema["description"] = inspect.cleandoc(schema["description"])
        # Whoever reads ignores what it does not know: fields may be added.
        if schema.get("type") == "object" and name != "Top":
            schema["additionalProperties"] = True
    return plain


def _as_on_the_wire(node: Any) -> Any:
    """Decimals are JSON numbers here; the library would have them as text."""
    if isinstance(node, dict):
        if node.get("type") == "string" and node.get("format") == "decimal":
            return {"type": "number"}
        return {key: _as_on_the_wire(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_as_on_the_wire(item) for item in node]
    return node


def _to_server(schemas: dict[str, Any]) -> dict[str, Any]:
    return {kind: _reference(struct.__name__, schemas) for kind, struct in CLIENT_MESSAGES.items()}


def _to_client(schemas: dict[str, Any]) -> dict[str, Any]:
    messages = {kind: _reference(struct.__name__, schemas) for kind, struct in ANSWERS.items()}
    for kind in ("test", "load_test"):
        messages[kind] = {
            "type": "object",
            "description": "The sender's own fields, with the time at which they were received.",
            "properties": {"type": {"const": kind}, "received_at": {"type": "string"}},
            "required": ["type", "received_at"],
        }
    for channel, body in PUBLISHED.items():
        position: dict[str, Any] = {
            "type": "object",
            "properties": {"type": {"const": channel}, **_POSITION},
            "required": ["type", "epoch", "seq"],
        }
        parts = [position] if body is None else [_reference(body.__name__, schemas), position]
        messages[channel] = {"allOf": parts}
    return messages


def _reference(name: str, schemas: dict[str, Any]) -> dict[str, Any]:
    if name not in schemas:
        raise KeyError(f"{name} has no schema")
    return {"$ref": f"#/components/schemas/{name}"}


def _message(kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": kind, "title": kind, "payload": schema}


def _operation(action: str, messages: dict[str, Any]) -> dict[str, Any]:
    """``action`` is the server's: the document describes it, not its clients."""
    return {
        "action": action,
        "channel": {"$ref": "#/channels/feed"},
        "messages": [{"$ref": f"#/channels/feed/messages/{name}"} for name in messages],
    }


def _server(url: str) -> dict[str, Any]:
    protocol, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return {"host": host, "protocol": protocol, **({"pathname": slash + path} if path else {})}
