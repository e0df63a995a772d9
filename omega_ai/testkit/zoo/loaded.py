"""Faults that show only under load, or after a while."""

from __future__ import annotations

import asyncio
import os
from typing import Any, Final, TextIO

from omega_ai.core.websocket.handshake import Refusal, Request, Upgrade
from omega_ai.testkit.zoo.site import EchoSite, Visitor

CAPACITY: Final = 200.0
"""Messages a second that a site with a queue gets through."""
KEPT_BYTES: Final = 4000


class SlowForOneInFifty(EchoSite):
    """Answers every fiftieth client three seconds late."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.came = 0

    class visitor(Visitor):  # noqa: N801 - it is the attribute that makes connections
        """See the class."""

        place = 0

        def on_open(self) -> None:
            """See the class."""
            super().on_open()
            site = self.site
            assert isinstance(site, SlowForOneInFifty)  # noqa: S101
            site.came += 1
            self.place = site.came

        def reply(self, opcode: int, data: bytes) -> None:
            """See the class."""
            if self.place % 50 == 7:
                asyncio.get_running_loop().call_later(3.0, super().reply, opcode, data)
            else:
                super().reply(opcode, data)


class SlowsUnderLoad(EchoSite):
    """Gets through 200 messages a second; what is beyond waits in a queue without end."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.busy_until = 0.0

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def reply(self, opcode: int, data: bytes) -> None:
            """See the class."""
            site = self.site
            assert isinstance(site, SlowsUnderLoad)  # noqa: S101
            loop = asyncio.get_running_loop()
            site.busy_until = max(site.busy_until, loop.time()) + 1 / CAPACITY
            loop.call_at(site.busy_until, super().reply, opcode, data)


class _Counting(EchoSite):
    """Knows how many messages came in the last tenth of a second."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.recent = 0
        self.since = 0.0

    def pressed(self, limit: float) -> bool:
        """Whether more came, by the second, than ``limit``; called for each message."""
        now = self.clock.monotonic()
        if now - self.since > 0.1:
            self.recent, self.since = 0, now
        self.recent += 1
        return self.recent > limit / 10


class LosesUnderLoad(_Counting):
    """Answers nothing beyond 600 messages a second."""

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def reply(self, opcode: int, data: bytes) -> None:
            """See the class."""
            site = self.site
            assert isinstance(site, LosesUnderLoad)  # noqa: S101
            if not site.pressed(600):
                super().reply(opcode, data)


class RefusesMany(EchoSite):
    """Refuses who comes when sixty are there."""

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def upgrade(self, request: Request) -> Upgrade:
            """See the class."""
            if len(self.site.visitors) >= 60:
                raise Refusal(503, "full")
            return super().upgrade(request)


class NeverRecovers(_Counting):
    """After more than a thousand messages a second it answers everything three seconds late, for ever."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.broken = False

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def reply(self, opcode: int, data: bytes) -> None:
            """See the class."""
            site = self.site
            assert isinstance(site, NeverRecovers)  # noqa: S101
            site.broken = site.broken or site.pressed(1000)
            if site.broken:
                asyncio.get_running_loop().call_later(3.0, super().reply, opcode, data)
            else:
                super().reply(opcode, data)


class LeaksDescriptors(EchoSite):
    """Opens a file for each connection, and never closes it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.files: list[TextIO] = []

    async def __aexit__(self, *arguments: object) -> None:
        await super().__aexit__(*arguments)
        for file in self.files:
            file.close()

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def on_open(self) -> None:
            """See the class."""
            super().on_open()
            site = self.site
            assert isinstance(site, LeaksDescriptors)  # noqa: S101
            if len(site.files) < 5000:
                site.files.append(open(os.devnull))  # noqa: PTH123, SIM115 - that is the fault


class GrowsMemory(EchoSite):
    """Keeps 4 kB of every message, for ever."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.kept: list[bytes] = []

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def reply(self, opcode: int, data: bytes) -> None:
            """See the class."""
            site = self.site
            assert isinstance(site, GrowsMemory)  # noqa: S101
            site.kept.append(bytes(bytearray(KEPT_BYTES)))
            super().reply(opcode, data)


class SlowsForEver(EchoSite):
    """Takes 150 microseconds longer for each message than for the one before."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.answered = 0

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def reply(self, opcode: int, data: bytes) -> None:
            """See the class."""
            site = self.site
            assert isinstance(site, SlowsForEver)  # noqa: S101
            site.answered += 1
            asyncio.get_running_loop().call_later(site.answered * 150e-6, super().reply, opcode, data)
