"""The machine-readable contract against what really crosses the wire."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import jsonschema
import pytest
from websockets.asyncio.client import ClientConnection, connect

from omega_ai.core.clock import SystemClock
from omega_ai.data_feed.feed import Feed
from omega_ai.data_feed.settings import FeedSettings
from omega_ai.data_feed.websocket.asyncapi import document
from omega_ai.data_feed.websocket.messages import CHANNELS


class Contract:
    """The document, with a validator per message."""

    def __init__(self, contract: dict[str, Any]) -> None:
        self.contract = contract
        self.messages: dict[str, Any] = contract["components"]["messages"]

    def check(self, message: dict[str, Any], direction: str) -> None:
        """Fails unless ``message`` is what the document says of its type."""
        name = f"{message['type']}-{direction}"
        assert name in self.messages, f"the document knows no {name}"
        schema = {"components": self.contract["components"], **self.messages[name]["payload"]}
        jsonschema.Draft202012Validator(schema).validate(message)

    def fails(self, message: dict[str, Any], direction: str) -> bool:
        """Whether the document refuses ``message``."""
        try:
            self.check(message, direction)
        except jsonschema.ValidationError:
            return True
        return False


@pytest.fixture
def contract() -> Contract:
    """The document as it is made."""
    made = document(version="1", servers={"plain": "ws://localhost:8765"})
    return Contract(json.loads(json.dumps(made)))


SENT: list[dict[str, Any]] = [
    {"type": "unsubscribe", "id": "u", "channels": ["broadcast"]},
    {"type": "subscribe", "id": 1, "channels": list(CHANNELS)},
    {"type": "subscribe", "channels": ["trades"], "mode": "latest", "interval_ms": 50},
    {"type": "subscribe", "channels": ["trades"], "since": {"trades": {"epoch": "old", "seq": 3}}},
    {"type": "history", "id": "h", "channel": "trades", "limit": 5},
    {"type": "ping", "id": 9},
    {"type": "test", "anything": [1, {"a": None}]},
    {"type": "load_test", "n": 1},
    {"type": "btc_price", "price": 61800.01, "volume": 2, "timestamp": "2026-01-01T00:00:00Z"},
    {"type": "broadcast", "timestamp": "2026-01-01T00:00:00Z", "note": "hello"},
]
WRONG: list[dict[str, Any]] = [
    {"type": "subscribe"},
    {"type": "subscribe", "channels": "trades"},
    {"type": "subscribe", "channels": ["trades"], "mode": "some"},
    {"type": "btc_price", "price": 0, "volume": 1, "timestamp": "2026-01-01T00:00:00Z"},
    {"type": "btc_price", "price": "1", "volume": 1, "timestamp": "2026-01-01T00:00:00Z"},
    {"type": "ping", "id": [1]},
    {"type": "history", "channel": "trades", "limit": 0},
]
EXPECTED = {
    "subscribed", "unsubscribed", "history", "pong", "test", "load_test", "error", "heartbeat",
    "btc_price", "trades", "quotes", "candles", "status", "broadcast",
}  # fmt: skip


async def collect(client: ClientConnection, wanted: set[str]) -> dict[str, list[dict[str, Any]]]:
    """Messages by type, until each of ``wanted`` has come."""
    seen: dict[str, list[dict[str, Any]]] = {}
    async with asyncio.timeout(15):
        while not wanted <= seen.keys():
            message = json.loads(await client.recv())
            seen.setdefault(message["type"], []).append(message)
    return seen


async def test_everything_on_the_wire_is_as_the_document_says(contract: Contract) -> None:
    """All that a client may send is accepted, all that the server sends is described."""
    settings = FeedSettings(port=0, tls_port=None, http_port=0, broker="memory", source="simulated?rate=20")
    async with Feed(settings, clock=SystemClock()) as feed:
        assert feed.endpoints is not None
        assert feed.endpoints.ws is not None
        async with connect(feed.endpoints.ws) as client:
            for message in SENT:
                contract.check(message, "to-server")
                await client.send(json.dumps(message))
            for message in WRONG:
                await client.send(json.dumps(message))
            seen = await collect(client, EXPECTED)
            for messages in seen.values():
                for message in messages:
                    contract.check(message, "to-client")
            assert len(seen["error"]) == len(WRONG), "the server accepts what the document refuses"
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{feed.endpoints.http}/asyncapi.json") as answer,
        ):
            assert answer.status == 200
            served = await answer.json()
    assert served["asyncapi"] == "3.0.0"
    assert served["components"] == contract.contract["components"]
    assert served["servers"]["plain"]["host"].startswith("127.0.0.1:")


def test_what_the_server_refuses_the_document_refuses_too(contract: Contract) -> None:
    """So that a client which validates finds out before it sends."""
    assert all(contract.fails(message, "to-server") for message in WRONG)


def test_every_reference_leads_somewhere(contract: Contract) -> None:
    """A document with dangling references is of no use to tools."""

    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [r for value in node.values() for r in references(value)]
        return [r for item in node for r in references(item)] if isinstance(node, list) else []

    for reference in references(contract.contract):
        node: Any = contract.contract
        for part in reference.removeprefix("#/").split("/"):
            assert part in node, reference
            node = node[part]
