"""Faults in who is let in, and in how one visitor can harm the others."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from omega_ai.core.websocket.handshake import Refusal, Request, Upgrade
from omega_ai.testkit.zoo.site import EchoSite, Site, Visitor


class AnyOrigin(Site):
    """Lets in every web page."""

    def may_come_from(self, origin: str) -> bool:
        """See the class."""
        return True


class AnyToken(Site):
    """Lets in whoever shows any token."""

    def is_right(self, authorization: str) -> bool:
        """See the class."""
        return True


class PatientWithHandshakes(Site):
    """Waits for ever for a handshake to be finished."""

    handshake_timeout = 3600.0


class Blocking(Site):
    """Takes 2.5 ms for every message, during which nobody else is served."""

    class visitor(Visitor):  # noqa: N801 - it is the attribute that makes connections
        """See the class."""

        def on_text(self, data: bytes) -> None:
            """See the class."""
            time.sleep(0.0025)
            super().on_text(data)


class FallsWithOne(EchoSite):
    """Drops everybody when one client vanishes without a close frame."""

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        farewell = False

        def on_close(self, code: int, reason: str) -> None:
            """See the class."""
            self.farewell = True

        def on_disconnected(self) -> None:
            """See the class."""
            super().on_disconnected()
            if not self.farewell:
                for other in list(self.site.visitors):
                    other.abort()


class FewAtOnce(EchoSite):
    """Serves ten visitors at once, and refuses the rest."""

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def upgrade(self, request: Request) -> Upgrade:
            """See the class."""
            if len(self.site.visitors) >= 10:
                raise Refusal(503, "full")
            return super().upgrade(request)


class CountsSilent(EchoSite):
    """Lets connections that never said anything take the places of those who would."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.open = 0

    def protocol(self) -> asyncio.BaseProtocol:
        """See the class."""
        self.open += 1
        return super().protocol()

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def connection_made(self, transport: Any) -> None:
            """See the class."""
            super().connection_made(transport)
            site = self.site
            assert isinstance(site, CountsSilent)  # noqa: S101
            if site.open > 60:
                self.abort()

        def connection_lost(self, exc: BaseException | None) -> None:
            """See the class."""
            site = self.site
            assert isinstance(site, CountsSilent)  # noqa: S101
            site.open -= 1
            super().connection_lost(exc)
