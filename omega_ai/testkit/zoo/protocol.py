"""Faults in how the protocol is spoken."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from omega_ai.core.websocket.assembler import MessageAssembler
from omega_ai.core.websocket.close import GOING_AWAY
from omega_ai.core.websocket.deflate import compress_once
from omega_ai.core.websocket.endpoint import CLOSED, OPEN
from omega_ai.core.websocket.frames import CLOSE, PONG, TEXT, build_frame, close_payload
from omega_ai.core.websocket.handshake import Refusal, Request, Upgrade, accept_value, check_upgrade
from omega_ai.testkit.zoo.site import EchoSite, Site, Visitor


class NoPong(EchoSite):
    """Never answers a ping."""

    class visitor(Visitor):  # noqa: N801 - it is the attribute that makes connections
        """See the class."""

        def _answer_ping(self, payload: bytes) -> None:
            pass


class WrongPong(EchoSite):
    """Answers pings with an empty payload."""

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def _answer_ping(self, payload: bytes) -> None:
            self.write(build_frame(PONG, b""))


class WrongCloseCode(EchoSite):
    """Answers every close with 1001."""

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def _peer_closed(self, code: int, reason: str) -> None:
            super()._peer_closed(GOING_AWAY, reason)


class NoCloseAnswer(EchoSite):
    """Cuts the connection when it is asked to close it."""

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def _peer_closed(self, code: int, reason: str) -> None:
            self.state = CLOSED
            self.abort()


class NeverEnds(EchoSite):
    """Answers a close, and leaves the TCP connection open."""

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def _peer_closed(self, code: int, reason: str) -> None:
            self.write(build_frame(CLOSE, close_payload(code)))
            self.state = CLOSED


class Masks(EchoSite):
    """Masks the frames that it sends."""

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def reply(self, opcode: int, data: bytes) -> None:
            """See the class."""
            self.write(build_frame(opcode, data, mask=b"mask"))


class SetsReservedBit(EchoSite):
    """Sets RSV1 on what is not compressed."""

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def reply(self, opcode: int, data: bytes) -> None:
            """See the class."""
            self.write(build_frame(opcode, data, rsv1=True))


class BrokenUtf8(EchoSite):
    """Cuts every text into messages of 60 bytes, in the middle of a character if need be."""

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def reply(self, opcode: int, data: bytes) -> None:
            """See the class."""
            for start in range(0, max(1, len(data)), 60):
                self.write(build_frame(opcode, data[start : start + 60]))


class DropsFragment(EchoSite):
    """Forgets the last fragment of a message."""

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def _data_frame(self, opcode: int, fin: bool, rsv: int, payload: bytes) -> None:
            super()._data_frame(opcode, fin, rsv, b"" if opcode == 0 and fin else payload)


class BrokenWindow(EchoSite):
    """Compresses with a context that it does not share with the client."""

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def reply(self, opcode: int, data: bytes) -> None:
            """See the class."""
            if self.compression is None or len(data) < 200:
                super().reply(opcode, data)
                return
            packed = compress_once(data, window_bits=15)
            self.send_frame(opcode, packed[: len(packed) // 2] + packed[len(packed) // 2 + 2 :], rsv1=True)


class SpeaksTooEarly(EchoSite):
    """Sends a frame before it answers the handshake."""

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def upgrade(self, request: Request) -> Upgrade:
            """See the class."""
            self.transport.write(build_frame(TEXT, b"hello"))
            return super().upgrade(request)


class WrongAccept(EchoSite):
    """Answers every key with the accept value of the RFC's example."""

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def upgrade(self, request: Request) -> Upgrade:
            """See the class."""
            right = super().upgrade(request)
            wrong = ("Sec-WebSocket-Accept", accept_value("dGhlIHNhbXBsZSBub25jZQ=="))
            return replace(right, headers=(*right.headers[:2], wrong, *right.headers[3:]))


class AgreesToAnything(EchoSite):
    """Agrees to whatever subprotocol is offered."""

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def upgrade(self, request: Request) -> Upgrade:
            """See the class."""
            offered = request.header("sec-websocket-protocol")
            return check_upgrade(request, subprotocols=[offered] if offered else [])


class UpgradesAnything(EchoSite):
    """Upgrades every request, whatever is wrong with it."""

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def upgrade(self, request: Request) -> Upgrade:
            """See the class."""
            try:
                return super().upgrade(request)
            except Refusal:
                return Upgrade((("Upgrade", "websocket"), ("Connection", "Upgrade")))


class ShowsItsInside(EchoSite):
    """Answers a wrong handshake with the trace of its own error."""

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def upgrade(self, request: Request) -> Upgrade:
            """See the class."""
            try:
                return super().upgrade(request)
            except Refusal as refusal:
                trace = "Traceback (most recent call last):\n  File server.py, line 1"
                raise Refusal(500, f"{trace}\n{refusal}") from None


class TakesUnmasked(EchoSite):
    """Accepts frames that are not masked."""

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def data_received(self, data: bytes) -> None:
            """See the class."""
            if self.state == OPEN and len(data) > 1 and not data[1] & 0x80:
                return
            super().data_received(data)


class NoFrameChecks(EchoSite):
    """Goes on after a breach of the protocol as if nothing were wrong."""

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def _fail(self, error: Exception) -> None:
            pass


class TakesAnySize(Site):
    """Accepts messages of any size."""

    message_limit = 1 << 30


class NoFragmentLimit(Site):
    """Looks at the size of frames alone, not at that of messages."""

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def _new_assembler(self) -> MessageAssembler:
            self._assembler = assembler = MessageAssembler(message_limit=1 << 30, deflate=self._deflate)
            return assembler


class IdleCut(EchoSite):
    """Cuts connections that are silent for a second."""

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        heard = 0

        def on_open(self) -> None:
            """See the class."""
            super().on_open()
            self._later()

        def on_text(self, data: bytes) -> None:
            """See the class."""
            self.heard += 1
            super().on_text(data)

        def _later(self) -> None:
            asyncio.get_running_loop().call_later(1.0, self._watch, self.heard)

        def _watch(self, heard: int) -> None:
            if heard == self.heard and self.state == OPEN:
                self.abort()
            elif self.state == OPEN:
                self._later()
