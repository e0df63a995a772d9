"""The closing handshake: codes, reasons, and what comes after it (RFC 6455 sections 5.5.1 and 7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from omega_ai.testkit.case import Need
from omega_ai.testkit.conformance.exchange import GLANCE, Check, Exchange
from omega_ai.testkit.conformance.family import Family
from omega_ai.testkit.conformance.frames import CLOSE, CONTINUATION, PING, TEXT, close_body, frame
from omega_ai.testkit.conformance.utf8 import INVALID

FAMILY: Final = Family("close", "the closing handshake", "RFC 6455 section 5.5.1")

VALID_CODES: Final = (
    1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3001, 3999, 4000,
    4500, 4999,
)  # fmt: skip
NEVER_SENT: Final = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999)
"""Reserved, or for no use on the wire (section 7.4)."""
UNRULED: Final = (5000, 65_535)
"""The RFC says nothing of them."""


def _code(code: int | None, reason: bytes = b"") -> Check:
    async def check(x: Exchange) -> None:
        wire = await x.open()
        await x.finish(wire, code, reason)
        await x.nothing_more(wire)

    return check


FAMILY.add(
    "empty",
    "A close frame without a code",
    _code(None),
    expectation="It is answered by a close frame, and the server ends TCP.",
    destructive=False,
)
for _number in VALID_CODES:
    FAMILY.add(
        f"code-{_number}",
        f"A close frame with the code {_number}",
        _code(_number, b"good bye"),
        expectation="It is answered by a close frame with the same code, and the server ends TCP.",
        spec="RFC 6455 sections 5.5.1 and 7.4",
        destructive=False,
    )
for _name, _reason in (
    ("empty", b""),
    ("1", b"x"),
    ("122", b"*" * 122),
    ("123", b"*" * 123),
    ("unicode", "Ende: κόσμε 🚀".encode()),
):
    FAMILY.add(
        f"reason-{_name}",
        f"A close frame with a reason of {len(_reason)} bytes ({_name})",
        _code(1000, _reason),
        expectation="It is answered by a close frame, and the server ends TCP.",
        destructive=False,
    )


def _bad_body(body: bytes, codes: tuple[int, ...]) -> Check:
    async def check(x: Exchange) -> None:
        await x.bystander()
        wire = await x.open()
        x.send(wire, CLOSE, body)
        await wire.until(lambda: wire.over, x.patience)
        close = wire.reader.close
        claimed = int.from_bytes(body[:2], "big") if len(body) > 1 else None
        if close is not None and claimed is not None and close[0] == claimed:
            x.wrong("accepted", f"it answered the close code {claimed} with the same, as if it were right")
        await x.fails(wire, codes, whole=False, what="the wrong close frame")

    return check


for _number in NEVER_SENT:
    FAMILY.add(
        f"bad-code-{_number}",
        f"A close frame with the code {_number}",
        _bad_body(close_body(_number, b"?"), (1002,)),
        expectation="The connection is failed with 1002: this code must not stand in a close frame.",
        spec="RFC 6455 section 7.4",
    )
FAMILY.add(
    "one-byte",
    "A close frame with a payload of one byte",
    _bad_body(b"\x03", (1002,)),
    expectation="The connection is failed with 1002: a body begins with a code of two bytes.",
)
for _name, _data in INVALID:
    if _name in (
        "lone-continuation-80",
        "overlong-slash-2",
        "surrogate-d800",
        "cut-3-of-2",
        "above-10ffff",
        "fe",
    ):
        FAMILY.add(
            f"bad-reason-{_name}",
            f"A close frame whose reason is not UTF-8 ({_data.hex(' ')})",
            _bad_body(close_body(1000, b"reason " + _data), (1007,)),
            expectation="The connection is failed with 1007: the reason is UTF-8.",
        )


def _unruled(code: int) -> Check:
    async def check(x: Exchange) -> None:
        await x.bystander()
        wire = await x.open()
        x.send(wire, CLOSE, close_body(code))
        if not await wire.until(lambda: wire.over, x.patience):
            x.wrong("close", f"a close frame with the code {code} ended nothing")
        x.examined += 1
        x.may(f"the code {code}, of which the RFC says nothing: {x.ending(wire)}")
        x.saw(x.ending(wire) or "")
        await x.unharmed()

    return check


for _number in UNRULED:
    FAMILY.add(
        f"unruled-code-{_number}",
        f"A close frame with the code {_number}",
        _unruled(_number),
        expectation="The connection ends; with which code is open.",
        spec="RFC 6455 section 7.4.2",
    )


def _after(make: Callable[[bytes | None], bytes], name: str) -> Check:
    """What follows our close frame must be ignored. ``make`` is given a masking key."""

    async def check(x: Exchange) -> None:
        await x.bystander()
        wire = await x.open()
        data = make(x.mask())
        own = frame(CLOSE, close_body(1000), mask=x.mask())
        wire.send(own + data, text=f"close, then {name}")
        await x.closed_after_ours(wire, 1000)
        if wire.reader.messages and x.speech.identical:
            x.wrong("accepted", "it answered a message that came after our close frame")
        if b"late" in wire.reader.pongs:
            x.wrong("accepted", "it answered a ping that came after our close frame")
        await x.unharmed()

    return check


_KEY: Final = b"\x01\x02\x03\x04"
_AFTER: Final[tuple[tuple[str, Callable[[bytes | None], bytes]], ...]] = (
    ("text", lambda key: frame(TEXT, b"late", mask=key)),
    ("ping", lambda key: frame(PING, b"late", mask=key)),
    ("close", lambda key: frame(CLOSE, close_body(1001), mask=key)),
    ("garbage", lambda _: bytes(range(256))),
    ("fragment", lambda key: frame(TEXT, b"late", fin=False, mask=key)),
    ("many", lambda key: frame(TEXT, b"late" * 100, mask=key) * 200),
)
for _name, _make in _AFTER:
    FAMILY.add(
        f"then-{_name}",
        f"After a close frame: {_name}",
        _after(_make, _name),
        expectation="The close is answered, what follows is ignored, and TCP ends.",
        spec="RFC 6455 sections 1.4 and 5.5.1",
    )


async def _inside_a_message(x: Exchange) -> None:
    wire = await x.open()
    x.send(wire, TEXT, b"begun", fin=False)
    x.send(wire, CLOSE, close_body(1000))
    x.send(wire, CONTINUATION, b" and ended")
    await x.closed_after_ours(wire, 1000)
    if wire.reader.messages and x.speech.identical:
        x.wrong("accepted", "it delivered a message whose end came after our close frame")


FAMILY.add(
    "inside-a-message",
    "A close frame in the middle of a fragmented message",
    _inside_a_message,
    expectation="The close is answered; the message is never delivered.",
    spec="RFC 6455 section 5.4",
)


async def _after_messages(x: Exchange) -> None:
    wire = await x.open()
    sent = []
    data = b""
    for number in range(10):
        text = x.speech.text(f"number {number}")
        sent.append((TEXT, text))
        data += frame(TEXT, text, mask=x.mask())
    wire.send(data + frame(CLOSE, close_body(1000), mask=x.mask()), text="ten texts, close")
    await x.closed_after_ours(wire, 1000)
    back = len(wire.reader.messages)
    if back < len(sent):
        x.may(f"of ten texts right before the close, {back} came back; all may (section 5.5.1)")


FAMILY.add(
    "after-messages",
    "Ten texts and a close frame in one packet",
    _after_messages,
    expectation="The close is answered; whether the texts are, is open.",
    destructive=False,
)


async def _after_large(x: Exchange) -> None:
    wire = await x.open()
    x.send(wire, TEXT, x.speech.sized(256 << 10))
    x.send(wire, CLOSE, close_body(1000))
    x.send(wire, PING, b"late")
    await x.closed_after_ours(wire, 1000)
    x.may("the large message came back" if wire.reader.messages else "the large message did not come back")


FAMILY.add(
    "after-large",
    "A text of 256 KiB, then at once a close frame and a ping",
    _after_large,
    expectation="The close is answered; whether the text is, is open.",
    needs=[Need.ECHO],
)


async def _tcp_ends(x: Exchange) -> None:
    """After the handshake it is for the server to end TCP, and at once."""
    wire = await x.open()
    loop_start = x.context.clock.monotonic()
    await x.finish(wire)
    x.figures["close_ms"] = (x.context.clock.monotonic() - loop_start) * 1e3
    if wire.ended is None and await wire.until(lambda: wire.ended, x.patience):
        x.may("TCP was ended late")


FAMILY.add(
    "server-ends-tcp",
    "Who ends TCP after the closing handshake",
    _tcp_ends,
    expectation="The server does, at once.",
    spec="RFC 6455 section 7.1.1",
    destructive=False,
)


def _gone(how: str) -> Check:
    async def check(x: Exchange) -> None:
        await x.bystander()
        for number in range(5):
            wire = await x.open_again(f"client {number + 1}")
            if how == "close-without-waiting":
                x.send(wire, CLOSE, close_body(1000))
                await wire.drain(x.patience)
                wire.hang_up()
            elif how == "fin":
                wire.hang_up()
            elif how == "inside-a-frame":
                wire.send(frame(TEXT, b"*" * 1000, mask=_KEY)[:500], text="half a frame")
                wire.hang_up()
            elif how == "inside-a-message":
                x.send(wire, TEXT, b"begun", fin=False)
                wire.hang_up()
            else:
                x.send(wire, TEXT, x.speech.text("and gone"))
                wire.hang_up(rudely=True)
        again = await x.open_again("client again")
        x.send(again, PING, b"served?")
        await x.pong(again, b"served?")
        await x.unharmed()

    return check


for _name, _title in (
    ("close-without-waiting", "Clients that send a close frame and are gone"),
    ("fin", "Clients that end TCP without a close frame"),
    ("inside-a-frame", "Clients that end TCP inside of a frame"),
    ("inside-a-message", "Clients that end TCP inside of a message"),
    ("reset", "Clients that reset TCP"),
):
    FAMILY.add(
        f"gone-{_name}",
        _title,
        _gone(_name),
        expectation="Others are served as before.",
        spec="RFC 6455 section 7.1.5",
    )


async def _half_close(x: Exchange) -> None:
    """Our FIN without a close frame: nothing can come from us any more."""
    await x.bystander()
    wire = await x.open()
    if not wire.half_close():
        x.examined += 1
        x.may("not tried: TLS has no half-closed connections")
        return
    if not await wire.until(lambda: wire.ended, x.patience):
        x.should(f"{x.patience:g} s after our end of TCP (no close frame) it has not ended its own")
    x.examined += 1
    x.saw(x.ending(wire) or "still open")
    await x.unharmed()


FAMILY.add(
    "half-close",
    "A client that ends its side of TCP, and goes on listening",
    _half_close,
    expectation="The server should end the connection: no close frame can come any more.",
    spec="RFC 6455 section 7.1.5",
)


async def _half_close_after_close(x: Exchange) -> None:
    wire = await x.open()
    x.send(wire, CLOSE, close_body(1000))
    wire.half_close()
    if not await wire.until(lambda: wire.over, x.patience) or wire.reader.close is None:
        x.should(f"a close frame followed by the end of our side of TCP was not answered: {x.ending(wire)}")
    x.examined += 1
    await wire.until(lambda: wire.ended, 2 * GLANCE)
    x.saw(x.ending(wire) or "still open")


FAMILY.add(
    "half-close-after-close",
    "A close frame, and at once the end of our side of TCP",
    _half_close_after_close,
    expectation="The close frame should still be answered.",
    spec="RFC 6455 section 7.1.1",
)
