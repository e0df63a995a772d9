"""What a case does with a target: connect, say, expect, and collect what is wrong.

Three tiers: ``must`` makes the case fail, ``should`` makes it non-strict (a warning), ``may`` is a note.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final, NoReturn

from omega_ai.core.websocket.close import NO_STATUS, close_name
from omega_ai.core.websocket.handshake import accept_value
from omega_ai.testkit.case import CaseEnded, NotApplicable, Outcome, Undecided, judged
from omega_ai.testkit.conformance.frames import (
    BINARY,
    CLOSE,
    PING,
    TEXT,
    Message,
    close_body,
    frame,
)
from omega_ai.testkit.conformance.speech import Speech
from omega_ai.testkit.conformance.wire import Log, Wire, connect
from omega_ai.testkit.connection import Address, ConnectFailed
from omega_ai.testkit.result import Finding, Severity

if TYPE_CHECKING:
    from omega_ai.testkit.context import Context

ANSWER: Final = 10.0
"""Seconds that a server has for an answer; a loaded machine needs some of them."""
LINGER: Final = 5.0
"""Seconds in which a server must have ended TCP after the closing handshake."""
GLANCE: Final = 0.4
"""Seconds given to a server to fail a connection before it is asked whether it is still there."""

_ACCUSING: Final = frozenset({1002, 1003, 1007, 1008, 1009, 1010, 1011})
"""Close codes that say that something is wrong."""

Check = Callable[["Exchange"], Awaitable[None]]


class _Enough(Exception):
    """What was found makes going on pointless."""


class Exchange:
    """One case at work."""

    patience: ClassVar[float] = ANSWER
    peer: ClassVar[str] = "server"
    """What is judged: the server, or the client."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.rng = context.rng
        self.log = Log(context)
        self.speech = Speech(context)
        self.examined = 0
        self.findings: list[Finding] = []
        self.figures: dict[str, float] = {}
        self.seen: list[str] = []
        """What happened, in a few words each, for the case's finding."""
        self.wires: list[Wire] = []
        self.address = Address.of(context.target.url, context.profile.connect.query)
        self._places: dict[int, int] = {}
        self._bystander: Wire | None = None

    # What is found.

    def _add(self, severity: Severity, kind: str, text: str) -> None:
        self.findings.append(Finding(kind=kind, text=text, severity=severity))

    def wrong(self, kind: str, text: str) -> None:
        """The target broke a MUST."""
        self._add(Severity.FAILURE, kind, text)

    def broken(self, kind: str, text: str) -> NoReturn:
        """The target broke a MUST, and there is nothing more to see.

        Raises:
            _Enough: always; ``run`` takes it.
        """
        self.wrong(kind, text)
        raise _Enough

    def should(self, text: str) -> None:
        """The target left out a SHOULD, or does late what it must do: non-strict."""
        self._add(Severity.WARNING, "non-strict", text)

    def may(self, text: str) -> None:
        """Either way is right: informational."""
        self._add(Severity.NOTE, "informational", text)

    def saw(self, text: str) -> None:
        """Something that the finding should say."""
        if len(self.seen) < 6:
            self.seen.append(text)

    # Connections.

    async def connect(self, name: str = "client", address: Address | None = None) -> Wire:
        """TCP (and TLS) alone.

        Raises:
            Undecided: nothing can be said without a connection.
        """
        try:
            wire = await connect(self.context, self.log, address or self.address, name)
        except ConnectFailed as error:
            raise Undecided(f"{name} could not connect: {error}") from error
        self.wires.append(wire)
        return wire

    def key(self) -> str:
        """A new Sec-WebSocket-Key."""
        return base64.b64encode(self.rng.randbytes(16)).decode()

    def request_headers(self, key: str) -> list[tuple[str, str]]:
        """The headers of a right request to this target, Host first."""
        headers = [
            ("Host", self.address.host_header),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", key),
            ("Sec-WebSocket-Version", "13"),
        ]
        subprotocols = self.context.profile.connect.subprotocols
        if subprotocols:
            headers.append(("Sec-WebSocket-Protocol", ", ".join(subprotocols)))
        return [*headers, *self.context.target.headers()]

    def request(self, headers: Sequence[tuple[str, str]], *, line: str | None = None) -> bytes:
        """A request's bytes; ``line`` replaces its first line."""
        first = f"GET {self.address.target} HTTP/1.1" if line is None else line
        return ("\r\n".join([first, *(f"{n}: {v}" for n, v in headers)]) + "\r\n\r\n").encode("latin-1")

    async def greet(
        self, name: str = "client", *, extensions: Sequence[str] = (), address: Address | None = None
    ) -> Wire:
        """A connection after a right request and whatever was answered to it; each of ``extensions`` is a
        line of Sec-WebSocket-Extensions.
        """
        wire = await self.connect(name, address)
        key = self.key()
        headers = self.request_headers(key)
        headers += [("Sec-WebSocket-Extensions", line) for line in extensions]
        wire.send(self.request(headers), text="the opening handshake")
        await wire.until(lambda: wire.head is not None or wire.ended, self.patience)
        response = wire.response
        if wire.upgraded and response is not None:
            if response.header("sec-websocket-accept") != accept_value(key):
                self.wrong(
                    "accept", "the answer's Sec-WebSocket-Accept is not that of the key (section 4.2.2)"
                )
            if not extensions and response.header("sec-websocket-extensions") is not None:
                self.wrong("extension", "it chose an extension that was not offered (section 4.2.2)")
        return wire

    async def open(
        self, name: str = "client", *, extensions: Sequence[str] = (), address: Address | None = None
    ) -> Wire:
        """A connection after a right opening handshake.

        Raises:
            Undecided: the server refused it.
        """
        wire = await self.greet(name, extensions=extensions, address=address)
        response = wire.response
        if response is None:
            how = (
                f"the connection ended ({wire.ended})"
                if wire.ended
                else f"nothing within {self.patience:g} s"
            )
            raise Undecided(f"{name}: no answer to a right handshake: {how}")
        if not wire.upgraded:
            raise Undecided(f"{name}: a right handshake was answered with HTTP {response.status}")
        return wire

    async def open_again(self, name: str) -> Wire:
        """A connection after something that must not keep the server from giving one."""
        try:
            return await self.open(name)
        except Undecided as error:
            self.broken("harmed", f"a new connection was harmed: {error}")

    def send(self, wire: Wire, opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> None:
        """Send one frame, masked as our side has to."""
        wire.send_frame(frame(opcode, payload, fin=fin, rsv=rsv, mask=self.mask()))

    def mask(self) -> bytes | None:
        """A new masking key; None where our side does not mask."""
        return self.rng.randbytes(4)

    # What is expected.

    async def answers(
        self, wire: Wire, sent: Sequence[tuple[int, bytes]], within: float | None = None
    ) -> None:
        """Every message of ``sent`` must come back, in order, and nothing else.

        Raises:
            NotApplicable: the server does not take such messages (1003), or messages as long as that (1009).
        """
        speech = self.speech
        within = self.patience if within is None else within
        place = self.examined_of(wire)
        messages = wire.reader.messages
        for number, (opcode, payload) in enumerate(sent):
            while True:
                if not await self._more_than(wire, place, within):
                    self._no_answer(wire, number, len(sent), opcode, payload, within)
                got = messages[place]
                place += 1
                if speech.is_answer(opcode, payload, got):
                    self.examined += 1
                    break
                if not speech.is_notice(got):
                    self.broken("corrupted", difference(opcode, payload, got))
        self._places[id(wire)] = place

    async def _more_than(self, wire: Wire, place: int, within: float) -> bool:
        messages = wire.reader.messages
        await wire.until(lambda: len(messages) > place or wire.over, within)
        return len(messages) > place

    def examined_of(self, wire: Wire) -> int:
        """How many messages of ``wire`` were looked at."""
        return self._places.get(id(wire), 0)

    def _no_answer(
        self, wire: Wire, number: int, count: int, opcode: int, payload: bytes, within: float
    ) -> NoReturn:
        close = wire.reader.close
        if close is not None and close[0] == 1003 and opcode == BINARY:
            raise NotApplicable("it refuses binary messages (1003), as it may")
        if close is not None and close[0] in (1008, 1009):
            self.may(f"a limit: it closes with {close[0]} at {len(payload)} bytes, as it may (section 10.4)")
            self.saw(f"limit met: close {close[0]} {close[1]}".rstrip())
            self.examined += 1
            raise _Enough
        what = "text" if opcode == TEXT else "binary message"
        which = f"{what} of {len(payload)} bytes" + (
            f" (number {number + 1} of {count})" if count > 1 else ""
        )
        ending = self.ending(wire)
        self.broken("lost", f"the {which} did not come back: {ending or f'nothing within {within:g} s'}")

    async def nothing_more(self, wire: Wire) -> None:
        """No message is there beyond those looked at."""
        extra = wire.reader.messages[self.examined_of(wire) :]
        extra = [one for one in extra if not self.speech.is_notice(one)]
        if extra:
            self.wrong("unexpected", f"{len(extra)} messages came that nothing asked for")

    async def pong(self, wire: Wire, payload: bytes, within: float | None = None) -> None:
        """A pong with this payload must come, after those seen so far."""
        within = self.patience if within is None else within
        pongs = wire.reader.pongs
        if not await wire.until(lambda: payload in pongs or wire.over, within) or payload not in pongs:
            others = f"; pongs with other payloads came: {len(pongs)}" if pongs else ""
            ending = self.ending(wire) or f"nothing within {within:g} s"
            self.broken("pong", f"a ping of {len(payload)} bytes was not answered: {ending}{others}")
        self.examined += 1

    async def settled(self, wire: Wire) -> None:
        """Everything sent so far was worked off: a ping is answered, or the connection is over."""
        mark = self.rng.randbytes(6)
        self.send(wire, PING, mark)
        await wire.until(lambda: mark in wire.reader.pongs or wire.over, self.patience)

    def ending(self, wire: Wire) -> str | None:
        """How the connection ended, in words; None if it did not."""
        close = wire.reader.close
        ended = {
            "clean": "TCP ended in order",
            "reset": "TCP was reset",
            "ours": "we ended TCP",
            None: "TCP still open",
        }
        tcp = ended[wire.ended]
        if close is not None:
            code, reason = close
            said = "no code" if code == NO_STATUS else f"code {code} ({close_name(code)})"
            return f"the {self.peer}'s close frame has {said}{f' {reason!r}' if reason else ''}, {tcp}"
        return None if wire.ended is None else f"no close frame, {tcp}"

    async def finish(self, wire: Wire, code: int | None = 1000, reason: bytes = b"") -> None:
        """Close from our side: the server must answer, should repeat the code, and must end TCP."""
        self.send(wire, CLOSE, b"" if code is None else close_body(code, reason))
        await self.closed_after_ours(wire, code)

    async def closed_after_ours(self, wire: Wire, code: int | None) -> None:
        """After our close frame: the server's, with the same code, and the end of TCP."""
        if not await wire.until(lambda: wire.over, self.patience):
            self.broken(
                "close", f"our close frame was not answered within {self.patience:g} s (section 5.5.1)"
            )
        close = wire.reader.close
        if close is None:
            self.broken("close", f"our close frame was not answered, {self.ending(wire)} (section 5.5.1)")
        self.examined += 1
        if close[0] in _ACCUSING and close[0] != code:
            self.wrong("close code", f"a right close was answered with {close[0]}, as if it were wrong")
        elif code is not None and close[0] not in (code, NO_STATUS, 1000):
            self.should(f"our close {code} was answered with {close[0]}; an answer repeats the code")
        elif code is None and close[0] not in (NO_STATUS, 1000):
            self.should(f"our close without a code was answered with {close[0]}")
        await self.tcp_ends(wire)

    async def tcp_ends(self, wire: Wire) -> None:
        """After the closing handshake the server must end TCP, and not leave it to us."""
        if not await self.end_of_tcp(wire):
            self.wrong(
                "open", f"TCP was not ended within {LINGER:g} s of the closing handshake (section 7.1.1)"
            )
        elif wire.ended == "reset":
            self.should("TCP was reset instead of ended in order")
        self.saw(self.ending(wire) or "")

    async def end_of_tcp(self, wire: Wire) -> bool:
        """Whether the other side ended TCP in time. A server does that by itself (section 7.1.1)."""
        return await wire.until(lambda: wire.ended, LINGER)

    async def fails(
        self,
        wire: Wire,
        codes: Collection[int],
        *,
        before: Sequence[tuple[int, bytes]] = (),
        whole: bool = True,
        what: str = "the breach",
        lenient: bool = False,
    ) -> None:
        """The server must fail the connection, and should say so with one of ``codes``.

        ``lenient``: to go on is non-strict only, where the RFC binds the sender and leaves the receiver free.

        ``before``: messages sent before the breach, which should have come back. ``whole``: the breach ended
        with a whole frame, so that a ping may follow.
        """
        over = await wire.until(lambda: wire.over, GLANCE if whole else self.patience)
        if not over and whole:
            mark = b"still there?"
            self.send(wire, PING, mark)
            await wire.until(lambda: wire.over or mark in wire.reader.pongs, self.patience)
            if not wire.over and mark in wire.reader.pongs:
                if not await wire.until(lambda: wire.over, GLANCE):
                    if lenient:
                        self.should(f"it went on after {what} as if nothing were wrong")
                        self.examined += 1
                        await self.finish(wire)
                        await self.unharmed()
                        return
                    self.wrong("accepted", f"it went on after {what} as if nothing were wrong")
                else:
                    self.should(f"it still answered a ping after {what}, before it failed the connection")
        if wire.over:
            self._judge_failure(wire, codes, what)
        elif not self.findings:
            self.wrong("accepted", f"it did not fail the connection within {self.patience:g} s of {what}")
        self.examined += 1
        self._judge_messages(wire, before, what)
        if wire.reader.close is not None:
            self.send(
                wire, CLOSE, close_body(wire.reader.close[0]) if wire.reader.close[0] != NO_STATUS else b""
            )
            if not await self.end_of_tcp(wire):
                self.should(f"TCP was not ended within {LINGER:g} s of {what}")
        self.saw(self.ending(wire) or "the connection is open")
        await self.unharmed()

    def _judge_failure(self, wire: Wire, codes: Collection[int], what: str) -> None:
        close = wire.reader.close
        if close is None:
            self.should(f"it cut the connection without a close frame that says why (section 7.1.7): {what}")
        elif close[0] == NO_STATUS:
            self.should("its close frame has no code (section 7.1.7)")
        elif close[0] not in codes:
            right = " or ".join(map(str, sorted(codes)))
            self.wrong("close code", f"it closed with {close[0]} where {right} is right (section 7.4.1)")

    def _judge_messages(self, wire: Wire, before: Sequence[tuple[int, bytes]], what: str) -> None:
        left = wire.reader.messages[self.examined_of(wire) :]
        if not self.speech.identical:
            return
        for opcode, payload in before:
            if left and self.speech.is_answer(opcode, payload, left[0]):
                del left[0]
            else:
                self.should(f"a message sent before {what} did not come back")
                break
        if left:
            self.wrong("delivered", f"it delivered a message that {what} was part of, or that came after it")

    # Others.

    async def bystander(self) -> None:
        """Another client connects; ``unharmed`` looks after it."""
        self._bystander = await self.open("bystander")

    async def unharmed(self) -> None:
        """The other client must still be served."""
        wire = self._bystander
        if wire is None:
            return
        mark = b"and you?"
        self.send(wire, PING, mark)
        served = await wire.until(lambda: mark in wire.reader.pongs or wire.over, self.patience)
        if not served or mark not in wire.reader.pongs:
            self.wrong(
                "harmed", f"another connection was harmed: {self.ending(wire) or 'its ping is not answered'}"
            )

    # The whole.

    async def run(self, check: Check) -> Outcome:
        """Do ``check``; the outcome with log and close analysis."""
        try:
            await check(self)
        except _Enough:
            pass
        except CaseEnded as ended:
            return replace(ended.outcome, evidence=self.log.lines(120))
        for wire in self.wires:
            for text in wire.reader.violations:
                self.wrong("protocol", f"the {self.peer} sent {text}")
        failed = any(one.severity is Severity.FAILURE for one in self.findings)
        seen = "; ".join(self.seen) or f"{self.examined} checks"
        if not failed and any(one.severity is Severity.WARNING for one in self.findings):
            first = next(one for one in self.findings if one.severity is Severity.WARNING)
            seen = f"non-strict: {first.text}; {seen}"
        closing = [
            Finding(kind="close", text=f"{wire.name}: {ending}", severity=Severity.NOTE)
            for wire in self.wires
            if (ending := self.ending(wire)) is not None
        ]
        outcome = judged([*self.findings, *closing], seen, examined=self.examined, figures=self.figures)
        return replace(outcome, evidence=self.log.lines(120 if failed else 16))


def difference(opcode: int, payload: bytes, got: Message) -> str:
    """How an answer is not what was sent, in words."""
    if got.opcode != opcode:
        return f"a {'text' if opcode == TEXT else 'binary message'} came back as the other kind"
    if len(got.data) != len(payload):
        return f"{len(payload)} bytes were sent and {len(got.data)} came back"
    place = next(n for n, (a, b) in enumerate(zip(payload, got.data, strict=True)) if a != b)
    return f"byte {place} of {len(payload)} came back as {got.data[place]:#04x}, not {payload[place]:#04x}"


async def pause(seconds: float) -> None:
    """Let time pass: for cases that are about time."""
    await asyncio.sleep(seconds)
