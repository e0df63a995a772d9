"""Does what one client publishes reach all the others: whole, once, in order, in time, and nobody else?"""

from __future__ import annotations

import asyncio

from omega_ai.testkit.case import Need, NotApplicable, Outcome, Suite
from omega_ai.testkit.checkers import DELIVERY
from omega_ai.testkit.context import Context
from omega_ai.testkit.history import Happening
from omega_ai.testkit.suites.traffic import arrive, at_rate, judge

SUITE = Suite("broadcast", "What is published reaches every listener, and the same to each")

LISTENERS = 10
MESSAGES = 100
RATE = 80.0
ALL = (*DELIVERY, "unequal", "skew", "stale")
MANY = 12_000
MANY_LISTENERS = 2
MANY_RATE = 4000.0
STALLED_BYTES = 65_536
STALLED_MESSAGES = 120
STALLED_RATE = 40.0
LISTEN_S = 4.0


@SUITE.case(
    "fan-out",
    f"{MESSAGES} messages reach {LISTENERS} listeners",
    expectation="each once, in order, in time, the same for all",
    needs=[Need.PUBLISH],
    alone=True,
)
async def fan_out(context: Context) -> Outcome:
    """One publisher, on schedule."""
    publisher = await context.connect("publisher")
    async with context.clients(LISTENERS, listen=True) as listeners:
        sent = []
        await at_rate(
            context, RATE, MESSAGES, lambda _, at: sent.append(context.publish(publisher, intended_ns=at))
        )
        await arrive(context, sent, listeners)
        await context.settle()
        return judge(context, f"{MESSAGES} messages to {LISTENERS} listeners", ALL)


@SUITE.case(
    "burst",
    "A burst reaches every listener",
    expectation="each once, in order, the same for all",
    needs=[Need.PUBLISH],
    alone=True,
)
async def burst(context: Context) -> Outcome:
    """All at once."""
    publisher = await context.connect("publisher")
    count = min(200, int(context.profile.limits.rate))
    async with context.clients(LISTENERS, listen=True) as listeners:
        sent = [context.publish(publisher) for _ in range(count)]
        await arrive(context, sent, listeners)
        await context.settle()
        return judge(context, f"{count} messages at once to {LISTENERS} listeners", ALL)


@SUITE.case(
    "publishers",
    "Several publishers at once",
    expectation="each publisher's messages in its order; where messages are numbered, one order for all",
    needs=[Need.PUBLISH],
    alone=True,
)
async def publishers(context: Context) -> Outcome:
    """Five publishers that also listen."""
    async with context.clients(5, "publisher", listen=True) as clients:
        sent = []
        await at_rate(
            context,
            RATE,
            100,
            lambda n, at: sent.append(context.publish(clients[n % 5], intended_ns=at)),
        )
        publish = context.profile.publish
        to_sender = publish is not None and publish.to_sender
        await asyncio.gather(
            *(
                arrive(context, [s for n, s in enumerate(sent) if to_sender or n % 5 != number], [client])
                for number, client in enumerate(clients)
            )
        )
        await context.settle()
        return judge(context, "100 messages of 5 publishers to each other", ALL)


@SUITE.case(
    "many",
    f"{MANY:,} messages reach {MANY_LISTENERS} listeners",
    expectation="each once, in order, the same for all: a loss of 1 in 10,000 at one of them shows",
    needs=[Need.PUBLISH],
    alone=True,
    timeout=180.0,
)
async def many(context: Context) -> Outcome:
    """As fast as the server allows one client to send; latency is not judged."""
    rate = min(MANY_RATE, context.profile.limits.rate)
    if rate < MANY_RATE / 4:
        raise NotApplicable(f"its profile allows {rate:g} messages a second, and {MANY:,} would take long")
    publisher = await context.connect("publisher")
    async with context.clients(MANY_LISTENERS, listen=True) as listeners:
        sent = []
        await at_rate(
            context, rate, MANY, lambda _, at: sent.append(context.publish(publisher, intended_ns=at))
        )
        await arrive(context, sent, listeners, within=30.0)
        await context.settle()
        names = ["lost", "duplicated", "reordered", "corrupted", "unexpected", "unequal"]
        return judge(context, f"{MANY:,} messages to {MANY_LISTENERS} listeners", names)


@SUITE.case(
    "sizes",
    "Small and large messages in turn",
    expectation="whole and in order, whatever their size",
    needs=[Need.PUBLISH],
)
async def sizes(context: Context) -> Outcome:
    """From 100 bytes to 100 KB."""
    publisher = await context.connect("publisher")
    async with context.clients(3, listen=True) as listeners:
        chosen = [100, 70_000, 125, 126, 65_536, 200, 100_000, 127]
        sent = [context.publish(publisher, size=size) for size in chosen]
        await arrive(context, sent, listeners)
        await context.settle()
        return judge(context, f"{len(chosen)} messages of up to {max(chosen):,} bytes", ALL)


@SUITE.case(
    "only-subscribers",
    "Who did not subscribe gets nothing",
    expectation="a client that did not subscribe sees none of it",
    needs=[Need.PUBLISH],
)
async def only_subscribers(context: Context) -> Outcome:
    """A stranger beside a listener."""
    subscription = context.profile.subscribe
    if subscription.query is None and not subscription.send:
        raise NotApplicable("whoever is connected to it sees everything")
    listener = await context.connect("listener", listen=True)
    await context.connect("stranger")
    publisher = await context.connect("publisher")
    sent = [context.publish(publisher) for _ in range(20)]
    await arrive(context, sent, [listener])
    await context.settle(0.5)
    return judge(context, "20 messages to a listener beside a stranger")


@SUITE.case(
    "late-joiner",
    "Who joins late misses nothing from then on",
    expectation="every message published after it joined, once",
    needs=[Need.PUBLISH],
    alone=True,
)
async def late_joiner(context: Context) -> Outcome:
    """Join in the middle of a stream."""
    publisher = await context.connect("publisher")
    first = await context.connect("listener", listen=True)
    sent = []

    async def publish() -> None:
        await at_rate(
            context, RATE, 120, lambda _, at: sent.append(context.publish(publisher, intended_ns=at))
        )

    publishing = asyncio.create_task(publish())
    try:
        await asyncio.sleep(0.5)
        joiner = await context.connect("late joiner", listen=True)
        joined = len(sent)
        await publishing
    finally:
        publishing.cancel()
    await arrive(context, sent, [first])
    await arrive(context, sent[joined:], [joiner])
    await context.settle()
    return judge(context, f"120 messages, the joiner came after {joined}", ALL)


@SUITE.case(
    "leavers",
    "Who leaves harms nobody",
    expectation="the others miss nothing, whether one closes or vanishes",
    needs=[Need.PUBLISH],
    alone=True,
)
async def leavers(context: Context) -> Outcome:
    """One closes, one is cut, amid a stream."""
    publisher = await context.connect("publisher")
    async with context.clients(6, listen=True) as listeners:
        sent = []

        def send(number: int, intended: int) -> None:
            if number == 40:
                listeners[0].abort()
            sent.append(context.publish(publisher, intended_ns=intended))

        sending = asyncio.create_task(at_rate(context, RATE, 120, send))
        try:
            await asyncio.sleep(0.7)
            await listeners[1].close()
            await sending
        finally:
            sending.cancel()
        await arrive(context, sent, listeners[2:])
        await context.settle()
        return judge(context, "120 messages, 2 of 6 listeners left", ALL)


@SUITE.case(
    "stalled-listener",
    "A listener that stops reading holds nobody up",
    expectation="the others get everything in time; the one that stalled may be dropped",
    needs=[Need.PUBLISH],
    alone=True,
    destructive=True,
    timeout=60.0,
)
async def stalled_listener(context: Context) -> Outcome:
    """One of six stops reading while 8 MB are published: more than the sockets between hold."""
    publisher = await context.connect("publisher")
    async with context.clients(6, listen=True) as listeners:
        stalled = listeners[0]
        stalled.pause_reading(buffer=STALLED_BYTES)
        stalled.event(Happening.UNSUBSCRIBED, "stops reading", by_us=True)
        sent = []
        size = min(STALLED_BYTES, (context.profile.limits.message_bytes or STALLED_BYTES * 4) // 4)
        await at_rate(
            context,
            STALLED_RATE,
            STALLED_MESSAGES,
            lambda _, at: sent.append(context.publish(publisher, size=size, intended_ns=at)),
        )
        await arrive(context, sent, listeners[1:])
        context.history.clients[stalled.name].listens = False
        outcome = judge(
            context, f"{STALLED_MESSAGES * size / 1e6:.0f} MB to 5 listeners beside one that stalls", ALL
        )
        stalled.resume_reading()
        stalled.abort()
    return outcome


@SUITE.case(
    "feed",
    "What the server sends by itself is the same for all",
    expectation="five listeners see the same messages, in the same order, at nearly the same time",
    needs=[Need.FEED],
    timeout=60.0,
)
async def feed(context: Context) -> Outcome:
    """Five listeners for a while."""
    async with context.clients(2 if context.profile.read_only else 5, listen=True, within=10.0):
        await asyncio.sleep(LISTEN_S)
        names = ["lost", "duplicated", "reordered", "unequal", "skew"]
        return judge(context, f"{context.history.messages} messages in {LISTEN_S:g} s", names)
