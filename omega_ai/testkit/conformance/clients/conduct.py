"""How a client conducts itself: masking, frames that no server may send, and a server that goes."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from omega_ai.testkit.case import Need
from omega_ai.testkit.conformance.clients.exchange import ClientExchange
from omega_ai.testkit.conformance.clients.family import ClientCheck, ClientFamily
from omega_ai.testkit.conformance.frames import CLOSE, CONTINUATION, PING, TEXT, close_body, frame

MASKING: Final = ClientFamily("mask", "masking", "RFC 6455 sections 5.1 and 5.3")
GOING: Final = ClientFamily("going", "a server that goes", "RFC 6455 section 7.1")

KEY: Final = b"\x01\x02\x03\x04"
PINGS: Final = 40
SAME: Final = 3
"""So many frames with one key, of PINGS, are no chance (2**-32 for each pair)."""


def _masked(opcode: int, payload: bytes) -> ClientCheck:
    async def check(x: ClientExchange) -> None:
        caller = await x.open()
        caller.send_frame(frame(opcode, payload, mask=KEY))
        await x.fails(caller, (1002,), what="the masked frame")
        if payload in caller.reader.pongs:
            x.wrong("accepted", "it answered a masked ping")

    return check


for _name, _opcode, _payload in (
    ("text", TEXT, b"Hello"),
    ("text-empty", TEXT, b""),
    ("binary", 2, b"\x00\xff"),
    ("ping", PING, b"masked"),
    ("continuation", CONTINUATION, b"x"),
    ("long", TEXT, b"*" * 300),
):
    MASKING.add(
        f"masked-{_name}",
        f"A masked frame from a server: {_name}",
        _masked(_opcode, _payload),
        expectation="The client closes the connection, with 1002: a server's frames must not be masked.",
        spec="RFC 6455 section 5.1",
    )


async def _keys(x: ClientExchange) -> None:
    caller = await x.open()
    for number in range(PINGS):
        x.send(caller, PING, b"%d" % number)
        await x.pong(caller, b"%d" % number)
    keys = caller.reader.keys
    most = max((keys.count(key) for key in set(keys)), default=0)
    if most >= SAME:
        x.wrong(
            "mask", f"of {len(keys)} frames {most} have the same masking key (section 5.3: unpredictable)"
        )
    elif any(int.from_bytes(b, "big") - int.from_bytes(a, "big") == 1 for a, b in pairwise(keys)):
        x.wrong("mask", "its masking keys count up (section 5.3: unpredictable)")
    await x.finish(caller)


MASKING.add(
    "new-keys",
    "The masking keys of many frames",
    _keys,
    expectation="Every frame is masked, each with a new key that cannot be predicted.",
    spec="RFC 6455 section 5.3",
)


def _goes(data: bytes, name: str) -> ClientCheck:
    async def check(x: ClientExchange) -> None:
        caller = await x.open()
        x.send(caller, PING, b"here")
        await x.pong(caller, b"here")
        if data:
            caller.send(data, text=name)
        if not await x.end_of_tcp(caller):
            x.should(f"after our end of TCP ({name}) it has not ended its own side")
        x.saw(x.ending(caller) or "still open")

    return check


for _name, _title, _data in (
    ("without-a-word", "A server that ends TCP without a close frame", b""),
    ("in-a-frame", "A server that ends TCP inside of a frame", frame(TEXT, b"*" * 1000, mask=None)[:500]),
    ("in-a-message", "A server that ends TCP inside of a message", frame(TEXT, b"x", fin=False, mask=None)),
    ("after-close", "A server that closes and ends TCP at once", frame(CLOSE, close_body(1001), mask=None)),
):  # fmt: skip
    GOING.add(
        _name,
        _title,
        _goes(_data, _title),
        expectation="The client ends its side of TCP too, and does not wait for ever.",
    )


async def _answers_then_close(x: ClientExchange) -> None:
    """What comes back before a close is whole, whatever follows."""
    caller = await x.open()
    text = x.speech.text("the last word")
    x.send(caller, TEXT, text)
    await x.answers(caller, [(TEXT, text)])
    await x.finish(caller, 1001)


GOING.add(
    "going-away",
    "A server that says that it goes (1001)",
    _answers_then_close,
    expectation="The client answers the close frame with the same code, and ends TCP.",
    needs=[Need.ECHO],
)
