"""A conversation without sockets: what it sends, delivers and gives up, by hand."""

from __future__ import annotations

import json
from typing import Any

from omega_ai.client.conversation import Conversation
from omega_ai.client.events import Event
from omega_ai.client.messages import Broadcast, ErrorMessage, Message, Mode, RequestId
from omega_ai.core.clock import ManualClock

Json = dict[str, Any]
TIME = "2026-01-01T00:00:00.000000Z"


class FakePort:
    """Keeps everything; ``taken`` empties what has been delivered."""

    def __init__(self) -> None:
        self.sent: list[Json] = []
        self.delivered: list[Message | Event] = []
        self.answers: dict[RequestId, Message] = {}
        self.awaited: set[RequestId] = set()
        self.settlements = 0
        self.refusals: list[tuple[frozenset[str], ErrorMessage]] = []
        self.pings = 0
        self.given_up: list[tuple[int, str]] = []

    def send(self, text: bytes) -> None:
        self.sent.append(json.loads(text))

    def deliver(self, item: Message | Event) -> None:
        self.delivered.append(item)

    def answer(self, request_id: RequestId, reply: Message) -> bool:
        if request_id not in self.awaited:
            return False
        self.answers[request_id] = reply
        return True

    def settled(self) -> None:
        self.settlements += 1

    def refused(self, channels: frozenset[str], error: ErrorMessage) -> None:
        self.refusals.append((channels, error))

    def ping(self) -> None:
        self.pings += 1

    def give_up(self, code: int, reason: str) -> None:
        self.given_up.append((code, reason))

    def taken(self) -> list[Message | Event]:
        items, self.delivered = self.delivered, []
        return items


class Table:
    """A conversation, its port and its clock; plays the server."""

    def __init__(self, channels: list[str] | None = None, mode: Mode = "all", **options: Any) -> None:
        self.port = FakePort()
        self.clock = ManualClock()
        self.conversation = Conversation(
            self.port, self.clock, channels=channels or ["broadcast"], mode=mode, **options
        )

    def connect(self) -> Table:
        """A new connection stands."""
        self.conversation.connected()
        return self

    def subscribed_to(self, channel: str = "broadcast") -> Json:
        """The last ``subscribe`` that names ``channel``."""
        return next(
            message
            for message in reversed(self.port.sent)
            if message["type"] == "subscribe" and channel in message["channels"]
        )

    def server(self, message: Json) -> None:
        """The server sends ``message``."""
        self.conversation.received(json.dumps(message).encode())

    def confirm(
        self, channel: str = "broadcast", epoch: str = "e", seq: int = 0, *, recovered: bool = False
    ) -> None:
        """The server answers the last ``subscribe`` of ``channel``."""
        asked = self.subscribed_to(channel)
        self.server(
            {
                "type": "subscribed",
                "id": asked["id"],
                "channel": channel,
                "epoch": epoch,
                "seq": seq,
                "mode": asked["mode"],
                "recovered": recovered,
            }
        )

    def publish(self, *seqs: int, epoch: str = "e") -> None:
        """Broadcasts with these positions arrive."""
        for seq in seqs:
            self.server({"type": "broadcast", "epoch": epoch, "seq": seq, "timestamp": TIME})

    def beat(self, seq: int, epoch: str = "e", channel: str = "broadcast") -> None:
        """A heartbeat with the top of ``channel``."""
        channels = {channel: {"epoch": epoch, "seq": seq}}
        self.server({"type": "heartbeat", "timestamp": TIME, "channels": channels})

    def reconnect(self) -> None:
        """The connection is lost, and a new one stands."""
        self.conversation.disconnected()
        self.conversation.connected()

    def seqs(self) -> list[int]:
        """The positions of what has been delivered since the last look."""
        return [item.seq for item in self.port.taken() if isinstance(item, Broadcast)]
