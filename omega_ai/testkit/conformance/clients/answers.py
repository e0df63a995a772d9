"""Answers to a client's handshake, right, odd and wrong: what it must take, and what not (section 4.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from omega_ai.core.websocket.handshake import accept_value
from omega_ai.testkit.case import NotApplicable
from omega_ai.testkit.conformance.clients.caller import STATUS_LINE, Caller, Headers, response, right_answer
from omega_ai.testkit.conformance.clients.exchange import DEFLATE, ClientExchange, agree
from omega_ai.testkit.conformance.clients.family import ClientCheck, ClientFamily
from omega_ai.testkit.conformance.exchange import pause
from omega_ai.testkit.conformance.frames import PING, TEXT, Agreed, frame
from omega_ai.testkit.conformance.handshake import add, drop, put

FAMILY: Final = ClientFamily("answer", "answers to the handshake", "RFC 6455 section 4.1")
EXTENSIONS: Final = ClientFamily("extension", "extensions that we answer with", "RFC 7692 section 7.1")

Change = Callable[[Headers], Headers]
MARK: Final = b"are you there?"
ENDLESS: Final = 1 << 20
"""Bytes of an answer that does not end; a client should have had enough by then."""


def _takes(*changes: Change, line: str = STATUS_LINE, piece: int = 0, packed: bool = False) -> ClientCheck:
    """A right answer: the client must take the connection for open."""

    async def check(x: ClientExchange) -> None:
        caller = await x.connect()
        headers = right_answer(caller)
        for change in changes:
            headers = change(headers)
        data = response(headers, line)
        ping = frame(PING, MARK, mask=None)
        if packed:
            caller.answer(data + ping, "our answer, and a ping in the same packet")
        elif piece:
            caller.upgraded = True
            for start in range(0, len(data), piece):
                caller.send(data[start : start + piece], text="a piece of our answer")
                await pause(0.001)
            caller.send_frame(ping)
        else:
            caller.answer(data)
            caller.send_frame(ping)
        if not await caller.until(lambda: MARK in caller.reader.pongs or caller.over, x.patience):
            x.broken("refused", f"after a right answer nothing came within {x.patience:g} s")
        if MARK not in caller.reader.pongs:
            x.broken("refused", f"it does not take a right answer: {x.ending(caller)}")
        x.examined += 1
        await x.finish(caller)

    return check


def _all(spell: Callable[[str], str]) -> Change:
    return lambda headers: [(spell(name), value) for name, value in headers]


RIGHT: Final[tuple[tuple[str, str, ClientCheck], ...]] = (
    ("plain", "A right answer", _takes()),
    ("lower-case", "Header names in lower case", _takes(_all(str.lower))),
    ("upper-case", "Header names in upper case", _takes(_all(str.upper))),
    ("reversed", "Headers in the reverse order", _takes(lambda headers: headers[::-1])),
    ("upgrade-case", "Upgrade: WebSocket", _takes(put("Upgrade", "WebSocket"))),
    ("connection-case", "Connection: upgrade", _takes(put("Connection", "upgrade"))),
    (
        "connection-list",
        "Connection: keep-alive, Upgrade",
        _takes(put("Connection", "keep-alive, Upgrade")),
    ),
    (
        "value-spaced",
        "Blanks around the values",
        _takes(lambda headers: [(name, f"  {value}  ") for name, value in headers]),
    ),
    ("unknown-headers", "Headers that nobody knows", _takes(add("X-Unknown", "a"), add("Server", "omega"))),
    ("phrase", "Another reason phrase", _takes(line="HTTP/1.1 101 Web Socket Protocol Handshake")),
    ("phrase-empty", "An empty reason phrase", _takes(line="HTTP/1.1 101 ")),
    ("pieces", "An answer in segments of one byte", _takes(piece=1)),
    ("packed", "An answer and a ping in one packet", _takes(packed=True)),
)
for _name, _title, _check in RIGHT:
    FAMILY.add(
        f"right-{_name}",
        _title,
        _check,
        expectation="The client takes the connection for open, and answers a ping.",
    )


def _refuses(
    *changes: Change, line: str = STATUS_LINE, lenient: bool = False, raw: bytes | None = None
) -> ClientCheck:
    """A wrong answer: the client must fail the connection. ``lenient``: to take it is non-strict only."""

    async def check(x: ClientExchange) -> None:
        caller = await x.connect()
        headers = right_answer(caller)
        for change in changes:
            headers = change(headers)
        caller.answer(response(headers, line) if raw is None else raw, "our wrong answer")
        await refused(x, caller, lenient=lenient)

    return check


async def refused(x: ClientExchange, caller: Caller, *, lenient: bool = False) -> None:
    """The client must not take the connection for open, and should end it."""
    caller.send_frame(frame(TEXT, MARK, mask=None))
    caller.send_frame(frame(PING, MARK, mask=None))
    reader = caller.reader
    await caller.until(lambda: caller.ended or reader.pongs or reader.messages or reader.close, x.patience)
    x.examined += 1
    if reader.pongs or reader.messages:
        text = "it takes the connection for open, though our answer was wrong"
        if lenient:
            x.should(text)
        else:
            x.wrong("accepted", text)
    elif caller.ended is None and reader.close is None:
        x.should(f"it did not end the connection within {x.patience:g} s of our wrong answer")
    x.saw(x.ending(caller) or "the connection is open")


def _other_accept(value: Callable[[str], str]) -> Change:
    return lambda headers: [
        (name, value(given) if name == "Sec-WebSocket-Accept" else given) for name, given in headers
    ]


WRONG: Final[tuple[tuple[str, str, ClientCheck], ...]] = (
    ("no-accept", "No Sec-WebSocket-Accept", _refuses(drop("Sec-WebSocket-Accept"))),
    ("empty-accept", "An empty Sec-WebSocket-Accept", _refuses(put("Sec-WebSocket-Accept", ""))),
    (
        "other-accept",
        "The Sec-WebSocket-Accept of another key",
        _refuses(put("Sec-WebSocket-Accept", accept_value("dGhlIHNhbXBsZSBub25jZQ=="))),
    ),
    ("accept-case", "Sec-WebSocket-Accept in lower case", _refuses(_other_accept(str.lower))),
    ("accept-longer", "Sec-WebSocket-Accept with more behind it", _refuses(_other_accept(lambda v: v + "x"))),
    ("accept-shorter", "A Sec-WebSocket-Accept without its end", _refuses(_other_accept(lambda v: v[:-2]))),
    ("no-upgrade", "No Upgrade", _refuses(drop("Upgrade"))),
    ("other-upgrade", "Upgrade: h2c", _refuses(put("Upgrade", "h2c"))),
    ("no-connection", "No Connection", _refuses(drop("Connection"))),
    ("other-connection", "Connection: close", _refuses(put("Connection", "close"))),
    *(
        (f"status-{status}", f"HTTP {status}, otherwise an upgrade", _refuses(line=f"HTTP/1.1 {status} X"))
        for status in (200, 400, 403, 404, 426, 500, 503)
    ),
    ("http-1.0", "101 in HTTP/1.0", _refuses(line="HTTP/1.0 101 Switching Protocols", lenient=True)),
    ("garbage", "An answer that is no HTTP", _refuses(raw=b"hello, hello, hello\r\n\r\n")),
    ("subprotocol", "A subprotocol that it did not offer", _refuses(add("Sec-WebSocket-Protocol", "x-mine"))),
    ("extension", "An extension that nobody offers", _refuses(add("Sec-WebSocket-Extensions", "x-mine"))),
)  # fmt: skip
for _name, _title, _check in WRONG:
    FAMILY.add(
        f"wrong-{_name}",
        _title,
        _check,
        expectation="The client fails the connection: it sends no frame, and ends TCP.",
    )


async def _endless(x: ClientExchange) -> None:
    caller = await x.connect()
    caller.upgraded = True
    line = b"X-More: " + b"x" * 4000 + b"\r\n"
    caller.send(STATUS_LINE.encode() + b"\r\n", text="the beginning of our answer")
    for _ in range(ENDLESS // len(line)):
        caller.send(line, text="one header more")
        if caller.ended or not await caller.drain(x.patience):
            break
    await caller.until(lambda: caller.ended, 1.0)
    x.examined += 1
    if caller.ended is None:
        x.may("1 MiB of headers are read; a limit would be safer (section 10.4)")
    x.saw(x.ending(caller) or "it reads on")


FAMILY.add(
    "endless",
    "An answer whose headers do not end",
    _endless,
    expectation="A client with a limit ends the connection.",
)


async def _new_keys(x: ClientExchange) -> None:
    """Three in a row; and all that other cases saw."""
    for number in range(3):
        caller = await x.connect(f"client {number + 1}")
        caller.answer(response(right_answer(caller)))
        await x.finish(caller)
    if x.clients.repeated_keys:
        x.wrong(
            "request", f"{x.clients.repeated_keys} keys were the same as before; each must be new (point 7)"
        )


FAMILY.add(
    "new-keys",
    "Sec-WebSocket-Key of several connections",
    _new_keys,
    expectation="Each connection has a key of its own, chosen at random.",
)

# Extensions.


def _agreed(wanted: str, *, lenient: bool = False) -> ClientCheck:
    """A right agreement must be taken. ``lenient``: not to take it is non-strict only."""

    async def check(x: ClientExchange) -> None:
        caller = await x.open(extensions=[wanted])
        x.send(caller, PING, MARK)
        await caller.until(lambda: MARK in caller.reader.pongs or caller.over, x.patience)
        x.examined += 1
        if MARK not in caller.reader.pongs:
            text = f"it does not take a right agreement: {x.ending(caller) or 'no pong'}"
            if not lenient:
                x.broken("refused", text)
            x.should(text)
            return
        await x.finish(caller)

    return check


for _name, _wanted in (
    ("plain", DEFLATE),
    ("client-forgets", f"{DEFLATE}; server_no_context_takeover"),
    ("server-forgets", f"{DEFLATE}; client_no_context_takeover"),
    ("both-forget", f"{DEFLATE}; server_no_context_takeover; client_no_context_takeover"),
    *((f"server-bits-{bits}", f"{DEFLATE}; client_max_window_bits={bits}") for bits in range(8, 16)),
    *((f"client-bits-{bits}", f"{DEFLATE}; server_max_window_bits={bits}") for bits in range(8, 16)),
):
    EXTENSIONS.add(
        f"agreed-{_name}",
        f"We agree to compress: {_name}",
        # zlib cannot write for a window of 256 bytes, so that a client which uses it refuses that.
        _agreed(_wanted, lenient=_name == "client-bits-8"),
        expectation="The client takes the agreement, which it offered.",
    )


def _not_agreed(line: str, *, unless: str = "") -> ClientCheck:
    """An answer with ``line`` that no offer allows; ``unless`` the client offers this parameter."""

    async def check(x: ClientExchange) -> None:
        caller = await x.connect()
        agree(caller.offers, DEFLATE)  # or it does not apply
        if unless and unless in caller.offers:
            raise NotApplicable(f"it offers {unless}")
        headers = [*right_answer(caller), ("Sec-WebSocket-Extensions", line)]
        caller.reader.agreed = Agreed()  # whether it compresses then is not what is asked
        caller.answer(response(headers), "our wrong agreement")
        await refused(x, caller)

    return check


for _name, _line, _unless in (
    ("unknown", f"{DEFLATE}; unknown", ""),
    ("repeated", f"{DEFLATE}; server_no_context_takeover; server_no_context_takeover", ""),
    ("valued-flag", f"{DEFLATE}; server_no_context_takeover=true", ""),
    ("server-bits-none", f"{DEFLATE}; server_max_window_bits", ""),
    *((f"server-bits-{bits}", f"{DEFLATE}; server_max_window_bits={bits}", "")
      for bits in ("7", "16", "010", "x")),
    ("client-bits-none", f"{DEFLATE}; client_max_window_bits", ""),
    *((f"client-bits-{bits}", f"{DEFLATE}; client_max_window_bits={bits}", "")
      for bits in ("7", "16", "010")),
    ("client-bits-unoffered", f"{DEFLATE}; client_max_window_bits=12", "client_max_window_bits"),
    ("twice", f"{DEFLATE}, {DEFLATE}", ""),
    ("with-another", f"{DEFLATE}, x-mine", ""),
):  # fmt: skip
    EXTENSIONS.add(
        f"wrong-{_name}",
        f"We answer with {_line}",
        _not_agreed(_line, unless=_unless),
        expectation="The client fails the connection: that is no answer to what it offers.",
    )


async def _unoffered(x: ClientExchange) -> None:
    caller = await x.connect()
    if DEFLATE in caller.offers:
        raise NotApplicable("it offers compression")
    headers = [*right_answer(caller), ("Sec-WebSocket-Extensions", DEFLATE)]
    caller.answer(response(headers), "an agreement to what it did not offer")
    await refused(x, caller)


EXTENSIONS.add(
    "wrong-unoffered",
    "We agree to compression that it did not offer",
    _unoffered,
    expectation="The client fails the connection.",
)
