"""Does the handshake work, does the connection live, and does it end as RFC 6455 says?"""

from __future__ import annotations

import asyncio

from omega_ai.core.websocket.close import NORMAL
from omega_ai.testkit.case import Need, NotApplicable, Outcome, Suite, failed, passed
from omega_ai.testkit.connection import Address, ConnectFailed
from omega_ai.testkit.context import Context
from omega_ai.testkit.result import Distribution

SUITE = Suite("connectivity", "Handshake, liveness and the end of a connection")

CONNECTIONS = 25


@SUITE.case(
    "handshake",
    "The opening handshake is answered as RFC 6455 demands",
    expectation="101 with Upgrade, Connection and the Sec-WebSocket-Accept that the key demands",
    spec="RFC 6455 sections 4.2.2 and 1.3",
)
async def handshake(context: Context) -> Outcome:
    """Connect; the engine checks every header of the answer."""
    begin = context.now_ns()
    try:
        connection = await context.connect("client", must=False)
    except ConnectFailed as error:
        return failed(f"no connection: {error}", by_silence=error.late)
    milliseconds = (context.now_ns() - begin) / 1e6
    return passed(
        f"{connection.response.status} {connection.response.phrase}".rstrip() + f" in {milliseconds:.1f} ms",
        figures={"connect_ms": milliseconds},
    )


@SUITE.case(
    "subprotocol",
    "A subprotocol that the server does not know is not agreed to",
    expectation="the connection opens without a subprotocol, or is refused with an HTTP status",
    spec="RFC 6455 sections 4.2.2 and 11.3.4",
)
async def subprotocol(context: Context) -> Outcome:
    """Offer one that nobody has."""
    try:
        connection = await context.connect("client", subprotocols=("omega.unheard-of",), must=False)
    except ConnectFailed as error:
        if error.status is not None and 400 <= error.status < 500:
            return passed(f"refused with HTTP {error.status}")
        return failed(f"neither opened nor refused: {error}")
    if connection.subprotocol is not None:
        return failed(f"the server agreed to speak {connection.subprotocol!r}, which it cannot know")
    return passed("opened without a subprotocol")


@SUITE.case(
    "known-subprotocol",
    "The subprotocol of the profile is agreed to",
    expectation="Sec-WebSocket-Protocol in the answer names what was offered",
    spec="RFC 6455 section 4.2.2",
)
async def known_subprotocol(context: Context) -> Outcome:
    """Offer what the profile names."""
    offered = context.profile.connect.subprotocols
    if not offered:
        raise NotApplicable("the profile names no subprotocol")
    connection = await context.connect("client")
    if connection.subprotocol not in offered:
        return failed(f"offered {', '.join(offered)}, and the server chose {connection.subprotocol}")
    return passed(f"the server chose {connection.subprotocol}")


@SUITE.case(
    "ping",
    "A ping is answered with its own payload",
    expectation="a pong with the same bytes, for payloads of 0, 4 and 125 bytes, in order",
    spec="RFC 6455 section 5.5.3",
)
async def ping(context: Context) -> Outcome:
    """Three pings, each answered before the next."""
    connection = await context.connect("client")
    times = []
    for size in (0, 4, 125):
        seconds = await connection.ping(context.rng.randbytes(size))
        if seconds is None:
            pongs = [item.data for item in connection.history.received if item.opcode == 0xA]
            how = "another payload came back" if pongs else "no pong came"
            return failed(
                f"ping of {size} bytes: {how} within 5 s" + _end(connection.ended), by_silence=not pongs
            )
        times.append(seconds * 1000)
    return passed(f"answered in {min(times):.2f} to {max(times):.2f} ms", figures={"ping_ms": max(times)})


@SUITE.case(
    "unsolicited-pong",
    "A pong that nobody asked for is ignored",
    expectation="no answer to it, and the connection works on",
    spec="RFC 6455 section 5.5.3",
)
async def unsolicited_pong(context: Context) -> Outcome:
    """A pong, then proof of life."""
    connection = await context.connect("client")
    connection.pong(b"nobody asked")
    await context.round_trip(connection)
    return passed("the connection worked on")


@SUITE.case(
    "close",
    "A close is answered, and the server ends the TCP connection",
    expectation="a close frame with the same code, then the end of TCP",
    spec="RFC 6455 sections 5.5.1 and 7.1.1",
)
async def close(context: Context) -> Outcome:
    """Close with 1000."""
    connection = await context.connect("client")
    begin = context.now_ns()
    ended = await connection.close(NORMAL, "done")
    if ended is None:
        frames = [item for item in connection.history.events if item.kind == "close received"]
        what = (
            "the close frame was answered, but TCP stayed open"
            if frames
            else "the close frame was not answered"
        )
        return failed(f"{what} for 5 s", by_silence=True)
    if ended.code != NORMAL:
        return failed(f"closed with 1000, answered by {ended}")
    return passed(f"answered with 1000 in {(context.now_ns() - begin) / 1e6:.1f} ms")


@SUITE.case(
    "close-empty",
    "A close without a code is answered",
    expectation="a close frame (empty, or 1000), then the end of TCP",
    spec="RFC 6455 section 5.5.1",
)
async def close_empty(context: Context) -> Outcome:
    """An empty close frame."""
    connection = await context.connect("client")
    ended = await connection.close(None)
    if ended is None:
        return failed("the connection was still there after 5 s", by_silence=True)
    if ended.code not in (1000, 1005):
        return failed(f"an empty close was answered by {ended}")
    return passed(f"answered by {'an empty close' if ended.code == 1005 else ended}")


@SUITE.case(
    "abrupt-end",
    "A client that vanishes harms nobody",
    expectation="others are served on, and a new client is let in",
    spec="RFC 6455 section 7.2.1",
)
async def abrupt_end(context: Context) -> Outcome:
    """Cut one connection amid others."""
    bystander = await context.connect("bystander")
    victim = await context.connect("vanishing client")
    await context.round_trip(victim)
    victim.abort()
    await context.round_trip(bystander)
    await asyncio.sleep(0.3)  # until the server has noticed
    await context.round_trip(bystander)
    await context.round_trip(await context.connect("newcomer"))
    return passed("the bystander and a newcomer were served")


@SUITE.case(
    "idle",
    "An idle connection stays",
    expectation="open and working after 3 s without a message",
    spec="RFC 6455 section 5.5.2",
)
async def idle(context: Context) -> Outcome:
    """Say nothing for a while."""
    connection = await context.connect("client")
    await asyncio.sleep(3.0)
    if not connection.open:
        return failed(f"the server ended the idle connection: {connection.ended}")
    await context.round_trip(connection)
    return passed("open and working after 3 s")


@SUITE.case(
    "many",
    f"{CONNECTIONS} clients connect at once and are all served",
    expectation="every handshake succeeds, and each connection works",
    spec="RFC 6455 section 4.1",
)
async def many(context: Context) -> Outcome:
    """Connect all, then a round trip on each."""
    times: list[int] = []
    late: list[bool] = []

    async def one(number: int) -> str | None:
        begin = context.now_ns()
        try:
            connection = await context.connect(f"client {number}", must=False, within=10.0)
        except ConnectFailed as error:
            late.append(error.late)
            return str(error)
        times.append(context.now_ns() - begin)
        await context.round_trip(connection, 10.0)
        return None

    reached = 5 if context.profile.read_only else CONNECTIONS
    refused = [why for why in await asyncio.gather(*map(one, range(reached))) if why is not None]
    if refused:
        return failed(f"{len(refused)} of {reached} could not connect: {refused[0]}", by_silence=all(late))
    connect = Distribution.of(times)
    context.products.histograms["connect"] = connect
    p95 = connect.percentile(95) / 1e6
    return passed(
        f"all {reached} served, 95 % connected within {p95:.1f} ms", figures={"connect_p95_ms": p95}
    )


@SUITE.case(
    "secure",
    "The same over wss",
    expectation="a handshake over TLS, a certificate valid for the name, and a working connection",
    spec="RFC 6455 section 4.1",
    needs=[Need.TLS],
)
async def secure(context: Context) -> Outcome:
    """Connect over TLS, verified."""
    begin = context.now_ns()
    try:
        connection = await context.connect("client", url=context.target.secure_url, must=False)
    except ConnectFailed as error:
        return failed(f"no connection over TLS: {error}", by_silence=error.late)
    milliseconds = (context.now_ns() - begin) / 1e6
    await context.round_trip(connection)
    version = connection.tls.version() if connection.tls is not None else None
    return passed(
        f"{version}, connected in {milliseconds:.1f} ms", figures={"secure_connect_ms": milliseconds}
    )


@SUITE.case(
    "plain-http",
    "A plain HTTP request is refused, not upgraded",
    expectation="any HTTP answer but 101",
    spec="RFC 6455 section 4.2.1",
)
async def plain_http(context: Context) -> Outcome:
    """GET without the headers of an upgrade."""
    from omega_ai.testkit.raw import RawConnection

    address = Address.of(context.target.url)
    async with RawConnection.open(context, address) as raw:
        request = f"GET {address.target} HTTP/1.1\r\nHost: {address.host_header}\r\nConnection: close"
        raw.send(f"{request}\r\n\r\n".encode())
        answer = await raw.read_head()
    if answer is None:
        return failed("no answer within 5 s, or not HTTP", by_silence=True)
    if answer.status == 101:
        return failed("the server upgraded a request that did not ask for it")
    return passed(f"HTTP {answer.status}")


def _end(ended: object) -> str:
    return "" if ended is None else f"; the connection ended: {ended}"
