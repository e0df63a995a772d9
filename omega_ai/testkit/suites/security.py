"""Who gets in, what is refused, and whether anybody can harm the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import NamedTuple

from omega_ai.core.websocket.frames import BINARY, CLOSE, CONTINUATION, PING, TEXT, build_frame
from omega_ai.testkit.case import Need, NotApplicable, Outcome, Suite, Undecided, failed, judged, passed
from omega_ai.testkit.connection import Address, ConnectFailed, Connection
from omega_ai.testkit.context import Context
from omega_ai.testkit.raw import RawConnection
from omega_ai.testkit.result import Finding, Severity
from omega_ai.testkit.suites.traffic import arrive, judge

SUITE = Suite("security", "Origins, tokens, limits, abuse; and that other clients stay unharmed")

FOREIGN_ORIGIN = "https://omega-test.invalid"
HALF_OPEN = 40
HANDSHAKE_WAIT_S = 15.0
FLOOD = 4000
FLOOD_WAIT_S = 15.0
"""Seconds for which an answer beside a flood is waited for: how long it took is what is judged."""
BIG = 24 << 20
"""Bytes of one message that no server of small messages should take."""


def warning(kind: str, text: str) -> Finding:
    """Allowed, but better otherwise."""
    return Finding(kind=kind, text=text, severity=Severity.WARNING)


@SUITE.case(
    "origin",
    "A web page of another origin is not let in",
    expectation="HTTP 403, where the server is for browsers with cookies or on a private network",
    spec="RFC 6455 sections 4.2.2 and 10.2",
)
async def origin(context: Context) -> Outcome:
    """The handshake as a browser sends it from a foreign page."""
    try:
        await context.connect("foreign page", headers=[("Origin", FOREIGN_ORIGIN)], must=False)
    except ConnectFailed as error:
        if error.status is not None and 400 <= error.status < 500:
            return passed(f"refused with HTTP {error.status}")
        return failed(f"not refused in HTTP's words: {error}")
    text = f"any web page ({FOREIGN_ORIGIN}) can connect, in the name of whoever looks at it"
    if context.profile.security.checks_origin:
        return failed(text)
    return passed("connected: the server looks at no Origin", warnings=[warning("origin", text)])


@SUITE.case(
    "bad-token",
    "A wrong token is refused",
    expectation="HTTP 401, for garbage, for a token of another key, and for one without a signature",
    spec="RFC 6750 section 3.1",
)
async def bad_token(context: Context) -> Outcome:
    """Three wrong bearer tokens."""
    if not context.profile.security.checks_tokens:
        raise NotApplicable("its profile does not say that it looks at tokens")
    unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJvbWVnYSIsImV4cCI6NDEwMjQ0NDgwMH0."
    forged = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJvbWVnYSIsImV4cCI6NDEwMjQ0NDgwMH0." + "A" * 43
    for name, token in (("garbage", "garbage"), ("unsigned", unsigned), ("forged", forged)):
        header = ("Authorization", f"Bearer {token}")
        try:
            await context.connect(name, headers=[header], must=False)
        except ConnectFailed as error:
            if error.status in (401, 403):
                continue
            return failed(f"a token that is {name} is not refused with 401: {error}")
        return failed(f"a token that is {name} was let in")
    return passed("garbage, an unsigned and a forged token were refused with 401")


FORGED = (
    "{MARK",
    '["MARK"]',
    '{"type":"subscribed","channel":"broadcast","epoch":"forged00","seq":1,"id":"MARK"}',
    '{"type":"heartbeat","channels":{"MARK":{}}}',
    '{"type":"btc_price","price":-1,"volume":0,"timestamp":"2026-01-01T00:00:00Z","symbol":"MARK"}',
    '{"type":"btc_price","price":1e999,"volume":0,"timestamp":"2026-01-01T00:00:00Z","symbol":"MARK"}',
    '{"type":"omega-no-such-type","text":"MARK"}',
)
"""What no server may pass on: no JSON, no object, what only servers send, prices that are none."""


class BadRequest(NamedTuple):
    """A handshake that must not be answered with 101."""

    name: str
    make: Callable[[str], str]


_GOOD = (
    "GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
BAD_REQUESTS = (
    BadRequest(
        "without a key", lambda good: good.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "")
    ),
    BadRequest(
        "with a key of 15 bytes",
        lambda good: good.replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j"),
    ),
    BadRequest(
        "with a key that is no base64", lambda good: good.replace("dGhlIHNhbXBsZSBub25jZQ==", "*" * 24)
    ),
    BadRequest("of version 12", lambda good: good.replace("Version: 13", "Version: 12")),
    BadRequest("without a version", lambda good: good.replace("Sec-WebSocket-Version: 13\r\n", "")),
    BadRequest("without Upgrade", lambda good: good.replace("Upgrade: websocket\r\n", "")),
    BadRequest("without Connection", lambda good: good.replace("Connection: Upgrade\r\n", "")),
    BadRequest("by POST", lambda good: good.replace("GET ", "POST ")),
    BadRequest("in HTTP/1.0", lambda good: good.replace("HTTP/1.1", "HTTP/1.0")),
    BadRequest("without Host", lambda good: good.replace("Host: ", "X-Host: ")),
    BadRequest(
        "with a header of 100 KB",
        lambda good: good.replace("\r\n\r\n", f"\r\nX-Long: {'x' * 100_000}\r\n\r\n"),
    ),
    BadRequest("with 5,000 headers", lambda good: good.replace("\r\n\r\n", "\r\nX-A: b" * 5000 + "\r\n\r\n")),
    BadRequest("that is no HTTP", lambda _: "\x16\x03\x01\x00\xa5 hello\r\n\r\n"),
)
_MUST = frozenset({"without a key", "of version 12", "without Upgrade", "by POST", "that is no HTTP"})
"""What would confuse a proxy or a browser; the rest is strictness, and a warning."""


@SUITE.case(
    "bad-handshakes",
    f"{len(BAD_REQUESTS)} kinds of wrong handshake are refused",
    expectation="an HTTP error or the end of the connection, no upgrade, no inner details; others unharmed",
    spec="RFC 6455 section 4.2.1",
    destructive=True,
    timeout=60.0,
)
async def bad_handshakes(context: Context) -> Outcome:
    """Each on a connection of its own."""
    bystander = await context.connect("bystander")
    address = Address.of(context.target.url, context.profile.connect.query)
    good = _GOOD.format(target=address.target, host=address.host_header)
    findings: list[Finding] = []

    async def one(bad: BadRequest) -> None:
        async with RawConnection.open(context, address) as raw:
            raw.send(bad.make(good).encode("latin-1"))
            answer = await raw.read_head(2.0)
            if answer is not None and answer.status == 101:
                severity = Severity.FAILURE if bad.name in _MUST else Severity.WARNING
                findings.append(
                    Finding(kind="upgraded", text=f"a handshake {bad.name} was accepted", severity=severity)
                )
            elif answer is not None:
                body, _ = await raw.read_to_end(0.2)
                if b"Traceback (most recent call last)" in body:
                    text = f"the answer to a handshake {bad.name} shows the server's inner workings"
                    findings.append(Finding(kind="disclosure", text=text))

    await asyncio.gather(*map(one, BAD_REQUESTS))
    await context.round_trip(bystander)
    await context.round_trip(await context.connect("newcomer"))
    return judged(findings, f"{len(BAD_REQUESTS)} wrong handshakes", examined=len(BAD_REQUESTS))


@SUITE.case(
    "slow-handshakes",
    f"{HALF_OPEN} handshakes that are never finished",
    expectation="others are served meanwhile, and the server gives the slow ones up",
    spec="RFC 6455 section 10",
    destructive=True,
    timeout=60.0,
)
async def slow_handshakes(context: Context) -> Outcome:
    """Half a request each, and then nothing."""
    address = Address.of(context.target.url)
    limit = context.profile.security.handshake_timeout_s
    wait = HANDSHAKE_WAIT_S if limit is None else limit + 5.0
    async with AsyncExitStack() as stack:
        slow = []
        for _ in range(HALF_OPEN):
            raw = await stack.enter_async_context(RawConnection.open(context, address))
            raw.send(f"GET {address.target} HTTP/1.1\r\nHost: {address.host_header}\r\n".encode())
            slow.append(raw)
        begin = context.clock.monotonic()
        await context.round_trip(await context.connect("newcomer"))
        _, ended = await slow[0].read_to_end(wait)
        seconds = context.clock.monotonic() - begin
        await context.round_trip(await context.connect("another newcomer"))
    if ended:
        return passed(f"newcomers were served, the slow ones were given up after {seconds:.1f} s")
    text = f"a handshake that is never finished is waited for longer than {wait:g} s"
    if limit is not None:
        return failed(text, by_silence=True)
    return passed("newcomers were served", warnings=[warning("slow handshake", text)])


class BadFrame(NamedTuple):
    """Bytes after which a server must fail the connection, and the close code it is to say so with."""

    name: str
    code: int
    make: Callable[[Callable[[], bytes]], bytes]
    also: int | None = None
    """Another code that says it as well."""


BAD_FRAMES = (
    BadFrame("a frame that is not masked", 1002, lambda _: build_frame(TEXT, b"unmasked")),
    BadFrame("an unknown opcode", 1002, lambda mask: build_frame(0x3, b"", mask=mask())),
    BadFrame("an unknown control opcode", 1002, lambda mask: build_frame(0xB, b"", mask=mask())),
    BadFrame("RSV1 without compression", 1002, lambda mask: build_frame(TEXT, b"x", rsv1=True, mask=mask())),
    BadFrame("a fragmented ping", 1002, lambda mask: build_frame(PING, b"x", fin=False, mask=mask())),
    BadFrame("a ping of 126 bytes", 1002, lambda mask: build_frame(PING, b"x" * 126, mask=mask())),
    BadFrame("a continuation of nothing", 1002, lambda mask: build_frame(CONTINUATION, b"x", mask=mask())),
    BadFrame("a close frame of one byte", 1002, lambda mask: build_frame(CLOSE, b"\x03", mask=mask())),
    BadFrame(
        "close code 1005", 1002, lambda mask: build_frame(CLOSE, (1005).to_bytes(2, "big"), mask=mask())
    ),
    BadFrame("text that is no UTF-8", 1007, lambda mask: build_frame(TEXT, b"\xc3\x28", mask=mask())),
    BadFrame(
        "a length of 2**63",
        1002,
        lambda mask: b"\x82\xff" + (1 << 63).to_bytes(8, "big") + mask() + b"xxxx",
        1009,
    ),
)


@SUITE.case(
    "bad-frames",
    f"{len(BAD_FRAMES)} kinds of wrong frame end the connection",
    expectation="a close frame with the right code, then the end; the connections of others unharmed",
    spec="RFC 6455 sections 5.1, 5.2, 5.4, 5.5, 7.4 and 8.1",
    destructive=True,
    timeout=60.0,
)
async def bad_frames(context: Context) -> Outcome:
    """Each on a connection of its own."""
    bystander = await context.connect("bystander")
    findings: list[Finding] = []

    async def one(bad: BadFrame) -> None:
        connection = await context.connect(f"sender of {bad.name}")
        connection.send_raw(bad.make(lambda: context.rng.randbytes(4)), bad.name)
        ended = await connection.wait_ended(3.0)
        closed = [event.code for event in connection.history.events if event.kind == "close received"]
        if ended is None and not closed:
            findings.append(
                Finding(kind="accepted", text=f"{bad.name}: the server went on as if nothing were wrong")
            )
        elif not closed:
            findings.append(warning("unclean", f"{bad.name}: the connection was cut without a close frame"))
        elif closed[0] not in (bad.code, bad.also):
            text = f"{bad.name}: closed with {closed[0]}, {bad.code} is right"
            # Which code is a SHOULD; one that says "all is well" hides the fault.
            findings.append(
                Finding(kind="code", text=text) if closed[0] in (1000, 1001, 1005) else warning("code", text)
            )

    await asyncio.gather(*map(one, BAD_FRAMES))
    await context.round_trip(bystander)
    return judged(findings, f"{len(BAD_FRAMES)} wrong frames", examined=len(BAD_FRAMES))


@SUITE.case(
    "oversized",
    "A message that is too large is refused",
    expectation="close 1009 at the announced length, before its bytes have come; others unharmed",
    spec="RFC 6455 sections 7.4.1 and 10.4",
    destructive=True,
    alone=True,
    timeout=60.0,
)
async def oversized(context: Context) -> Outcome:
    """One frame just over the limit; or, where none is known, one of 24 MB."""
    limit = context.profile.limits.message_bytes
    size = BIG if limit is None else limit + 1
    bystander = await context.connect("bystander")
    connection = await context.connect("sender of too much")
    data = b"x" * size
    connection.send_raw(build_frame(BINARY if limit is None else TEXT, data, mask=bytes(4)), f"{size} bytes")
    return await _too_much(context, connection, bystander, f"a message of {size:,} bytes", limit)


@SUITE.case(
    "endless-fragments",
    "A message that never ends is refused",
    expectation="close 1009 or 1008 once it is too large or in too many pieces; others unharmed",
    spec="RFC 6455 section 10.4",
    destructive=True,
    alone=True,
    timeout=60.0,
)
async def endless_fragments(context: Context) -> Outcome:
    """Fragments of 16 KB until the server has had enough."""
    limit = context.profile.limits.message_bytes
    bystander = await context.connect("bystander")
    connection = await context.connect("sender without end")
    piece = b"x" * 16_384
    sent = 0
    total = BIG if limit is None else limit + 2 * len(piece)
    while sent < total and connection.open:
        opcode = CONTINUATION if sent else TEXT
        connection.send_raw(build_frame(opcode, piece, fin=False, mask=bytes(4)), "a fragment")
        sent += len(piece)
        await connection.drain(1.0)
    return await _too_much(context, connection, bystander, f"{sent:,} bytes in fragments", limit)


async def _too_much(
    context: Context, connection: Connection, bystander: Connection, what: str, limit: int | None
) -> Outcome:
    ended = await connection.wait_ended(3.0)
    closed = [event.code for event in connection.history.events if event.kind == "close received"]
    await context.round_trip(bystander)
    if ended is None and not closed:
        text = f"{what} went in without a word"
        if limit is not None:
            return failed(f"{text}, though {limit:,} are said to be the limit")
        return passed("the bystander was served", warnings=[warning("no limit", text)])
    if not closed:
        return passed(f"{what}: cut off", warnings=[warning("unclean", "cut without a close frame")])
    if closed[0] in (1009, 1008):
        return passed(f"{what}: refused with {closed[0]}")
    return passed(
        f"{what}: refused", warnings=[warning("code", f"closed with {closed[0]}, 1009 says it best")]
    )


@SUITE.case(
    "flood",
    f"A client that sends {FLOOD:,} messages at once slows nobody down",
    expectation="others are answered in time; the sender may be limited or closed",
    destructive=True,
    alone=True,
    timeout=60.0,
)
async def flood(context: Context) -> Outcome:
    """Text as fast as it goes, while a bystander asks."""
    return await _beside(
        context, "flooding client", build_frame(TEXT, b'{"type":"ping"}', mask=bytes(4)), FLOOD
    )


@SUITE.case(
    "ping-flood",
    f"A client that sends {FLOOD:,} pings and reads nothing slows nobody down",
    expectation="others are answered in time; one pong for the latest ping is enough",
    spec="RFC 6455 section 5.5.3",
    destructive=True,
    alone=True,
    timeout=60.0,
)
async def ping_flood(context: Context) -> Outcome:
    """Pings of 125 bytes, answers unread."""
    frame = build_frame(PING, b"p" * 125, mask=bytes(4))
    return await _beside(context, "pinging client", frame, FLOOD, deaf=True)


async def _beside(context: Context, name: str, frame: bytes, count: int, *, deaf: bool = False) -> Outcome:
    bystander = await context.connect("bystander")
    usual = max([await context.round_trip(bystander) for _ in range(5)])
    connection = await context.connect(name)
    if deaf:
        connection.pause_reading()
    worst, excused = usual, 0.0
    for _ in range(2):
        if not connection.over:
            connection.send_raw(frame * (count // 2), f"{count // 2} frames")
        begin = context.now_ns()
        waited = await context.round_trip(bystander, FLOOD_WAIT_S)
        if waited > worst:
            worst, excused = waited, context.held_up_during(begin)
    limit = context.profile.limits.max_latency_s
    if deaf:
        connection.resume_reading()
    connection.abort()
    figures = {"bystander_max_ms": worst * 1000}
    if worst > limit:
        text = f"a bystander waited {worst:.2f} s, {limit:g} s are allowed"
        if worst <= limit + 2 * excused:
            raise Undecided(f"{text}; but this machine was busy elsewhere for {excused:.2f} s of that")
        return failed(text, figures=figures, by_silence=True)
    how = f"; the sender was stopped: {connection.ended}" if connection.ended is not None else ""
    return passed(f"a bystander waited {worst * 1000:.1f} ms at most{how}", figures=figures)


@SUITE.case(
    "silent-connections",
    "TCP connections that say nothing keep nobody out",
    expectation="newcomers are served beside 100 of them",
    destructive=True,
    timeout=60.0,
)
async def silent_connections(context: Context) -> Outcome:
    """A hundred sockets that are opened and left."""
    address = Address.of(context.target.url)
    async with AsyncExitStack() as stack:
        for _ in range(100):
            await stack.enter_async_context(RawConnection.open(context, address))
        try:
            newcomer = await context.connect("newcomer", must=False)
        except ConnectFailed as error:
            return failed(f"a newcomer was kept out: {error}", by_silence=error.late)
        seconds = await context.round_trip(newcomer)
    return passed(f"a newcomer beside 100 silent connections was answered in {seconds * 1000:.1f} ms")


@SUITE.case(
    "no-relay",
    "What is malformed is never passed on",
    expectation="listeners see only what is valid, whatever another client sends",
    needs=[Need.PUBLISH, Need.ERRORS],
    destructive=True,
)
async def no_relay(context: Context) -> Outcome:
    """Wrong JSON, messages that only servers send, prices that are none."""
    listener = await context.connect("listener", listen=True)
    attacker = await context.connect("attacker")
    mark = context.rng.randbytes(8).hex()
    for text in FORGED:
        if attacker.open:
            attacker.send(text.replace("MARK", mark))
    publisher = await context.connect("publisher")
    sent = [context.publish(publisher)]
    await arrive(context, sent, [listener])
    await context.settle()
    seen = [item.data for item in listener.history.received if mark.encode() in item.data]
    if seen:
        return failed(f"a listener got {seen[0][:200]!r}")
    return judge(context, f"{len(FORGED)} malformed or forged messages, and a right one")
