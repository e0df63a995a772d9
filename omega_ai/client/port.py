"""``Port``: what a conversation acts on, be it a connection or a test."""

from __future__ import annotations

from typing import Protocol

from omega_ai.client.events import Event
from omega_ai.client.messages import ErrorMessage, Message, RequestId


class Port(Protocol):
    """What a conversation acts on."""

    def send(self, text: bytes) -> None:
        """Send a text message on the present connection."""
        ...

    def deliver(self, item: Message | Event) -> None:
        """Something for the user; the order of the calls is the order of events."""
        ...

    def answer(self, request_id: RequestId, reply: Message) -> bool:
        """The reply to a request; False if nobody waits for it."""
        ...

    def settled(self) -> None:
        """Every subscription has been answered."""
        ...

    def refused(self, channels: frozenset[str], error: ErrorMessage) -> None:
        """The server will not give these channels; they have been given up."""
        ...

    def ping(self) -> None:
        """Send a WebSocket ping."""
        ...

    def give_up(self, code: int, reason: str) -> None:
        """The present connection is of no use: close it with ``code``, or drop it at once for 1006."""
        ...
