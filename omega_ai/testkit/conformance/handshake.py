"""The opening handshake: requests right, odd and wrong (RFC 6455 sections 4.1, 4.2 and 9.1; RFC 9112)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from omega_ai.core.websocket.handshake import accept_value
from omega_ai.testkit.conformance.exchange import Check, Exchange, pause
from omega_ai.testkit.conformance.family import Family
from omega_ai.testkit.conformance.frames import PING, TEXT, frame
from omega_ai.testkit.conformance.wire import Wire

FAMILY: Final = Family("open", "the opening handshake", "RFC 6455 section 4.2.1")

Headers = list[tuple[str, str]]
Change = Callable[[Headers], Headers]
SLOW_SECONDS: Final = 12.0
"""For how long a request is dripped in."""


def put(name: str, value: str) -> Change:
    """Give the header another value, in its place or at the end."""

    def change(headers: Headers) -> Headers:
        if any(n == name for n, _ in headers):
            return [(n, value if n == name else v) for n, v in headers]
        return [*headers, (name, value)]

    return change


def add(name: str, value: str) -> Change:
    """One line more."""
    return lambda headers: [*headers, (name, value)]


def drop(name: str) -> Change:
    """Leave the header out."""
    return lambda headers: [(n, v) for n, v in headers if n != name]


def named(name: str, other: str) -> Change:
    """Spell the header's name differently."""
    return lambda headers: [(other if n == name else n, v) for n, v in headers]


def repeat(name: str) -> Change:
    """The header twice, with the same value."""
    return lambda headers: [pair for n, v in headers for pair in ([(n, v)] * (2 if n == name else 1))]


async def _ask(x: Exchange, data: bytes, *, by: int = 0) -> Wire:
    wire = await x.connect()
    for start in range(0, len(data), by or len(data)):
        wire.send(data[start : start + (by or len(data))], text="the request")
        if by:
            await pause(0)
    await wire.until(lambda: wire.head is not None or wire.ended, x.patience)
    x.examined += 1
    return wire


async def _right(x: Exchange, wire: Wire, key: str, *, chosen: str | None = None) -> None:
    """The answer must be a right 101, and frames must go through."""
    response = wire.response
    if response is None:
        x.broken(
            "refused",
            f"a right handshake was not answered: {x.ending(wire) or f'nothing in {x.patience:g} s'}",
        )
    if response.status != 101:
        x.broken("refused", f"a right handshake was answered with HTTP {response.status}")
    head = (wire.head or b"").split(b"\r\n")[0]
    if not head.startswith(b"HTTP/1.1 101"):
        x.wrong("status", f"the status line is {head[:60]!r}, not HTTP/1.1 101 (section 4.2.2)")
    if (response.header("upgrade") or "").lower() != "websocket":
        x.wrong("upgrade", f"the Upgrade header is {response.header('upgrade')!r} (section 4.2.2)")
    parts = [part.strip().lower() for part in (response.header("connection") or "").split(",")]
    if "upgrade" not in parts:
        x.wrong("connection", f"the Connection header is {response.header('connection')!r} (section 4.2.2)")
    accept = response.header("sec-websocket-accept")
    if accept != accept_value(key):
        x.wrong("accept", f"Sec-WebSocket-Accept is {accept!r}, not {accept_value(key)!r} (section 4.2.2)")
    if response.header("sec-websocket-protocol") != chosen and not x.context.profile.connect.subprotocols:
        x.wrong("subprotocol", "it chose a subprotocol that was not offered (section 4.2.2)")
    if response.header("sec-websocket-extensions") is not None:
        x.wrong("extension", "it chose an extension that was not offered (section 4.2.2)")
    x.send(wire, PING, b"open")
    await x.pong(wire, b"open")
    await x.finish(wire)


def _accepts(*changes: Change, line: str | None = None, by: int = 0, first: bytes = b"") -> Check:
    async def check(x: Exchange) -> None:
        key = x.key()
        headers = x.request_headers(key)
        for change in changes:
            headers = change(headers)
        where = (
            None
            if line is None
            else line.replace("TARGET", x.address.target).replace("HOST", x.address.host_header)
        )
        wire = await _ask(x, first + x.request(headers, line=where), by=by)
        await _right(x, wire, key)

    return check


GOOD: Final[tuple[tuple[str, str, Check], ...]] = (
    ("plain", "A right request", _accepts()),
    ("byte-by-byte", "A right request, a byte at a time", _accepts(by=1)),
    ("lower-case", "Header names in lower case",
     _accepts(lambda headers: [(n.lower(), v) for n, v in headers])),
    ("upper-case", "Header names in upper case",
     _accepts(lambda headers: [(n.upper(), v) for n, v in headers])),
    ("reversed", "Headers in the reverse order", _accepts(lambda headers: headers[::-1])),
    ("upgrade-case", "Upgrade: WebSocket", _accepts(put("Upgrade", "WebSocket"))),
    ("connection-case", "Connection: upgrade", _accepts(put("Connection", "upgrade"))),
    ("connection-list", "Connection: keep-alive, Upgrade",
     _accepts(put("Connection", "keep-alive, Upgrade"))),
    ("connection-spaced", "Connection: keep-alive ,\tUpgrade",
     _accepts(put("Connection", "keep-alive ,\tUpgrade"))),
    ("connection-lines", "Connection in two lines",
     _accepts(put("Connection", "keep-alive"), add("Connection", "Upgrade"))),
    ("value-spaced", "Blanks around the values",
     _accepts(lambda headers: [(n, f"  {v}  ") for n, v in headers])),
    ("value-tabbed", "Tabs around the values",
     _accepts(lambda headers: [(n, f"\t{v}\t") for n, v in headers])),
    ("value-unspaced", "No blank after the colon",
     lambda x: _unspaced(x)),
    ("unknown-headers", "Headers that nobody knows", _accepts(add("X-Unknown", "a"), add("X-Empty", ""))),
    ("long-cookie", "A cookie of 2000 bytes", _accepts(add("Cookie", "a=" + "b" * 1998))),
    ("user-agent", "The headers of a browser",
     _accepts(add("User-Agent", "Mozilla/5.0"), add("Accept-Language", "en"),
              add("Cache-Control", "no-cache"))),
    ("unknown-extension", "An extension that nobody knows",
     _accepts(add("Sec-WebSocket-Extensions", "x-unknown; a=1"))),
    ("query", "A query in the target",
     _accepts(line="GET TARGET HTTP/1.1")),
)  # fmt: skip


async def _unspaced(x: Exchange) -> None:
    key = x.key()
    data = x.request(x.request_headers(key)).replace(b": ", b":")
    await _right(x, await _ask(x, data), key)


for _name, _title, _check in GOOD:
    FAMILY.add(
        f"right-{_name}",
        _title,
        _check,
        expectation="101 with the right headers; then frames go through.",
        spec="RFC 6455 section 4.2.2",
        destructive=False,
    )


def _refuses(
    *changes: Change, line: str | None = None, version: bool = False, optional: bool = False
) -> Check:
    """``optional``: to upgrade is non-strict only. ``version``: 426 and the right version are advised."""

    async def check(x: Exchange) -> None:
        await x.bystander()
        headers = x.request_headers(x.key())
        for change in changes:
            headers = change(headers)
        first = None if line is None else line.replace("TARGET", x.address.target)
        await _refused(x, await _ask(x, x.request(headers, line=first)), version=version, optional=optional)

    return check


async def _refused(x: Exchange, wire: Wire, *, version: bool = False, optional: bool = False) -> None:
    status = wire.status
    if status is None:
        if wire.ended is not None:
            x.should("the connection was cut without an HTTP answer (section 4.2.1 asks for one)")
            x.saw("no answer, the connection was ended")
        elif wire.head is not None or wire.heard:
            x.wrong("answer", "the answer is not HTTP")
        else:
            x.wrong("answer", f"neither an answer nor an end within {x.patience:g} s")
        await x.unharmed()
        return
    x.saw(f"HTTP {status}")
    response = wire.response
    if status == 101:
        if optional:
            x.should("it was upgraded all the same")
        else:
            x.wrong(
                "upgraded", "it was upgraded (101), though this is no WebSocket handshake (section 4.2.1)"
            )
    elif status >= 500 and status not in (501, 505):  # these two say what is wrong with the request
        x.should(f"HTTP {status} blames the server for a fault of the client (section 4.2.1)")
    elif version and (response is None or "13" not in (response.header("sec-websocket-version") or "")):
        x.should("the answer does not say which version it speaks (Sec-WebSocket-Version, section 4.4)")
    await x.unharmed()


BAD: Final[tuple[tuple[str, str, Check], ...]] = (
    ("post", "POST instead of GET", _refuses(line="POST TARGET HTTP/1.1")),
    ("method", "A method that nobody knows", _refuses(line="OMEGA TARGET HTTP/1.1")),
    ("method-case", "get instead of GET", _refuses(line="get TARGET HTTP/1.1")),
    ("http-1.0", "HTTP/1.0", _refuses(line="GET TARGET HTTP/1.0")),
    ("http-0.9", "A request line without a version", _refuses(line="GET TARGET")),
    ("http-2.0", "HTTP/2.0 in an HTTP/1 request", _refuses(line="GET TARGET HTTP/2.0", optional=True)),
    ("http-lower", "http/1.1", _refuses(line="GET TARGET http/1.1")),
    ("http-garbage", "A version that is none", _refuses(line="GET TARGET HTTP/x.y")),
    ("no-host", "No Host", _refuses(drop("Host"))),
    ("two-hosts", "Host twice", _refuses(add("Host", "other.example"))),
    ("no-upgrade", "No Upgrade", _refuses(drop("Upgrade"))),
    ("upgrade-other", "Upgrade: h2c", _refuses(put("Upgrade", "h2c"))),
    ("upgrade-longer", "Upgrade: websockets", _refuses(put("Upgrade", "websockets"))),
    ("no-connection", "No Connection", _refuses(drop("Connection"))),
    ("connection-other", "Connection: keep-alive", _refuses(put("Connection", "keep-alive"))),
    ("connection-longer", "Connection: upgraded", _refuses(put("Connection", "upgraded"))),
    ("no-key", "No key", _refuses(drop("Sec-WebSocket-Key"))),
    ("key-empty", "An empty key", _refuses(put("Sec-WebSocket-Key", ""))),
    ("key-15", "A key of 15 bytes", _refuses(put("Sec-WebSocket-Key", "MTIzNDU2Nzg5MDEyMzQ1"))),
    ("key-17", "A key of 17 bytes", _refuses(put("Sec-WebSocket-Key", "MTIzNDU2Nzg5MDEyMzQ1Njc="))),
    ("key-long", "A key of 1000 characters", _refuses(put("Sec-WebSocket-Key", "A" * 1000))),
    ("key-no-base64", "A key that is no base64",
     _refuses(put("Sec-WebSocket-Key", "!!!!!!!!!!!!!!!!!!!!!!=="))),
    ("key-unpadded", "A key without its padding",
     _refuses(put("Sec-WebSocket-Key", "MTIzNDU2Nzg5MDEyMzQ1Ng"))),
    ("two-keys", "The key twice", _refuses(repeat("Sec-WebSocket-Key"))),
    ("no-version", "No version", _refuses(drop("Sec-WebSocket-Version"), version=True)),
    *((f"version-{name}", f"Version {value!r}", _refuses(put("Sec-WebSocket-Version", value), version=True))
      for name, value in (("0", "0"), ("12", "12"), ("14", "14"), ("255", "255"), ("empty", ""),
                          ("word", "latest"), ("list", "8, 13"), ("negative", "-13"), ("padded", "013"))),
    ("version-8", "Version 8, an old draft that a server may also speak (section 4.4)",
     _refuses(put("Sec-WebSocket-Version", "8"), version=True, optional=True)),
    ("two-versions", "The version twice", _refuses(repeat("Sec-WebSocket-Version"))),
    ("two-other-versions", "Versions 13 and 8", _refuses(add("Sec-WebSocket-Version", "8"))),
    ("extensions-malformed", "Extensions that are malformed",
     _refuses(add("Sec-WebSocket-Extensions", "permessage-deflate; =;"), optional=True)),
    ("extensions-empty", "Extensions: only commas",
     _refuses(add("Sec-WebSocket-Extensions", ",,;"), optional=True)),
    ("space-before-colon", "A blank before the colon",
     _refuses(named("Sec-WebSocket-Key", "Sec-WebSocket-Key "))),
    ("name-with-blank", "A blank in a header's name", _refuses(add("X Header", "a"))),
    ("name-empty", "A header without a name", _refuses(add("", "a"))),
    ("value-nul", "A NUL byte in a value", _refuses(add("X-Header", "a\0b"), optional=True)),
    ("value-control", "A control character in a value", _refuses(add("X-Header", "a\x01b"), optional=True)),
    ("value-cr", "A bare CR in a value", _refuses(add("X-Header", "a\rb"), optional=True)),
    ("folded", "A folded header", _refuses(add("X-Header", "a\r\n b"), optional=True)),
    ("target-blank", "A blank in the target", _refuses(line="GET /a b HTTP/1.1")),
    ("target-empty", "No target", _refuses(line="GET  HTTP/1.1")),
    ("target-relative", "A target without a slash", _refuses(line="GET chat HTTP/1.1", optional=True)),
    ("target-fragment", "A fragment in the target", _refuses(line="GET TARGET#here HTTP/1.1", optional=True)),
    ("body", "A request that announces a body", _refuses(add("Content-Length", "5"), optional=True)),
    ("two-lengths", "Two bodies of different length",
     _refuses(add("Content-Length", "5"), add("Content-Length", "6"))),
    ("length-and-chunks", "Content-Length and Transfer-Encoding",
     _refuses(add("Content-Length", "5"), add("Transfer-Encoding", "chunked"), optional=True)),
)  # fmt: skip
for _name, _title, _check in BAD:
    FAMILY.add(
        f"wrong-{_name}",
        _title,
        _check,
        expectation="An HTTP error, 400 or another of the 4xx, and no 101; others are served as before.",
        spec="RFC 6455 section 4.2.1; RFC 9112",
    )


def _raw(data: bytes | Callable[[Exchange], bytes], *, optional: bool = False) -> Check:
    async def check(x: Exchange) -> None:
        await x.bystander()
        wire = await _ask(x, data if isinstance(data, bytes) else data(x))
        await _refused(x, wire, optional=optional)

    return check


def _headers(count: int, size: int) -> Callable[[Exchange], bytes]:
    def make(x: Exchange) -> bytes:
        more = [(f"X-Header-{number}", "v" * size) for number in range(count)]
        return x.request([*x.request_headers(x.key()), *more])

    return make


for _name, _title, _data, _optional in (
    ("garbage", "Bytes that are no HTTP", bytes(range(128, 256)) + b"\r\n\r\n", False),
    ("frame-first", "A frame without a handshake", frame(TEXT, b"Hello") + b"\r\n\r\n", False),
    ("no-colon", "A header line without a colon",
     lambda x: x.request(x.request_headers(x.key())).replace(b"Upgrade: web", b"Upgrade web"), False),
    ("bare-lf", "Lines that end with LF alone, which HTTP tolerates",
     lambda x: x.request(x.request_headers(x.key())).replace(b"\r\n", b"\n") + b"\r\n\r\n", True),
    ("long-line", "A request line of 100,000 bytes",
     lambda x: x.request(x.request_headers(x.key()), line=f"GET /{'a' * 100_000} HTTP/1.1"), True),
    ("long-header", "A header of 200,000 bytes", _headers(1, 200_000), True),
    ("many-headers", "2,000 headers", _headers(2000, 10), True),
):  # fmt: skip
    FAMILY.add(
        f"wrong-{_name}",
        _title,
        _raw(_data, optional=_optional),
        expectation="An HTTP error, or the end of the connection; others are served as before.",
        spec="RFC 6455 section 4.2.1; RFC 9112",
    )


async def _absolute(x: Exchange) -> None:
    """RFC 9112 section 3.2.2: a server accepts a whole URL as target, though clients send none."""
    key = x.key()
    scheme = "https" if x.address.secure else "http"
    line = f"GET {scheme}://{x.address.host_header}{x.address.target} HTTP/1.1"
    wire = await _ask(x, x.request(x.request_headers(key), line=line))
    response = wire.response
    if response is None or response.status != 101:
        x.should(f"a whole URL as target was answered with {response.status if response else 'nothing'}")
    else:
        await _right(x, wire, key)


async def _leading_line(x: Exchange) -> None:
    """RFC 9112 section 2.2: an empty line before the request should be ignored."""
    key = x.key()
    wire = await _ask(x, b"\r\n" + x.request(x.request_headers(key)))
    response = wire.response
    if response is None or response.status != 101:
        x.may("an empty line before the request is not ignored (RFC 9112 section 2.2)")
    else:
        await _right(x, wire, key)


async def _frame_with_request(x: Exchange) -> None:
    """A client must wait for the answer; a frame that comes with the request must not be lost or harm."""
    await x.bystander()
    key = x.key()
    data = x.request(x.request_headers(key)) + frame(PING, b"early", mask=x.rng.randbytes(4))
    wire = await _ask(x, data)
    response = wire.response
    if response is not None and response.status == 101:
        if await wire.until(lambda: wire.reader.pongs or wire.over, 1.0) and wire.reader.pongs:
            x.may("a frame in the packet of the request was answered")
        else:
            x.may("a frame in the packet of the request was not answered")
    else:
        x.may("a frame in the packet of the request had it refused")
    x.saw(x.findings[-1].text)
    await x.unharmed()


async def _unoffered(x: Exchange) -> None:
    """Subprotocols that no server has."""
    key = x.key()
    headers = [(n, v) for n, v in x.request_headers(key) if n != "Sec-WebSocket-Protocol"]
    wire = await _ask(x, x.request([*headers, ("Sec-WebSocket-Protocol", "x-nobody, x-has-this")]))
    response = wire.response
    if response is None:
        x.broken(
            "refused", f"no answer to an offer of unknown subprotocols: {x.ending(wire) or 'nothing came'}"
        )
    chosen = response.header("sec-websocket-protocol")
    if response.status == 101 and chosen not in (None, "x-nobody", "x-has-this"):
        x.wrong("subprotocol", f"it chose the subprotocol {chosen!r}, which was not offered (section 4.2.2)")
    elif response.status == 101 and chosen is not None:
        x.should(f"it agreed to the subprotocol {chosen!r}, which nobody has (section 4.2.2)")
    x.saw(f"HTTP {response.status}, subprotocol {chosen}")


async def _again(x: Exchange) -> None:
    """A second handshake on an open connection is no frame that may be sent."""
    await x.bystander()
    wire = await x.open()
    wire.send(x.request(x.request_headers(x.key())), text="a second handshake")
    # "GET " as a frame: opcode 7, reserved bits set, not masked.
    await x.fails(wire, (1002,), whole=False, what="the second handshake")


async def _slow(x: Exchange) -> None:
    """A request that drips in, a byte at a time."""
    await x.bystander()
    wire = await x.connect()
    data = x.request(x.request_headers(x.key()))
    begin = x.context.clock.monotonic()
    for byte in data:
        wire.send(bytes((byte,)), text="a byte of the request")
        if await wire.until(lambda: wire.ended or wire.head is not None, SLOW_SECONDS / 40):
            break
        if x.context.clock.monotonic() - begin > SLOW_SECONDS:
            break
    lasted = x.context.clock.monotonic() - begin
    x.examined += 1
    if wire.ended or wire.head is not None:
        x.saw(f"it gave up after {lasted:.1f} s")
    else:
        x.may(f"a request that drips in is waited for longer than {SLOW_SECONDS:g} s; a bound is advised")
        x.saw(f"after {lasted:.0f} s it still waits")
    await x.unharmed()


async def _gone(x: Exchange) -> None:
    """Clients that leave in the middle of their request."""
    await x.bystander()
    data = x.request(x.request_headers(x.key()))
    for part in (0, 1, len(data) // 2, len(data) - 1, len(data)):
        for rudely in (False, True):
            wire = await x.connect(f"client {part}{' rude' if rudely else ''}")
            if part:
                wire.send(data[:part], text="a part of a request")
            await asyncio.sleep(0)
            wire.hang_up(rudely=rudely)
    again = await x.open_again("client again")
    x.send(again, PING, b"served?")
    await x.pong(again, b"served?")
    await x.unharmed()


for _name, _title, _check, _expect, _spec in (
    ("absolute-target", "A whole URL as target", _absolute, "It should be accepted.",
     "RFC 9112 section 3.2.2"),
    ("leading-line", "An empty line before the request", _leading_line, "It should be ignored.",
     "RFC 9112 section 2.2"),
    ("frame-with-request", "A frame in the packet of the request", _frame_with_request,
     "Answered or not, nobody is harmed.", "RFC 6455 section 4.1"),
    ("unknown-subprotocols", "An offer of subprotocols that nobody has", _unoffered,
     "No other subprotocol is chosen.", "RFC 6455 section 4.2.2"),
    ("again", "A second handshake on an open connection", _again,
     "The connection is failed with 1002.", "RFC 6455 section 5.2"),
    ("gone", "Clients that leave in the middle of their request", _gone, "Others are served as before.",
     "RFC 6455 section 4.2.1"),
):  # fmt: skip
    FAMILY.add(_name, _title, _check, expectation=_expect, spec=_spec)

SLOW: Final = Family("slow", "what takes time", "RFC 6455 section 10")
SLOW.add(
    "handshake",
    "A request that drips in, a byte at a time",
    _slow,
    expectation="It should be given up at some time; others are served meanwhile.",
)
