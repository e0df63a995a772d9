"""Servers with broken recovery, and a client without patience: each fails the experiment meant for it."""

from __future__ import annotations

from typing import Any

from omega_ai.core.websocket.handshake import Refusal, Request, Upgrade
from omega_ai.testkit.zoo.returning import DoublesAfterReconnect, NothingAfterReconnect
from omega_ai.testkit.zoo.site import Site, Visitor


class NoResume(NothingAfterReconnect):
    """Says that all is recovered, and sends nothing of it."""


class DoublesAfterResume(DoublesAfterReconnect):
    """Sends the last message that the client has once more."""


class LeaksOnReset(Site):
    """Frees a place only when a client says good-bye: after enough resets nobody is let in."""

    places = 64

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.taken = 0

    class visitor(Visitor):  # noqa: N801 - it is the attribute that makes connections
        """See the class."""

        def upgrade(self, request: Request) -> Upgrade:
            """See the class."""
            site = self.site
            assert isinstance(site, LeaksOnReset)  # noqa: S101
            if site.taken >= site.places:
                raise Refusal(503, "full")
            site.taken += 1
            return super().upgrade(request)

        def on_close(self, code: int, reason: str) -> None:
            """See the class."""
            site = self.site
            assert isinstance(site, LeaksOnReset)  # noqa: S101
            site.taken -= 1


class DeadlocksOnHalfOpen(Site):
    """Asks every listener for a sign of life, and sends nothing to anybody until all have given it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.asked: set[Visitor] = set()
        self.waiting: list[bytes] = []

    def broadcast(self, data: bytes) -> None:
        """See the class."""
        self.waiting.append(data)
        if self.asked:
            return
        waiting, self.waiting = self.waiting, []
        for item in waiting:
            super().broadcast(item)
        if self.sequence % 10 == 0:
            for visitor in self.listeners:
                self.asked.add(visitor)
                visitor.ping(b"alive")

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def on_pong(self, payload: bytes) -> None:
            """See the class."""
            site = self.site
            assert isinstance(site, DeadlocksOnHalfOpen)  # noqa: S101
            site.asked.discard(self)
