"""Faults that show when clients come back."""

from __future__ import annotations

from typing import Any

from omega_ai.core.websocket.handshake import Refusal, Request, Upgrade
from omega_ai.testkit.zoo.site import Site, Visitor


class DoublesAfterReconnect(Site):
    """Sends the last message that the client has once more."""

    def missed(self, epoch: object, since: int) -> tuple[list[bytes], bool]:
        """See the class."""
        items, whole = super().missed(epoch, since)
        return ([data for number, data in self.history if number >= since] if whole else items), whole


class GapAfterReconnect(Site):
    """Says that all is recovered, and leaves out the first message of it."""

    def missed(self, epoch: object, since: int) -> tuple[list[bytes], bool]:
        """See the class."""
        items, whole = super().missed(epoch, since)
        return items[1:], whole


class NothingAfterReconnect(Site):
    """Says that all is recovered, and sends nothing of it."""

    def missed(self, epoch: object, since: int) -> tuple[list[bytes], bool]:
        """See the class."""
        return [], super().missed(epoch, since)[1]


class RecoversAnything(Site):
    """Says that it recovered, whatever position it is asked for."""

    def missed(self, epoch: object, since: int) -> tuple[list[bytes], bool]:
        """See the class."""
        return super().missed(epoch, since)[0], True


class CountsForever(Site):
    """Never forgets a connection that has ended, and lets in no more than twelve."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.admitted = 0

    class visitor(Visitor):  # noqa: N801 - it is the attribute that makes connections
        """See the class."""

        def upgrade(self, request: Request) -> Upgrade:
            """See the class."""
            site = self.site
            assert isinstance(site, CountsForever)  # noqa: S101
            site.admitted += 1
            if site.admitted > 12:
                raise Refusal(503, "too many connections")
            return super().upgrade(request)


class NoStorm(Site):
    """Refuses who comes when more than twenty came within the last second."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.arrivals: list[float] = []

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def upgrade(self, request: Request) -> Upgrade:
            """See the class."""
            site = self.site
            assert isinstance(site, NoStorm)  # noqa: S101
            now = site.clock.monotonic()
            site.arrivals = [at for at in site.arrivals if at > now - 1.0] + [now]
            if len(site.arrivals) > 20:
                raise Refusal(429, "too many at once")
            return super().upgrade(request)
