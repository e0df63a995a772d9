"""Does what is sent come back whole, once, in order and in time? Is what is wrong told, and nothing else?"""

from __future__ import annotations

import asyncio
import json

from omega_ai.core.websocket.frames import BINARY
from omega_ai.testkit.case import Failed, Need, NotApplicable, Outcome, Suite, failed, passed
from omega_ai.testkit.context import Context, decode
from omega_ai.testkit.profile import field_of, fill, matches
from omega_ai.testkit.suites.traffic import arrive, at_rate, judge

SUITE = Suite("messages", "Messages come back whole, once, in order, in time; mistakes are told")

SIZES = (1, 125, 126, 127, 128, 1000, 4096, 65_535, 65_536, 65_537, 250_000)
BURST = 200
CLIENTS = 10
STEADY_RATE = 50.0
STEADY_MESSAGES = 150
LISTEN_S = 5.0
UNICODE = "ß ₿ 漢字 👩‍🚀 \u05d0\u0300"
MISTAKES = ("{", "[1,2]", '"text"', '{"type":"omega-no-such-type"}', "\u0000", '{"type":5}')


@SUITE.case(
    "echo",
    "A message comes back",
    expectation="one answer, to its sender, with the stamp whole",
    needs=[Need.ECHO],
)
async def echo(context: Context) -> Outcome:
    """One message."""
    connection = await context.connect("client")
    sent = context.send_echo(connection)
    await arrive(context, [sent], [connection])
    await context.settle()
    return judge(context, "1 message sent")


@SUITE.case(
    "sizes",
    "Messages of every size come back whole",
    expectation="each once, in order, byte for byte: around 126 and 65,536 bytes the frame's head changes",
    spec="RFC 6455 section 5.2",
    needs=[Need.ECHO],
)
async def sizes(context: Context) -> Outcome:
    """Each size after the other."""
    connection = await context.connect("client")
    chosen = [size for size in SIZES if size < (context.profile.limits.message_bytes or 2**30) // 2]
    sent = [context.send_echo(connection, size=size) for size in chosen]
    await arrive(context, sent, [connection])
    await context.settle()
    return judge(context, f"{len(chosen)} messages of up to {max(chosen):,} bytes")


@SUITE.case(
    "unicode",
    "Text beyond ASCII comes back as it was",
    expectation="the same characters, however they are escaped",
    spec="RFC 6455 section 5.6",
    needs=[Need.ECHO],
)
async def unicode(context: Context) -> Outcome:
    """Two, three and four byte characters, joiners and marks."""
    connection = await context.connect("client")
    number, intended, stamp = context.stamp(connection)
    profile_echo = context.profile.echo
    assert profile_echo is not None  # noqa: S101 - the case needs it
    payload = fill(profile_echo.send, context.values(stamp=f"{stamp} {UNICODE}"))
    sent = connection.send(payload, number=number, intended_ns=intended)
    answer = await context.receive_stamp(connection, sent)
    if answer is None:
        return failed(f"no answer within 5 s to a text with {UNICODE!r}", by_silence=not connection.over)
    message = decode(answer)
    text = answer.data.decode() if message is None else json.dumps(message, ensure_ascii=False)
    if UNICODE not in text:
        return failed(f"{UNICODE!r} came back as {text[-120:]!r}")
    return passed("the same characters came back")


@SUITE.case(
    "fragments",
    "A message in fragments is one message",
    expectation="one answer, although a ping comes between the fragments, and one cuts a character in two",
    spec="RFC 6455 section 5.4",
    needs=[Need.ECHO],
)
async def fragments(context: Context) -> Outcome:
    """Seven fragments, the third empty, a ping amid them."""
    connection = await context.connect("client")
    number, _, stamp = context.stamp(connection)
    profile_echo = context.profile.echo
    assert profile_echo is not None  # noqa: S101 - the case needs it
    data = fill(profile_echo.send, context.values(stamp=f"{stamp} {UNICODE}"))
    middle = data.index("₿".encode()) + 1
    parts = [data[:3], data[3:middle], b"", data[middle:]]
    sent = connection.send_fragments(parts[:2], number=number, data=data, fin=False)
    seconds = await connection.ping(b"between")
    connection.send_more(parts[2:])
    if seconds is None:
        raise Failed("a ping between two fragments was not answered", by_silence=not connection.over)
    if await context.receive_stamp(connection, sent) is None:
        return failed("no answer within 5 s to a message of 4 fragments", by_silence=not connection.over)
    await context.settle()
    return judge(context, "1 message in 4 fragments, a ping between them")


@SUITE.case(
    "burst",
    "A burst of messages",
    expectation="each comes back once, in order, without waiting for the one before",
    needs=[Need.ECHO],
)
async def burst(context: Context) -> Outcome:
    """All in one turn."""
    connection = await context.connect("client")
    count = min(BURST, int(context.profile.limits.rate))
    sent = [context.send_echo(connection) for _ in range(count)]
    await arrive(context, sent, [connection])
    await context.settle()
    return judge(context, f"{count} messages at once")


@SUITE.case(
    "steady",
    f"{STEADY_RATE:g} messages a second for {STEADY_MESSAGES / STEADY_RATE:g} seconds",
    expectation="each comes back once, in order, in time, counted from when it was to be sent",
    needs=[Need.ECHO],
    alone=True,
)
async def steady(context: Context) -> Outcome:
    """On schedule, whatever is answered."""
    connection = await context.connect("client")
    sent = []
    await at_rate(
        context,
        STEADY_RATE,
        STEADY_MESSAGES,
        lambda _, intended: sent.append(context.send_echo(connection, intended_ns=intended)),
    )
    await arrive(context, sent, [connection])
    await context.settle()
    return judge(context, f"{len(sent)} messages at {STEADY_RATE:g}/s")


@SUITE.case(
    "separate",
    f"{CLIENTS} clients at once, each gets its own answers",
    expectation="no answer goes astray, none is missing",
    needs=[Need.ECHO],
)
async def separate(context: Context) -> Outcome:
    """Interleaved among the clients."""
    async with context.clients(CLIENTS, "client") as clients:
        sent = {client.name: [context.send_echo(client) for _ in range(20)] for client in clients}
        await asyncio.gather(*(arrive(context, sent[client.name], [client]) for client in clients))
        await context.settle()
        return judge(context, f"{CLIENTS} clients with 20 messages each")


@SUITE.case(
    "binary",
    "Binary messages come back as binary",
    expectation="the same bytes, in a binary message",
    spec="RFC 6455 section 5.6",
    needs=[Need.ECHO],
)
async def binary(context: Context) -> Outcome:
    """All 256 bytes, and none."""
    profile_echo = context.profile.echo
    if profile_echo is None or not profile_echo.identical:
        raise NotApplicable("it does not send back the very bytes that it is sent")
    connection = await context.connect("client")
    for data in (bytes(range(256)) * 8, b""):
        connection.send(data, opcode=BINARY)
        answer = await connection.receive()
        if answer is None:
            return failed(
                f"no answer within 5 s to a binary message of {len(data)} bytes{_ended(connection.ended)}"
            )
        if answer.opcode != BINARY or answer.data != data:
            what = "as text" if answer.opcode != BINARY else "changed"
            return failed(f"a binary message of {len(data)} bytes came back {what}")
    return passed("2,048 bytes and 0 bytes came back")


@SUITE.case(
    "compressed",
    "Compressed messages come back",
    expectation="whole, through permessage-deflate, compressed or not",
    spec="RFC 7692 section 7.2",
    needs=[Need.ECHO],
)
async def compressed(context: Context) -> Outcome:
    """Offer compression; send small and large, compressed and plain."""
    connection = await context.connect("client", compression=True)
    if not connection.compressed:
        raise NotApplicable("it does not agree to permessage-deflate")
    sent = [
        context.send_echo(connection, size=size, compress=pack)
        for size in (0, 300, 70_000)
        for pack in (True, False, True)
    ]
    await arrive(context, sent, [connection])
    await context.settle()
    return judge(context, f"{len(sent)} messages, two in three compressed")


@SUITE.case(
    "mistakes",
    "What is wrong is told, and the connection works on",
    expectation="an error for each wrong message, and none for the right ones between them",
    needs=[Need.ERRORS, Need.ECHO],
)
async def mistakes(context: Context) -> Outcome:
    """Each mistake, then a right message."""
    connection = await context.connect("client")
    errors = context.profile.errors
    assert errors is not None  # noqa: S101 - the case needs it
    for mistake in MISTAKES:
        connection.send(mistake)
        answer = await connection.receive()
        if answer is None:
            text = f"no error within 5 s after {mistake!r}{_ended(connection.ended)}"
            return failed(text, by_silence=not connection.over)
        message = decode(answer)
        if not matches(message, errors.answer):
            return failed(f"{mistake!r} was answered by {answer.data[:120]!r}, which is no error")
        if errors.id is not None and field_of(message, errors.id) is not None:
            return failed(f"the error after {mistake!r} carries an id that nobody gave")
        await context.round_trip(connection)
    return passed(f"{len(MISTAKES)} mistakes told, the connection worked on after each")


@SUITE.case(
    "feed",
    f"What the server sends by itself is sound ({LISTEN_S:g} s of listening)",
    expectation="nothing lost or doubled by its own numbering, in order, not stale, no impossible price",
    needs=[Need.FEED],
    timeout=30.0,
)
async def feed(context: Context) -> Outcome:
    """Listen."""
    await context.connect("listener", listen=True, within=10.0)
    await asyncio.sleep(LISTEN_S)
    names = ["lost", "duplicated", "reordered", "corrupted", "unexpected", "stale"]
    if Need.PRICES in context.target.needs_met:
        names.append("prices")
    return judge(context, f"{context.history.messages} messages in {LISTEN_S:g} s", names)


def _ended(ended: object) -> str:
    return "" if ended is None else f": the connection ended ({ended})"
